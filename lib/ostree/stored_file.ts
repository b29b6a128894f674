/** Hashing files of stored commits: their checksum over header and content (spec: ostree 2.4). */
import { createHash, type Hash } from "node:crypto";
import type { ObjectId } from "../base/mod.ts";
import type { ObjectReader, Repository } from "../repository/mod.ts";
import type { Checksum } from "./checksum.ts";
import type { FileEntry } from "./commit_tree.ts";
import { encodeStreamHeader, type FileHeader, FRAME_SIZE, streamHeaderOf } from "./file_header.ts";

/** The content of a stored file in pieces, each valid until the next one is asked for. */
export function* fileContent(
  objects: ObjectReader,
  file: FileEntry,
): Generator<Uint8Array, void, undefined> {
  if (file.external === undefined) {
    if (file.content.length > 0) yield file.content;
  } else yield* objects.pieces(file.external);
}

/** Starts the checksum of a stored file with its header as it is stored. */
export function startChecksum(file: FileEntry): Hash {
  return createHash("sha256").update(streamHeaderOf(file.framed.subarray(FRAME_SIZE)));
}

/** The checksum of a file entry, and the bytes of its content. */
export function checksumOfFile(
  objects: ObjectReader,
  file: FileEntry,
): { checksum: Checksum; size: number } {
  const hash = startChecksum(file);
  let size = 0;
  for (const piece of fileContent(objects, file)) {
    hash.update(piece);
    size += piece.length;
  }
  return { checksum: hash.digest("hex") as Checksum, size };
}

/** The checksum that a file with this header and content would have. */
export function checksumOfContent(
  repository: Repository,
  header: FileHeader,
  content: Uint8Array | ObjectId,
): Checksum {
  const hash = createHash("sha256").update(encodeStreamHeader(header));
  if (typeof content !== "string") hash.update(content);
  else for (const piece of repository.objects.pieces(content)) hash.update(piece);
  return hash.digest("hex") as Checksum;
}
