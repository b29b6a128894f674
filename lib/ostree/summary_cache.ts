/** Summaries that are kept between pulls (spec: ostree 8.4). */
import {
  ComposefsError,
  FormatError,
  fromByteString,
  NotFoundError,
  Reader,
  toByteString,
} from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { CHECKSUM_SIZE, checksumBytes, checksumFromBytes, checksumOf } from "./checksum.ts";
import { inlineBytes } from "./stored_commit.ts";

/** Content type of streams with a summary: `osummary`. */
export const SUMMARY_STREAM_TYPE = 0x7972616d6d75736fn;

const HEADER = { etagSize: [0, "u16"], dateSize: [2, "u16"] } as const;
const HEADER_SIZE = 4;
const MAX_FIELD = 0xffff;
const MAX_NAME = 200;

/** A summary as it came. */
export interface CachedSummary {
  /** Its tag; empty when it has none. */
  readonly etag: string;
  /** When it changed, as the server said; empty when it did not. */
  readonly lastModified: string;
  /** Its bytes. */
  readonly bytes: Uint8Array;
}

/** Keeps summaries. */
export interface SummaryCache {
  /** The summary with a name; `undefined` when there is none that is intact. */
  load(name: string): CachedSummary | undefined;
  /** Keeps a summary under a name. */
  store(name: string, summary: CachedSummary): void;
}

/** Name of a server's summary in a cache: of its host, its port unless it is usual, its path. */
export function summaryCacheKey(url: URL): string {
  return (url.host + url.pathname).replace(/\/+$/, "").replaceAll("/", "-");
}

/** The bytes of a stream with a summary. */
export function encodeCachedSummary(summary: CachedSummary): Uint8Array<ArrayBuffer> {
  const etag = fromByteString(summary.etag);
  const date = fromByteString(summary.lastModified);
  const content = HEADER_SIZE + CHECKSUM_SIZE + etag.length + date.length;
  const out = new Uint8Array(content + summary.bytes.length);
  const view = new DataView(out.buffer);
  view.setUint16(HEADER.etagSize[0], etag.length, true);
  view.setUint16(HEADER.dateSize[0], date.length, true);
  out.set(checksumBytes(checksumOf(summary.bytes)), HEADER_SIZE);
  out.set(etag, HEADER_SIZE + CHECKSUM_SIZE);
  out.set(date, HEADER_SIZE + CHECKSUM_SIZE + etag.length);
  out.set(summary.bytes, content);
  return out;
}

/**
 * Parses the bytes of a stream with a summary.
 *
 * @throws {FormatError} when they are cut off or the summary is not the one that was kept
 */
export function parseCachedSummary(bytes: Uint8Array): CachedSummary {
  const reader = new Reader(bytes, "ostree summary cache");
  const etagSize = reader.u16();
  const dateSize = reader.u16();
  const checksum = checksumFromBytes(reader.bytes(CHECKSUM_SIZE));
  const etag = toByteString(reader.bytes(etagSize));
  const lastModified = toByteString(reader.bytes(dateSize));
  const rest = reader.bytes(reader.remaining);
  if (checksumOf(rest) !== checksum) {
    throw new FormatError("ostree summary cache", "The kept summary is damaged");
  }
  return { etag, lastModified, bytes: rest };
}

/** Keeps summaries as streams of a repository, where the reference does; gc drops them. */
export function repositorySummaryCache(repository: Repository): SummaryCache {
  return {
    load(name) {
      try {
        const stream = repository.openStream(name, { contentType: SUMMARY_STREAM_TYPE });
        return parseCachedSummary(inlineBytes(stream));
      } catch (error) {
        if (error instanceof NotFoundError) return undefined;
        // A kept summary that is damaged is fetched again.
        if (error instanceof ComposefsError) return undefined;
        throw error;
      }
    },
    store(name, summary) {
      const { etag, lastModified } = summary;
      if (name.length > MAX_NAME || etag.length > MAX_FIELD || lastModified.length > MAX_FIELD) {
        return;
      }
      using writer = repository.newStream(SUMMARY_STREAM_TYPE);
      writer.addInline(encodeCachedSummary(summary));
      repository.writeStream(name, writer.finish());
    },
  };
}
