/** Parts of blobs, from servers that give many, one or none at a time (spec: zstd-chunked 6.1). */
import { ComposefsError } from "../base/mod.ts";
import {
  type AnswerHead,
  type ByteCounter,
  byterangesBoundary,
  ByterangesParser,
  type ContentRange,
  type Exchange,
  type HttpRequest,
  type Incoming,
  parseContentRange,
} from "../http/mod.ts";
import type { BlobRef } from "./blob.ts";
import { RegistryError } from "./error.ts";
import type { Access, RegistryHost } from "./host.ts";

/** Ranges of one request, and bytes of the header that names them. */
const MAX_RANGES = 64;
const MAX_HEADER = 4096;
/** Requests under way at a time. */
const PARALLEL = 6;
/** Blobs up to this size are read through when a server does not give parts. */
const SMALL = 8 * 1024 * 1024;
/** Part of a blob above which it is read through, too. */
const LARGE_PART = 0.25;
/** Requests in a row that may bring nothing. */
const MAX_VAIN = 5;
/** Statuses of servers that may take fewer ranges at a time. */
const TOO_MANY: readonly number[] = [400, 403, 414, 431, 501];

/** A stretch of a blob. */
export interface BlobRange {
  /** First byte. */
  readonly start: number;
  /** Byte after the last one. */
  readonly end: number;
}

/** Takes parts of a blob. */
export interface RangeSink {
  /**
   * Takes a piece; it is the sender's again afterwards. Inside one range pieces come in order and
   * each byte once; the ranges come in any order.
   *
   * @param offset where it belongs in the blob
   */
  write(offset: number, piece: Uint8Array): void | Promise<void>;
}

/** Whether all ranges came, or the server gives no parts. */
export type RangesResult = "parts" | "refused";

/** Where parts are fetched from. */
export interface RangePlace {
  /** The registry. */
  readonly host: RegistryHost;
  /** Path of the blob below `/v2/`. */
  readonly path: string;
  /** Access for reading. */
  readonly access: Access;
}

/** A range of which the beginning has arrived. */
interface Missing {
  start: number;
  readonly end: number;
}

/**
 * Fetches parts of a blob.
 *
 * @param ranges ascending and not overlapping
 * @throws {RegistryError} when the registry refuses or cannot be reached; what the sink throws
 */
export async function fetchRanges(
  place: RangePlace,
  blob: BlobRef,
  { ranges, sink }: { ranges: readonly BlobRange[]; sink: RangeSink },
): Promise<RangesResult> {
  checkRanges(ranges, blob.size);
  const job = new RangeJob(blob, ranges, sink);
  const { host } = place;
  // Who fails ends the others, whose errors are then no news.
  const stop = new AbortController();
  const { signal } = place.access;
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const access = { ...place.access, signal: either };
  let running = 0;
  let vain = 0;
  let failure: unknown;
  const fail = (error: unknown) => {
    failure ??= error;
    stop.abort();
  };
  const turn = async (): Promise<void> => {
    while (failure === undefined && !job.refused && host.rangesAtOnce > 0) {
      const batch = job.take(host.rangesAtOnce);
      if (batch.length === 0) return;
      const before = job.received;
      const exchange = new RangeExchange(job, batch);
      running++;
      try {
        await host.run(place.path, exchange, access);
        // Only the first of several ranges, or all of it: such servers know but one.
        if (exchange.single && batch.length > 1) host.rangesAtOnce = 1;
      } catch (error) {
        if (!isTooMany(error) || batch.length === 1) {
          return fail(error);
        }
        host.rangesAtOnce = Math.max(1, Math.floor(batch.length / 2));
      } finally {
        running--;
        job.give(batch);
      }
      vain = job.received > before ? 0 : vain + 1;
      if (vain > MAX_VAIN + running) {
        const why = "the registry answers with other parts than were asked for";
        fail(new ComposefsError("CFS_FAILED", `${place.access.what}: ${why}`));
      }
      if (!started) return;
    }
  };
  let started = false;
  // The first request that brings something shows what the server can do.
  while (job.received === 0 && !job.done && failure === undefined) {
    if (job.refused || host.rangesAtOnce === 0) break;
    await turn();
  }
  started = true;
  await Promise.all(Array.from({ length: PARALLEL }, turn));
  if (failure !== undefined) throw failure;
  if (job.refused) host.rangesAtOnce = 0;
  return job.done ? "parts" : "refused";
}

function checkRanges(ranges: readonly BlobRange[], size: number): void {
  let last = 0;
  for (const { start, end } of ranges) {
    if (!(start >= last && end > start && end <= size)) {
      throw new RangeError(`Range ${start}..${end} after ${last} of a blob of ${size} bytes`);
    }
    last = end;
  }
}

function isTooMany(error: unknown): boolean {
  return error instanceof RegistryError && error.status !== undefined &&
    TOO_MANY.includes(error.status);
}

/** What is missing, and who is asking for it. */
class RangeJob {
  readonly blob: BlobRef;
  readonly #sink: RangeSink;
  /** All that is not there, ascending. */
  #missing: Missing[];
  readonly #asked = new Set<Missing>();
  #refused = false;
  received = 0;

  constructor(blob: BlobRef, ranges: readonly BlobRange[], sink: RangeSink) {
    this.blob = blob;
    this.#sink = sink;
    this.#missing = ranges.map(({ start, end }) => ({ start, end }));
  }

  get done(): boolean {
    return this.#missing.every(({ start, end }) => start === end);
  }

  /** Whether the server gives no parts. */
  get refused(): boolean {
    return this.#refused;
  }

  refuse(): void {
    this.#refused = true;
  }

  /** Bytes that are missing. */
  get left(): number {
    return this.#missing.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** The next ranges to ask for, which nobody asks for now. */
  take(most: number): Missing[] {
    this.#missing = this.#missing.filter(({ start, end }) => start < end);
    const batch: Missing[] = [];
    let length = 0;
    for (const range of this.#missing) {
      if (this.#asked.has(range)) continue;
      length += headerPart(range).length + 1;
      if (batch.length >= Math.min(most, MAX_RANGES) || length > MAX_HEADER) break;
      this.#asked.add(range);
      batch.push(range);
    }
    return batch;
  }

  /** Gives back what was taken. */
  give(batch: readonly Missing[]): void {
    for (const range of batch) this.#asked.delete(range);
  }

  /** Passes on what of a piece is missing; the rest was not asked for, or comes too early. */
  async deliver(offset: number, bytes: Uint8Array): Promise<void> {
    const end = offset + bytes.length;
    // Others may tidy up the list while the sink takes its time.
    const missing = this.#missing;
    for (let index = this.#firstFrom(offset); index < missing.length; index++) {
      const range = missing[index]!;
      if (range.start >= end) return;
      const { start } = range;
      const stop = Math.min(range.end, end);
      if (start === stop) continue;
      range.start = stop;
      this.received += stop - start;
      const taken = this.#sink.write(start, bytes.subarray(start - offset, stop - offset));
      if (taken !== undefined) await taken;
    }
  }

  /** Index of the first range whose missing part begins at or after an offset. */
  #firstFrom(offset: number): number {
    let [low, high] = [0, this.#missing.length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#missing[middle]!.start < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function headerPart({ start, end }: Missing): string {
  return `${start}-${end - 1}`;
}

/** One request for some ranges. */
class RangeExchange implements Exchange {
  readonly worthResuming = true;
  readonly #job: RangeJob;
  readonly #batch: readonly Missing[];
  /** Whether the answer to several ranges was one part, or everything. */
  single = false;

  constructor(job: RangeJob, batch: readonly Missing[]) {
    this.#job = job;
    this.#batch = batch;
  }

  get received(): number {
    return this.#job.received;
  }

  request(): HttpRequest {
    const wanted = this.#batch.filter(({ start, end }) => start < end).map(headerPart);
    // Everything may have come by another request meanwhile; one byte shows that, too.
    const ranges = wanted.length === 0 ? "0-0" : wanted.join(",");
    const headers = { "accept-encoding": "identity", "range": `bytes=${ranges}` };
    return { headers, downgrade: true };
  }

  accepts(status: number): boolean {
    // 416: the blob is another one than it is said to be, which reading all of it will show.
    return status === 200 || status === 206 || status === 416;
  }

  again(_head: AnswerHead): boolean {
    return false;
  }

  async receive(response: Incoming, count: ByteCounter): Promise<void> {
    const { status, headers } = response;
    const boundary = byterangesBoundary(headers.get("content-type"));
    if (status === 416) return await this.#refuse(response);
    if (status === 200) return await this.#whole(response, count);
    if (boundary !== undefined) return await this.#parts(response, { boundary, count });
    this.single = true;
    const range = parseContentRange(headers.get("content-range"));
    if (range === undefined) {
      await response.body?.cancel();
      throw new TypeError("A part does not say where it belongs");
    }
    if (!this.#fits(range)) return await this.#refuse(response);
    await this.#stretch(response, { start: range.start, end: range.end, count });
  }

  async #refuse(response: Incoming): Promise<void> {
    await response.body?.cancel();
    this.#job.refuse();
  }

  /** The server gives everything: read it through when that costs little, or be content without. */
  async #whole(response: Incoming, count: ByteCounter): Promise<void> {
    this.single = true;
    const { size } = this.#job.blob;
    if (size <= SMALL || this.#job.left > size * LARGE_PART) {
      return await this.#stretch(response, { start: 0, end: size, count });
    }
    await response.body?.cancel();
    if (this.#batch.length === 1) this.#job.refuse();
  }

  async #stretch(
    response: Incoming,
    { start, end, count }: { start: number; end: number; count: ByteCounter },
  ): Promise<void> {
    let at = start;
    if (response.body === null) return;
    for await (const piece of response.body) {
      const pause = count(piece.length);
      if (pause !== undefined) await pause;
      await this.#job.deliver(at, piece.subarray(0, Math.max(0, end - at)));
      at += piece.length;
      // Leaving the loop early cancels the body.
      if (at >= end || this.#job.done) return;
    }
    if (at < end) throw new TypeError(`The part ends after ${at - start} of ${end - start} bytes`);
  }

  async #parts(
    response: Incoming,
    { boundary, count }: { boundary: string; count: ByteCounter },
  ): Promise<void> {
    let other = false;
    let content = 0;
    const parser = new ByterangesParser(boundary, (range) => {
      content += range.end - range.start;
      other ||= !this.#fits(range) || content > 2 * this.#job.blob.size;
    });
    if (response.body === null) return;
    for await (const piece of response.body) {
      const pause = count(piece.length);
      if (pause !== undefined) await pause;
      for (const { offset, bytes } of parser.push(piece)) {
        if (other) return this.#job.refuse();
        await this.#job.deliver(offset, bytes);
      }
      if (parser.ended) return;
    }
    const missing = this.#batch.some(({ start, end }) => start < end);
    if (missing) throw new TypeError("The parts end early");
  }

  #fits({ end, total }: ContentRange): boolean {
    const { size } = this.#job.blob;
    return end <= size && (total === undefined || total === size);
  }
}
