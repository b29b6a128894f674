import { FormatError, Reader, toByteString, writeByteString } from "../base/mod.ts";
import type { PartLocation } from "./annotations.ts";
import {
  FOOTER,
  FOOTER_MAGIC,
  FOOTER_PAYLOAD,
  OLD_FOOTER,
  OLD_FOOTER_MAGIC,
  OLD_FOOTER_PAYLOAD,
  SKIPPABLE,
  SKIPPABLE_HEADER,
  SKIPPABLE_MAGIC,
  TOC_TYPE,
} from "./layout.ts";

/** What a blob's footer says; nothing vouches for it. */
export interface Footer {
  /** Where the table of contents is. */
  readonly toc: PartLocation;
  /** Where the tar-split is; old blobs have none. */
  readonly tarSplit: PartLocation | undefined;
}

/** Bytes at the end of a blob that {@linkcode parseFooter} wants to see. */
export const FOOTER_SIZE: number = SKIPPABLE_HEADER + FOOTER_PAYLOAD;

/** The payload of the skippable frame that ends the bytes, if it is one of this length. */
function lastFrame(tail: Uint8Array, length: number): Uint8Array | undefined {
  const start = tail.length - length - SKIPPABLE_HEADER;
  if (start < 0) return undefined;
  const view = new DataView(tail.buffer, tail.byteOffset + start, SKIPPABLE_HEADER);
  if (view.getUint32(SKIPPABLE.magic[0], true) !== SKIPPABLE_MAGIC) return undefined;
  if (view.getUint32(SKIPPABLE.length[0], true) !== length) return undefined;
  return tail.subarray(start + SKIPPABLE_HEADER);
}

function hasMagic(payload: Uint8Array, at: number, magic: string): boolean {
  return toByteString(payload.subarray(at, at + magic.length)) === magic;
}

function part(payload: Uint8Array, at: number): PartLocation {
  const reader = new Reader(payload, "zstd:chunked", at);
  return {
    offset: reader.size("offset"),
    length: reader.size("length"),
    size: reader.size("size"),
  };
}

/**
 * Reads a footer (spec: zstd-chunked 2.1). It is for looking at blobs: nothing ties it to the
 * manifest, so a pull goes by the annotations.
 *
 * @param tail the last bytes of a blob, {@linkcode FOOTER_SIZE} of them or all there are
 * @returns undefined when the blob does not end in a footer
 * @throws {FormatError} for a footer of another type, or with numbers above 2^53 - 1
 */
export function parseFooter(tail: Uint8Array): Footer | undefined {
  const payload = lastFrame(tail, FOOTER_PAYLOAD);
  if (payload !== undefined && hasMagic(payload, FOOTER.magic[0], FOOTER_MAGIC)) {
    checkType(payload, FOOTER.type[0]);
    return {
      toc: part(payload, FOOTER.tocOffset[0]),
      tarSplit: part(payload, FOOTER.tarSplitOffset[0]),
    };
  }
  const old = lastFrame(tail, OLD_FOOTER_PAYLOAD);
  if (old === undefined || !hasMagic(old, OLD_FOOTER.magic[0], OLD_FOOTER_MAGIC)) return undefined;
  checkType(old, OLD_FOOTER.type[0]);
  return { toc: part(old, OLD_FOOTER.tocOffset[0]), tarSplit: undefined };
}

function checkType(payload: Uint8Array, at: number): void {
  const type = new Reader(payload, "zstd:chunked", at).size("type");
  if (type !== TOC_TYPE) throw new FormatError("zstd:chunked", `Footer has unknown type ${type}`);
}

/** A skippable frame around a payload. */
export function skippableFrame(payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(SKIPPABLE_HEADER + payload.length);
  const view = new DataView(out.buffer);
  view.setUint32(SKIPPABLE.magic[0], SKIPPABLE_MAGIC, true);
  view.setUint32(SKIPPABLE.length[0], payload.length, true);
  out.set(payload, SKIPPABLE_HEADER);
  return out;
}

/** Writes the footer's frame (spec: zstd-chunked 2.1). */
export function formatFooter(toc: PartLocation, tarSplit: PartLocation): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(FOOTER_PAYLOAD);
  const view = new DataView(payload.buffer);
  const set = (at: number, value: number) => view.setBigUint64(at, BigInt(value), true);
  set(FOOTER.tocOffset[0], toc.offset);
  set(FOOTER.tocLength[0], toc.length);
  set(FOOTER.tocSize[0], toc.size);
  set(FOOTER.type[0], TOC_TYPE);
  set(FOOTER.tarSplitOffset[0], tarSplit.offset);
  set(FOOTER.tarSplitLength[0], tarSplit.length);
  set(FOOTER.tarSplitSize[0], tarSplit.size);
  writeByteString(FOOTER_MAGIC, payload, FOOTER.magic[0]);
  return skippableFrame(payload);
}
