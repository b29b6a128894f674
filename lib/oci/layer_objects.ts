import { ComposefsError, type ObjectId } from "../base/mod.ts";
import type { ObjectDirectory, ObjectFile } from "../repository/mod.ts";
import type { SplitstreamWriter } from "../splitstream/mod.ts";
import type { TarSplitSink } from "../tar/mod.ts";
import { Batch, BATCH_SIZE } from "./batch.ts";

/** What storing a layer's files came to. */
export interface LayerStats {
  /** Files that are objects, each occurrence counted. */
  objects: number;
  /** Objects that were not there before. */
  created: number;
  /** Their size in bytes. */
  createdBytes: number;
  /** Bytes that stay in the splitstream. */
  inlineBytes: number;
}

/** A part of the splitstream that waits for the digests of a batch in front of it. */
type Waiting =
  | { readonly type: "inline"; readonly bytes: Uint8Array }
  | { readonly type: "object"; readonly id: ObjectId; readonly size: number }
  | { readonly type: "batched"; readonly batch: Batch; readonly position: number };

/** Batches that may be under way; bounds memory. */
const MAX_UNDER_WAY = 4;
/** Inline bytes that may wait for batches in front of them; bounds memory too. */
const MAX_HELD = 4 * 1024 * 1024;

const NOTHING = new Uint8Array(4096).subarray(0, 0);

/**
 * Stores the files of one layer as objects and writes its splitstream in stream order. Files are
 * hashed and written right here, or handed to an idle worker in batches.
 */
export class LayerObjects implements TarSplitSink, Disposable {
  /** Counters so far. */
  readonly stats: LayerStats = { objects: 0, created: 0, createdBytes: 0, inlineBytes: 0 };
  /** Damaged objects that were replaced. */
  readonly repaired: ObjectId[] = [];
  readonly #writer: SplitstreamWriter;
  readonly #directory: ObjectDirectory;
  readonly #digestSize: number;
  readonly #credits: Int32Array;
  readonly #handOver: (batch: Batch) => void;
  readonly #beforeWait: () => void;
  readonly #waiting: Waiting[] = [];
  #held = 0;
  readonly #underWay: Batch[] = [];
  readonly #spare: Batch[] = [];
  /** The batch that is being filled while another worker is idle. */
  #batch: Batch | undefined;
  /** The content that is coming: size, bytes so far, and where they go. */
  #size = 0;
  #got = 0;
  /** Bytes of the stream before it. */
  #offset = 0;
  readonly #stored: ((offset: number, size: number) => ObjectId | undefined) | undefined;
  /** The object that is known to hold it. */
  #same: ObjectId | undefined;
  #file: ObjectFile | undefined;
  /** Collects a file that comes in several pieces and stays on this thread. */
  #assembly: Uint8Array | undefined;

  /** Writes objects to `directory` and the rest to `writer`. */
  constructor(
    writer: SplitstreamWriter,
    options: {
      directory: ObjectDirectory;
      digestSize: number;
      credits: SharedArrayBuffer;
      handOver: (batch: Batch) => void;
      beforeWait?: () => void;
      /** The object that is known to hold a file's content, by its place and size. */
      stored?: ((offset: number, size: number) => ObjectId | undefined) | undefined;
    },
  ) {
    this.#writer = writer;
    this.#directory = options.directory;
    this.#digestSize = options.digestSize;
    this.#credits = new Int32Array(options.credits);
    this.#handOver = options.handOver;
    this.#beforeWait = options.beforeWait ?? (() => {});
    this.#stored = options.stored;
  }

  inline(bytes: Uint8Array): void {
    this.stats.inlineBytes += bytes.length;
    this.#offset += bytes.length;
    if (this.#waiting.length === 0) this.#writer.addInline(bytes);
    else {
      this.#waiting.push({ type: "inline", bytes: bytes.slice() });
      this.#held += bytes.length;
      // A batch that nothing more is added to must not hold up whatever follows.
      if (this.#held > MAX_HELD) this.finish();
    }
  }

  externalStart(size: number): void {
    this.#size = size;
    this.#got = 0;
    this.#same = undefined;
    if (this.#stored === undefined) this.#begin(size);
  }

  /** Makes ready for content that has to be stored. */
  #begin(size: number): void {
    if (size > BATCH_SIZE) {
      this.#file = this.#directory.begin();
      return;
    }
    if (this.#batch !== undefined && !this.#batch.fits(size)) this.#send();
    if (this.#batch === undefined && this.#someoneIsIdle()) this.#batch = this.#freshBatch();
  }

  externalData(bytes: Uint8Array): void {
    const first = this.#got === 0;
    if (first && this.#stored !== undefined) {
      // Only now has everything before it been counted.
      this.#same = this.#stored(this.#offset, this.#size);
      if (this.#same === undefined) this.#begin(this.#size);
    }
    this.#got += bytes.length;
    if (this.#same !== undefined) return;
    if (this.#file !== undefined) this.#file.write(bytes);
    else if (this.#batch !== undefined) this.#batch.add(bytes);
    else if (first && bytes.length === this.#size) this.#storeHere(bytes);
    else {
      const assembly = this.#assembly ??= new Uint8Array(BATCH_SIZE);
      assembly.set(bytes, this.#got - bytes.length);
      if (this.#got === this.#size) this.#storeHere(assembly.subarray(0, this.#size));
    }
  }

  externalEnd(): void {
    this.#offset += this.#size;
    if (this.#same !== undefined) {
      this.#account({ id: this.#same, size: this.#size, outcome: "present" });
    } else if (this.#file !== undefined) {
      using file = this.#file;
      this.#file = undefined;
      this.#account(file.finish());
    } else if (this.#batch !== undefined) {
      const position = this.#batch.end(this.#size);
      this.#waiting.push({ type: "batched", batch: this.#batch, position });
    } else if (this.#size === 0) this.#storeHere(NOTHING); // there were no bytes to store it with
  }

  #storeHere(bytes: Uint8Array): void {
    this.#account(this.#directory.store(bytes));
  }

  #account(object: { id: ObjectId; size: number; outcome: string }): void {
    this.stats.objects++;
    if (object.outcome === "new") {
      this.stats.created++;
      this.stats.createdBytes += object.size;
    } else if (object.outcome === "repaired") this.repaired.push(object.id);
    const { id, size } = object;
    if (this.#waiting.length === 0) this.#writer.addExternal(id, size);
    else this.#waiting.push({ type: "object", id, size });
  }

  /** Takes a credit when another worker has nothing to do. */
  #someoneIsIdle(): boolean {
    if (Atomics.load(this.#credits, 0) <= 0) return false;
    if (Atomics.sub(this.#credits, 0, 1) > 0) return true;
    Atomics.add(this.#credits, 0, 1);
    return false;
  }

  /** Gives the credit of a batch back that is not handed over. */
  #giveBack(): void {
    Atomics.add(this.#credits, 0, 1);
  }

  #freshBatch(): Batch {
    if (this.#underWay.length >= MAX_UNDER_WAY) this.#settleOldest();
    const batch = this.#spare.pop() ?? new Batch();
    batch.reset();
    return batch;
  }

  /** Hands the batch over; it will be settled in order. */
  #send(): void {
    const batch = this.#batch!;
    this.#batch = undefined;
    this.#underWay.push(batch);
    this.#handOver(batch);
    while (this.#underWay[0]?.settled) this.#settleOldest();
  }

  /** Writes what waits for the oldest batch. */
  #settleOldest(): void {
    const batch = this.#underWay.shift()!;
    this.#beforeWait();
    if (!this.#await(batch)) {
      throw new ComposefsError("CFS_FAILED", "Storing a batch of files failed");
    }
    let count = 0;
    for (const part of this.#waiting) {
      if (part.type === "batched" && part.batch !== batch) break;
      count++;
      if (part.type === "inline") {
        this.#writer.addInline(part.bytes);
        this.#held -= part.bytes.length;
      } else if (part.type === "object") this.#writer.addExternal(part.id, part.size);
      else this.#writeBatched(batch, part.position);
    }
    this.#waiting.splice(0, count);
    this.#spare.push(batch);
  }

  /** Whether the batch is stored in the end; here, when nobody else takes it. */
  #await(batch: Batch): boolean {
    for (;;) {
      const stored = batch.wait();
      if (stored !== undefined) return stored;
      this.repaired.push(...batch.store(this.#directory));
    }
  }

  #writeBatched(batch: Batch, position: number): void {
    const { id, size, created } = batch.object(position, this.#digestSize);
    this.stats.objects++;
    if (created) {
      this.stats.created++;
      this.stats.createdBytes += size;
    }
    this.#writer.addExternal(id, size);
  }

  /** Stores what is left and waits for everything that is under way. */
  finish(): void {
    if (this.#batch !== undefined) this.#storeRest(this.#batch);
    while (this.#underWay.length > 0) this.#settleOldest();
  }

  /** Stores the last batch here: handing it over would only take longer. */
  #storeRest(batch: Batch): void {
    this.#batch = undefined;
    this.#underWay.push(batch);
    this.#giveBack();
    this.repaired.push(...batch.store(this.#directory));
  }

  /** Drops an unfinished file, and waits until no other worker uses our memory. */
  [Symbol.dispose](): void {
    this.#file?.[Symbol.dispose]();
    if (this.#batch !== undefined) this.#giveBack();
    this.#batch = undefined;
    this.#beforeWait();
    for (const batch of this.#underWay.splice(0)) if (!batch.claim()) batch.wait();
  }
}
