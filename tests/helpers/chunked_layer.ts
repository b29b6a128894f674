/**
 * Making zstd:chunked layers for tests that need larger ones than the fixtures: directories and
 * regular files, written as the current generation of writers does.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { nodeZstd } from "../../lib/base/mod.ts";
import {
  ANNOTATION,
  type Chunk,
  Chunker,
  formatFooter,
  SKIPPABLE_HEADER,
  skippableFrame,
} from "../../lib/chunked/mod.ts";
import { content, END, header } from "./make_tar.ts";

/** A file of a layer; a directory when it has no content. */
export interface LayerFile {
  /** Its path; a directory's ends in a slash. */
  name: string;
  /** Content of a regular file. */
  data?: Uint8Array;
}

/** A layer that was made. */
export interface ChunkedBlob {
  /** The blob. */
  blob: Uint8Array;
  /** Annotations for its descriptor. */
  annotations: Record<string, string>;
  /** The tar in it. */
  tar: Uint8Array;
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** Packs files into a zstd:chunked layer. */
export function chunkedLayer(files: readonly LayerFile[]): ChunkedBlob {
  const frames: Buffer[] = [];
  const tar: Buffer[] = [];
  const lines: string[] = [];
  const entries: Record<string, unknown>[] = [];
  let offset = 0;
  let raw: Buffer[] = [];
  let segment: Buffer[] = [];
  const add = (bytes: Uint8Array) => {
    const frame = Buffer.from(nodeZstd.compress(bytes));
    frames.push(frame);
    offset += frame.length;
  };
  const line = (object: Record<string, unknown>) =>
    lines.push(JSON.stringify({ ...object, position: lines.length }) + "\n");
  const takeSegment = () => {
    line({ type: 2, payload: Buffer.concat(segment).toString("base64") });
    segment = [];
  };
  const metadata = (bytes: Buffer) => {
    tar.push(bytes);
    raw.push(bytes);
    segment.push(bytes);
  };
  for (const { name, data } of files) {
    const directory = data === undefined;
    const size = data?.length ?? 0;
    metadata(header({ name, size, type: directory ? "5" : "0", mode: directory ? 0o755 : 0o644 }));
    takeSegment();
    line({
      type: 1,
      name,
      ...(size > 0 ? { size } : {}),
      payload: size > 0 ? "AAAAAAAAAAA=" : null,
    });
    const entry: Record<string, unknown> = { type: directory ? "dir" : "reg", name, mode: 420 };
    entries.push(entry);
    if (data === undefined || size === 0) continue;
    add(Buffer.concat(raw));
    raw = [];
    const chunks: (Chunk & { start: number })[] = [];
    const chunker = new Chunker((chunk) => {
      chunks.push({ ...chunk, start: offset });
      add(data.subarray(chunk.offset, chunk.offset + chunk.size));
    });
    Object.assign(entry, { size, digest: sha256(data), offset });
    chunker.push(data);
    chunker.finish();
    entry.endOffset = offset;
    if (chunks.length > 1) {
      for (const [i, { offset: at, size: length, zeros, start }] of chunks.entries()) {
        const fields = {
          chunkSize: length,
          ...(at > 0 ? { chunkOffset: at } : {}),
          chunkDigest: sha256(data.subarray(at, at + length)),
          ...(zeros ? { chunkType: "zeros" } : {}),
        };
        if (i === 0) Object.assign(entry, fields);
        else entries.push({ type: "chunk", name, offset: start, ...fields });
      }
    }
    tar.push(Buffer.from(data));
    const padding = content(data).subarray(size);
    if (padding.length > 0) metadata(padding);
  }
  metadata(END);
  takeSegment();
  add(Buffer.concat(raw));
  const tarSplit = Buffer.from(lines.join(""));
  const packedSplit = nodeZstd.compress(tarSplit);
  const toc = Buffer.from(
    JSON.stringify({ version: 1, entries, tarSplitDigest: sha256(packedSplit) }),
  );
  const packedToc = nodeZstd.compress(toc);
  const tocAt = { offset: offset + SKIPPABLE_HEADER, length: packedToc.length, size: toc.length };
  const splitAt = {
    offset: tocAt.offset + tocAt.length + SKIPPABLE_HEADER,
    length: packedSplit.length,
    size: tarSplit.length,
  };
  const blob = Buffer.concat([
    ...frames,
    skippableFrame(packedToc),
    skippableFrame(packedSplit),
    formatFooter(tocAt, splitAt),
  ]);
  const place = (at: typeof tocAt) => `${at.offset}:${at.length}:${at.size}`;
  return {
    blob,
    tar: Buffer.concat(tar),
    annotations: {
      [ANNOTATION.tocDigest]: sha256(packedToc),
      [ANNOTATION.tocPosition]: `${place(tocAt)}:1`,
      [ANNOTATION.tarSplitPosition]: place(splitAt),
    },
  };
}
