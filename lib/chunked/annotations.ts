import { Digest, FormatError } from "../base/mod.ts";
import { ANNOTATION, LIMITS, TOC_TYPE } from "./layout.ts";

/** Where a compressed part lies in a blob. */
export interface PartLocation {
  /** Offset of its first byte in the blob. */
  readonly offset: number;
  /** Its compressed length in bytes. */
  readonly length: number;
  /** Its length in bytes when unpacked. */
  readonly size: number;
}

/** What a layer's annotations say of its table of contents. */
export interface ChunkedLayer {
  /** Where the table of contents is. */
  readonly toc: PartLocation;
  /** Digest of its compressed bytes. */
  readonly tocDigest: Digest;
  /** Where the tar-split is. */
  readonly tarSplit: PartLocation;
}

/** How a layer can be fetched, by its annotations. */
export type ChunkedSupport =
  | { readonly kind: "chunked"; readonly layer: ChunkedLayer }
  | {
    readonly kind: "whole";
    /** Why only the whole blob will do. */
    readonly reason: string;
    /** Whether something is wrong, as opposed to just not there. */
    readonly suspicious: boolean;
  };

const POSITION = /^(?:0|[1-9][0-9]{0,18})(?::(?:0|[1-9][0-9]{0,18})){2,3}$/;

function fail(message: string): FormatError {
  return new FormatError("zstd:chunked", message);
}

/** Parses `O:L:U` or `O:L:U:T` (spec: zstd-chunked 1.1). */
function position(text: string, options: { name: string; count: number; blobSize: number }) {
  const { name, count, blobSize } = options;
  const bad = (why: string) => fail(`${name} "${text.slice(0, 100)}" ${why}`);
  if (!POSITION.test(text)) throw bad("is malformed");
  const numbers = text.split(":").map((digits) => BigInt(digits));
  if (numbers.length !== count) throw bad(`does not have ${count} numbers`);
  const [offset, length, size, type] = numbers.map((value) => {
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw bad("is out of range");
    return Number(value);
  }) as [number, number, number, number | undefined];
  if (offset < 1 || length < 1 || offset + length > blobSize) {
    throw bad(`is outside of a blob of ${blobSize} bytes`);
  }
  if (type !== undefined && type !== TOC_TYPE) throw bad(`has the unknown type ${type}`);
  return { offset, length, size };
}

function checkSize(part: PartLocation, what: string, limits: { length: number; size: number }) {
  if (part.length > limits.length || part.size > limits.size) {
    throw fail(`${what} takes ${part.length} bytes, ${part.size} unpacked: too large`);
  }
}

function parse(
  annotations: Readonly<Record<string, string>>,
  texts: { digest: string; toc: string; tarSplit: string; blobSize: number },
): ChunkedLayer {
  if (annotations[ANNOTATION.stargzDigest] !== undefined) {
    throw fail("both a zstd:chunked and an eStargz table of contents are named");
  }
  const { blobSize } = texts;
  const tocDigest = Digest.parse(texts.digest);
  if (tocDigest.algorithm !== "sha256") throw fail(`manifest-checksum ${tocDigest} is no sha256`);
  const toc = position(texts.toc, { name: "manifest-position", count: 4, blobSize });
  const tarSplit = position(texts.tarSplit, { name: "tarsplit-position", count: 3, blobSize });
  checkSize(toc, "table of contents", { length: LIMITS.tocLength, size: LIMITS.tocSize });
  checkSize(tarSplit, "tar-split", {
    length: LIMITS.tarSplitLength,
    size: LIMITS.tarSplitSize,
  });
  return { toc, tocDigest, tarSplit };
}

/**
 * What a layer's annotations promise (spec: zstd-chunked 1.1, 1.2).
 *
 * @param blobSize size in bytes that the layer's descriptor announces
 * @returns how the layer can be fetched; faults are a reason to fetch the whole blob, not errors
 */
export function chunkedSupport(
  annotations: Readonly<Record<string, string>> | null | undefined,
  blobSize: number,
): ChunkedSupport {
  const digest = annotations?.[ANNOTATION.tocDigest];
  const toc = annotations?.[ANNOTATION.tocPosition];
  const tarSplit = annotations?.[ANNOTATION.tarSplitPosition];
  const whole = (reason: string, suspicious = false): ChunkedSupport => ({
    kind: "whole",
    reason,
    suspicious,
  });
  if (!annotations || (digest === undefined && toc === undefined)) {
    if (annotations?.[ANNOTATION.oldTocDigest] !== undefined) {
      return whole("the zstd:chunked encoder was too old: there is no tar-split");
    }
    if (annotations?.[ANNOTATION.stargzDigest] !== undefined) {
      return whole("eStargz has no tar-split");
    }
    return whole("the layer is not zstd:chunked");
  }
  if (digest === undefined || toc === undefined) {
    return whole("digest or position of the table of contents is missing", true);
  }
  if (tarSplit === undefined) return whole("the layer has no tar-split");
  try {
    return { kind: "chunked", layer: parse(annotations, { digest, toc, tarSplit, blobSize }) };
  } catch (error) {
    if (error instanceof FormatError) return whole(error.message, true);
    throw error;
  }
}
