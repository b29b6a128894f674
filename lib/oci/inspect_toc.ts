/** Looking at the tables of contents of zstd:chunked layers (spec: zstd-chunked 12). */
import { FormatError, nodeZstd, withContext } from "../base/mod.ts";
import {
  chunkedSupport,
  FOOTER_SIZE,
  LIMITS,
  parseFooter,
  type PartLocation,
  unpackWhole,
} from "../chunked/mod.ts";
import { fstat, O, openPath, preadFull } from "../../ffi/mod.ts";
import {
  nativePlatform,
  openSource,
  type Platform,
  type SourceOptions,
  verifyBytes,
} from "../transport/mod.ts";
import { readParts } from "./chunked_layer.ts";

/** A table of contents, or why there is none. */
export type InspectedToc =
  | {
    /** Digest of the layer's blob; `undefined` for a file. */
    readonly layer: string | undefined;
    /** Whether a manifest vouches for it; nothing does for that of a file. */
    readonly verified: boolean;
    /** The JSON value. */
    readonly toc: Readonly<Record<string, unknown>>;
  }
  | {
    /** Digest of the layer's blob. */
    readonly layer: string | undefined;
    /** Why there is no table of contents. */
    readonly reason: string;
  };

function decoded(compressed: Uint8Array, at: PartLocation): Record<string, unknown> {
  const bytes = unpackWhole(nodeZstd, compressed, { size: at.size, what: "table of contents" });
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    const toc: unknown = JSON.parse(text);
    if (typeof toc === "object" && toc !== null && !Array.isArray(toc)) {
      return toc as Record<string, unknown>;
    }
  } catch (cause) {
    throw new FormatError("zstd:chunked TOC", "Table of contents is no JSON", { cause });
  }
  throw new FormatError("zstd:chunked TOC", "Table of contents is no JSON object");
}

/**
 * The tables of contents of an image's layers, one after the other, since they can be large; only
 * these are fetched, and verified.
 *
 * @param reference as of {@linkcode openSource}
 * @throws {DigestMismatchError} while iterating, when one is not what the manifest says
 */
export async function* inspectImageTocs(
  reference: string,
  options: SourceOptions & { platform?: Platform | undefined } = {},
): AsyncGenerator<InspectedToc, void, undefined> {
  const { platform = nativePlatform(), ...opened } = options;
  const signal = options.signal ?? new AbortController().signal;
  await using source = await openSource(reference, opened);
  const { manifest } = await source.resolve({ platform });
  for (const descriptor of manifest.layers) {
    const layer = descriptor.digest.toString();
    const support = chunkedSupport(descriptor.annotations, descriptor.size);
    if (support.kind === "whole") {
      yield { layer, reason: support.reason };
      continue;
    }
    const { toc: at, tocDigest } = support.layer;
    const ranges = [{ start: at.offset, end: at.offset + at.length }];
    let toc: Record<string, unknown> | undefined;
    try {
      const parts = await readParts(source, descriptor, { ranges, signal });
      if (parts !== undefined) {
        verifyBytes(parts[0]!, tocDigest, "table of contents");
        toc = decoded(parts[0]!, at);
      }
    } catch (cause) {
      throw withContext(`Reading the table of contents of layer ${layer}`, cause);
    }
    if (toc === undefined) yield { layer, reason: "the source gives only whole blobs" };
    else yield { layer, verified: true, toc };
  }
}

/**
 * The table of contents of a blob in a file, found by its footer; nothing vouches for either.
 *
 * @throws {FormatError} when it has none, or a damaged one
 */
export function inspectBlobToc(path: string): InspectedToc {
  using fd = openPath(path, { flags: O.RDONLY | O.NONBLOCK });
  const { size, isFile } = fstat(fd);
  if (!isFile) throw new FormatError("zstd:chunked", `${path} is no regular file`);
  const read = (offset: number, length: number) => {
    const bytes = new Uint8Array(new ArrayBuffer(Math.max(length, 4096)), 0, length);
    if (preadFull(fd, bytes, offset) !== length) {
      throw new FormatError("zstd:chunked", `${path} changed while it was read`);
    }
    return bytes;
  };
  const tail = Math.min(size, FOOTER_SIZE);
  const footer = parseFooter(read(size - tail, tail));
  if (footer === undefined) {
    throw new FormatError("zstd:chunked", `${path} does not end in a zstd:chunked footer`);
  }
  const { toc: at } = footer;
  if (at.offset + at.length > size || at.length > LIMITS.tocLength || at.size > LIMITS.tocSize) {
    throw new FormatError("zstd:chunked", `The footer of ${path} is wrong, or asks for too much`);
  }
  const toc = decoded(read(at.offset, at.length), at);
  return { layer: undefined, verified: false, toc };
}
