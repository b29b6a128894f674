/**
 * Finding parts of changed files in the files of the same name that a repository has (spec:
 * zstd-chunked 8): where chunks begin is a function of the content, so those of an object are found
 * by cutting it again.
 *
 * @module
 */
import {
  type ByteString,
  ComposefsError,
  letMessagesIn,
  nodeHash,
  type ObjectId,
  toByteString,
  utf8ByteString,
} from "../base/mod.ts";
import { type Chunk, Chunker, type IndexedContent, type Toc, tocName } from "../chunked/mod.ts";
import type { Repository } from "../repository/mod.ts";

/** Smallest object that is cut: smaller files have one chunk, as a rule. */
export const CUT_MIN = 128 * 1024;
/** Largest object that is cut, in memory. */
const CUT_MAX = 256 * 2 ** 20;

/** A path without what stands before its first name: `./usr`, `/usr` and `usr` are the same. */
export function plainPath(path: ByteString): ByteString {
  return path.replace(/^(?:\.?\/)+/, "");
}

/** Files of the table of contents that have several chunks and satisfy `wanted`, by plain path. */
export function chunkedPaths(toc: Toc, wanted: (content: number) => boolean): Set<ByteString> {
  const paths = new Set<ByteString>();
  for (let entry = 0; entry < toc.contentOf.length; entry++) {
    const content = toc.contentOf[entry]!;
    if (content < 0 || toc.firstChunk[content + 1]! - toc.firstChunk[content]! < 2) continue;
    if (wanted(content)) paths.add(plainPath(utf8ByteString(tocName(toc, entry))));
  }
  return paths;
}

/**
 * Cuts objects into chunks.
 *
 * @param found gets the place of each chunk, by its raw sha256 and size
 */
export async function cutObjects(
  repository: Repository,
  objects: Iterable<ObjectId>,
  options: { found: Map<ByteString, IndexedContent>; budget: number; signal: AbortSignal },
): Promise<void> {
  const { found, signal } = options;
  let { budget } = options;
  for (const object of objects) {
    await letMessagesIn();
    signal.throwIfAborted();
    let bytes: Uint8Array;
    try {
      bytes = repository.objects.read(object, {
        maxSize: Math.min(budget, CUT_MAX),
        verify: false,
      });
    } catch (error) {
      if (error instanceof ComposefsError) continue; // gone, too large, or not to be trusted
      throw error;
    }
    budget -= bytes.length;
    const chunks: Chunk[] = [];
    const chunker = new Chunker((chunk) => void chunks.push(chunk));
    chunker.push(bytes);
    chunker.finish();
    for (const { offset, size, zeros } of chunks) {
      if (zeros || chunks.length === 1) continue;
      const hash = nodeHash.stream("sha256");
      hash.update(bytes.subarray(offset, offset + size));
      found.set(chunkKey(hash.digest(), size), { object, offset });
    }
  }
}

/** What a chunk is found by. */
export function chunkKey(digest: Uint8Array, size: number): string {
  return toByteString(digest) + size;
}
