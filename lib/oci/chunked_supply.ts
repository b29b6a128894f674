/** Layers of which only what is missing is fetched (spec: zstd-chunked 6). */
import { ComposefsError, type ProgressSink, withContext } from "../base/mod.ts";
import type { FetchPlan } from "../chunked/mod.ts";
import type { Fd } from "../../ffi/mod.ts";
import type { Repository } from "../repository/mod.ts";
import {
  notWorthWhile,
  openChunked,
  type OpenedChunked,
  planChunked,
  type WholeReason,
} from "./chunked_layer.ts";
import { ContentCache } from "./content_cache.ts";
import { keepContentIndex } from "./content_index_files.ts";
import { type ImageSource, openScratch, RangeArrival } from "../transport/mod.ts";
import type { LayerSupply, SuppliedLayer, SupplyContext, WantedLayer } from "./layer_supply.ts";
import { fetchRanges } from "./range_fetch.ts";
import { assertRoomFor } from "./room.ts";

/** Whether layers are fetched in parts: where it pays, always or else fail, or never. */
export type PartialMode = "auto" | "require" | "never";

/** What became of a layer. */
export interface LayerReport {
  /** Digest of the unpacked layer. */
  readonly diffId: string;
  /** Whether it was fetched in parts, and what that took. */
  readonly partial:
    | {
      readonly used: true;
      /** Bytes that were fetched, the tables included. */
      readonly fetchedBytes: number;
      /** Bytes of content that were there already. */
      readonly reusedBytes: number;
      /** Stretches of the blob that were asked for. */
      readonly ranges: number;
    }
    | { readonly used: false; readonly reason: string };
}

/** How partial layers are supplied. */
export interface PartialOptions {
  /** Whether to. */
  readonly mode: PartialMode;
  /** What has contents already. */
  readonly repository: Repository;
  /** Told warnings. */
  readonly progress?: ProgressSink | undefined;
  /** Told what became of each layer. */
  readonly report?: ((layer: LayerReport) => void) | undefined;
}

/**
 * Layers in parts where that is possible and pays, and by another way where not. Whatever is wrong
 * with the parts costs a warning and the whole blob (spec: zstd-chunked 5).
 *
 * @param fallback the way for all other layers
 */
export function partialLayers(
  source: ImageSource,
  fallback: LayerSupply,
  options: PartialOptions,
): LayerSupply {
  return new PartialSupply(source, fallback, options).supply;
}

class PartialSupply {
  readonly #source: ImageSource;
  readonly #fallback: LayerSupply;
  readonly #options: PartialOptions;
  #contents: ContentCache | undefined;

  constructor(source: ImageSource, fallback: LayerSupply, options: PartialOptions) {
    this.#source = source;
    this.#fallback = fallback;
    this.#options = options;
  }

  readonly supply: LayerSupply = async (layer, context) => {
    const { mode } = this.#options;
    if (mode === "never") return await this.#whole(layer, { context, reason: "not wanted" });
    if (mode === "auto" && !this.#source.remote) {
      return await this.#whole(layer, { context, reason: "the source is local" });
    }
    let opened: OpenedChunked | WholeReason;
    try {
      opened = await openChunked(this.#source, layer, context.signal);
    } catch (error) {
      return await this.#afterFault(layer, { context, error });
    }
    if ("reason" in opened) {
      const { reason, suspicious } = opened;
      if (mode === "require") throw required(reason);
      if (suspicious) this.#warn(layer, reason);
      return await this.#whole(layer, { context, reason });
    }
    let reason: string | undefined;
    try {
      const plan = await this.#plan(opened, context);
      if (mode === "auto") reason = notWorthWhile(this.#source, layer.descriptor, plan.fetchBytes);
      if (reason === undefined) {
        if (this.#source.remote) assertRoomFor(this.#options.repository, plan.fetchBytes);
        return await this.#parts(layer, { context, opened, plan });
      }
    } catch (error) {
      return await this.#afterFault(layer, { context, error });
    }
    return await this.#whole(layer, { context, reason, opened });
  };

  async #plan(opened: OpenedChunked, { objects, signal }: SupplyContext): Promise<FetchPlan> {
    const except = objects.suspects;
    this.#contents ??= new ContentCache(this.#options.repository, { except });
    return await planChunked(opened, this.#contents, { remote: this.#source.remote, signal });
  }

  #warn(layer: WantedLayer, reason: string): void {
    const text = `layer ${layer.id} cannot be fetched in parts: ${reason}`;
    this.#options.progress?.({ type: "warning", text });
  }

  #report(layer: WantedLayer, partial: LayerReport["partial"]): void {
    this.#options.report?.({ diffId: layer.id.toString(), partial });
  }

  /** The whole blob; what its table of contents says is of use for the next pull all the same. */
  async #whole(
    layer: WantedLayer,
    how: { context: SupplyContext; reason: string; opened?: OpenedChunked },
  ): Promise<SuppliedLayer> {
    const { descriptor } = layer;
    if (this.#source.remote) {
      const held = this.#source.held?.(descriptor) ?? 0;
      assertRoomFor(this.#options.repository, descriptor.size - held);
    }
    const supplied = await this.#fallback(layer, how.context);
    if (how.opened !== undefined) this.#keep(layer, supplied, how.opened);
    this.#report(layer, { used: false, reason: how.reason });
    return supplied;
  }

  async #afterFault(
    layer: WantedLayer,
    how: { context: SupplyContext; error: unknown },
  ): Promise<SuppliedLayer> {
    const { context, error } = how;
    context.signal.throwIfAborted();
    // Where there is no room for the parts there is none for the whole.
    if (!(error instanceof ComposefsError) || lacksRoom(error)) throw error;
    const reason = chain(error);
    if (this.#options.mode === "require") throw required(reason, error);
    this.#warn(layer, reason);
    // What was there may be damaged: it is compared with what comes, and replaced.
    const mismatch = error.code === "CFS_DIGEST_MISMATCH";
    // Or it is not what it was said to be, which nobody should have to find out again.
    if (mismatch) this.#contents?.distrust();
    const objects = mismatch ? { ...context.objects, thorough: true } : context.objects;
    return await this.#whole(layer, { context: { ...context, objects }, reason });
  }

  #keep(layer: WantedLayer, supplied: SuppliedLayer, opened: OpenedChunked): void {
    const { toc, files } = opened;
    keepContentIndex(this.#options.repository, layer.id, { stream: supplied.stream, toc, files });
  }

  async #parts(
    layer: WantedLayer,
    how: { context: SupplyContext; opened: OpenedChunked; plan: FetchPlan },
  ): Promise<SuppliedLayer> {
    const { context, opened, plan } = how;
    using fetched = await this.#fetch(layer, { context, plan });
    const id = layer.id.toString();
    let supplied: SuppliedLayer;
    try {
      supplied = await context.pool.import("import-chunked", {
        diffId: id,
        objects: context.objects,
        tarSplit: { bytes: opened.tarSplit, size: opened.at.tarSplit.size },
        files: opened.files,
        digests: opened.toc.digests,
        plan,
        blob: { fd: fetched.fd.number, offset: fetched.offset },
        arrived: fetched.arrival?.memory,
      }, { id, total: plan.contentBytes });
    } catch (error) {
      // Who waits for a range that does not arrive can only say that it did not.
      const failure = fetched.arrival?.failure ?? error;
      // The rest is of no use, and may be long in coming.
      fetched.stop();
      throw failure;
    } finally {
      await fetched.settled;
    }
    this.#keep(layer, supplied, opened);
    this.#report(layer, {
      used: true,
      fetchedBytes: plan.fetchBytes + opened.tocBytes,
      reusedBytes: plan.reusedBytes,
      ranges: plan.ranges.length,
    });
    return supplied;
  }

  /** Starts to fetch the ranges into a file that has them where the blob has them. */
  async #fetch(
    layer: WantedLayer,
    how: { context: SupplyContext; plan: FetchPlan },
  ): Promise<FetchedRanges> {
    const { descriptor } = layer;
    const { context: { signal }, plan: { ranges } } = how;
    if (this.#source.ranges === undefined) {
      const blob = await this.#source.blob(descriptor, { signal });
      return {
        fd: blob.fd,
        offset: blob.offset,
        arrival: undefined,
        settled: Promise.resolve(),
        stop: () => {},
        [Symbol.dispose]: () => blob[Symbol.dispose](),
      };
    }
    const fd = openScratch(this.#options.repository.path);
    const arrival = new RangeArrival(ranges.length);
    const stop = new AbortController();
    const fetching = fetchRanges(this.#source, descriptor, {
      ranges,
      fd,
      arrival,
      signal: AbortSignal.any([signal, stop.signal]),
    });
    const settled = fetching.catch((error) => arrival.fail(error));
    return {
      fd,
      offset: 0,
      arrival,
      settled,
      stop: () => stop.abort(),
      [Symbol.dispose]: () => fd.close(),
    };
  }
}

interface FetchedRanges extends Disposable {
  readonly fd: Fd;
  readonly offset: number;
  readonly arrival: RangeArrival | undefined;
  /** Settles when nothing more is written to the file. */
  readonly settled: Promise<void>;
  /** Gives up what has not arrived yet. */
  stop(): void;
}

function required(reason: string, cause?: unknown): ComposefsError {
  const message = `The layer cannot be fetched in parts, which is required: ${reason}`;
  return cause === undefined
    ? new ComposefsError("CFS_FAILED", message)
    : withContext(message, cause);
}

/** Whether an error or one of its causes is that the disk is full. */
function lacksRoom(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof ComposefsError && at.detail === "no-space") return true;
  }
  return false;
}

/** The messages of an error and its causes. */
function chain(error: unknown): string {
  const lines: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at.message !== lines.at(-1)) lines.push(at.message);
  }
  return lines.join(": ");
}
