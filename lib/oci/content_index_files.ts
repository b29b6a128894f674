/**
 * The files that say which contents a repository's layers have (spec: zstd-chunked 8). They are
 * hints and no more: what is in their directory can be lost at any time.
 *
 * @module
 */
import { ComposefsError, type Digest, nodeHash, type ObjectId } from "../base/mod.ts";
import { ContentIndexBuilder, DIGEST_SIZE, type Toc } from "../chunked/mod.ts";
import {
  type Fd,
  O,
  openAt,
  openIfExists,
  openOrMakeDir,
  readDir,
  renameAt,
  unlinkAt,
  writeAll,
} from "../../ffi/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { readLayerEntries } from "../tar/mod.ts";

const DIRECTORY = "cfs-index";
const INDEX_NAME = /^l-([a-z0-9]+:[0-9a-f]+|[0-9a-f]+)\.v1$/;
const TEMPORARY = ".tmp-";

/** Name of a layer's index: the bare hex for sha256, as it is for nearly all. */
function indexName(layer: string): string {
  return `l-${layer.replace(/^sha256:/, "")}.v1`;
}

/** The digest of the layer that a file of this name is about; `undefined` for other files. */
export function indexedLayer(name: string): string | undefined {
  const layer = INDEX_NAME.exec(name)?.[1];
  return layer === undefined || layer.includes(":") ? layer : `sha256:${layer}`;
}

/** Opens the directory of the indexes; `undefined` when there is none. */
export function openIndexes(repository: Repository): Fd | undefined {
  const flags = O.RDONLY | O.DIRECTORY;
  return openIfExists(repository.directory, DIRECTORY, { flags });
}

/**
 * Keeps which contents a layer has: its table of contents says so, and its digest has proved it.
 *
 * @param layer.stream object of the layer's splitstream
 * @param layer.files content of each file line of its tar-split
 */
export function keepContentIndex(
  repository: Repository,
  diffId: Digest,
  layer: { stream: ObjectId; toc: Toc; files: Float64Array },
): void {
  const bytes = indexLayer(repository, layer);
  if (bytes === undefined) return;
  try {
    using dir = openOrMakeDir(repository.directory, DIRECTORY);
    const name = indexName(diffId.toString());
    const temporary = `${TEMPORARY}${crypto.randomUUID()}`;
    try {
      using fd = openAt(dir, temporary, { flags: O.CREAT | O.EXCL | O.RDWR, mode: 0o644 });
      writeAll(fd, bytes);
      renameAt(dir, temporary, dir, name);
    } catch (error) {
      unlinkAt(dir, temporary);
      throw error;
    }
  } catch (error) {
    // Only a hint: the next pull looks at more, or fetches it.
    if (!(error instanceof ComposefsError)) throw error;
  }
}

/** The index of a layer; undefined when its entries are not those of its tar-split. */
function indexLayer(
  repository: Repository,
  layer: { stream: ObjectId; toc: Toc; files: Float64Array },
): Uint8Array | undefined {
  const { toc, files } = layer;
  const builder = new ContentIndexBuilder(repository.algorithm.size);
  const stream = repository.openStreamObject(layer.stream);
  let line = 0;
  for (const { item } of readLayerEntries(stream)) {
    const content = item.type === "external" || (item.type === "inline" && item.data.length > 0);
    if (!content) continue;
    while (line < files.length && files[line]! < 0) line++;
    const number = files[line++];
    if (number === undefined) return undefined;
    const size = item.type === "external" ? item.size : item.data.length;
    if (toc.sizes[number] !== size) return undefined;
    const digest = toc.digests.subarray(number * DIGEST_SIZE, (number + 1) * DIGEST_SIZE);
    if (item.type === "inline") builder.small(digest, item.data);
    else addObject(builder, { toc, number, object: item.digest as ObjectId });
  }
  return builder.size === 0 ? undefined : builder.finish(nodeHash);
}

function addObject(
  builder: ContentIndexBuilder,
  content: { toc: Toc; number: number; object: ObjectId },
): void {
  const { toc, number, object } = content;
  const digest = toc.digests.subarray(number * DIGEST_SIZE, (number + 1) * DIGEST_SIZE);
  builder.file(digest, { object, size: toc.sizes[number]! });
  const end = toc.firstChunk[number + 1]!;
  let offset = 0;
  for (let chunk = toc.firstChunk[number]!; chunk < end; chunk++) {
    const size = toc.chunkSizes[chunk]!;
    if (toc.chunkZeros[chunk] === 0 && end - toc.firstChunk[number]! > 1) {
      const at = chunk * DIGEST_SIZE;
      const chunkDigest = toc.chunkDigests.subarray(at, at + DIGEST_SIZE);
      builder.chunk(chunkDigest, { object, offset, size });
    }
    offset += size;
  }
}

/**
 * Removes indexes of layers that are gone, and what was left of unfinished ones.
 *
 * @returns number of files removed
 */
export function pruneContentIndexes(repository: Repository): number {
  using dir = openIndexes(repository);
  if (dir === undefined) return 0;
  const kept = new Set(repository.listStreams());
  let removed = 0;
  for (const { name } of readDir(dir)) {
    const layer = indexedLayer(name);
    if (layer === undefined ? !name.startsWith(TEMPORARY) : kept.has(`oci-layer-${layer}`)) {
      continue;
    }
    unlinkAt(dir, name);
    removed++;
  }
  return removed;
}
