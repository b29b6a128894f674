/** Writing files of a stored commit into an OSTree repository; runs on any thread. */
import { displayByteString, withContext } from "../base/mod.ts";
import { openDir } from "../../ffi/mod.ts";
import type { DiskObjectStore } from "../repository/mod.ts";
import type { Checksum } from "./checksum.ts";
import { fileEntry } from "./commit_tree.ts";
import type { FileBatch, FileObject } from "./file_batches.ts";
import { FRAME_SIZE, parseArchiveHeader, parseFrame } from "./file_header.ts";
import type { RepositoryMode } from "./local_objects.ts";
import { ObjectFiles, type WriteOutcome } from "./object_files.ts";
import { PlacedObjects } from "./object_place.ts";
import { fileContent, startChecksum } from "./stored_file.ts";

/** Files to export, and where to. */
export interface ExportBatch extends FileBatch {
  /** Descriptor number of the destination's `objects/`. */
  readonly directory: number;
  /** Descriptor number of its `tmp/`. */
  readonly tmp: number;
  /** How it stores files. */
  readonly mode: RepositoryMode;
}

/**
 * Writes files; each is checked while it is written.
 *
 * @returns what came of each
 * @throws {DigestMismatchError} when a stored object is damaged
 */
export function exportFiles({ place, files, directory, tmp, mode }: ExportBatch): WriteOutcome[] {
  using placed = new PlacedObjects(place);
  using objectsDir = openDir(directory, ".");
  using tmpDir = openDir(tmp, ".");
  using destination = new ObjectFiles(objectsDir, { tmp: tmpDir, mode });
  return files.map((file) => {
    try {
      return exportFile(placed.objects, destination, file);
    } catch (cause) {
      const shown = displayByteString(file.path);
      throw withContext(`Exporting file object ${file.checksum} of ${shown}`, cause);
    }
  });
}

function exportFile(
  objects: DiskObjectStore,
  destination: ObjectFiles,
  { checksum, data, external }: FileObject,
): WriteOutcome {
  // Names of attributes end with NUL: the reference's `commit` leaves it out, and no repository could
  // give back the bytes that such an object's checksum is of.
  parseArchiveHeader(data.subarray(FRAME_SIZE, FRAME_SIZE + parseFrame(data)));
  if (destination.hasFile(checksum)) return "present";
  const file = fileEntry(checksum, { data, external });
  const hash = startChecksum(file);
  using fd = external === undefined ? undefined : objects.open(external).fd;
  return destination.file(checksum, file.header, {
    size: file.header.size,
    fd,
    pieces: () => fileContent(objects, file),
    update: (bytes) => void hash.update(bytes),
    checksum: () => hash.digest("hex") as Checksum,
  });
}
