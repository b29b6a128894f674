import {
  type Algorithm,
  type HashProvider,
  type ObjectId,
  objectIdFromBytes,
} from "../base/mod.ts";
import { FsVerityHasher } from "../fsverity/mod.ts";
import { systemHash } from "../../ffi/mod.ts";

/** Takes the content of files and names it; every thread that reads files has its own. */
export interface ContentSink {
  /**
   * Takes a whole file that is in memory.
   *
   * @param bytes carved from a buffer of more than 64 bytes; the content is `bytes[0, size)`
   * @returns the content's id
   */
  whole(bytes: Uint8Array, size: number): ObjectId;
  /** Starts a file that comes in pieces. */
  begin(): ContentPieces;
}

/** A file that comes in pieces; disposing drops it unless it was finished. */
export interface ContentPieces extends Disposable {
  /** Takes the next piece, carved from a buffer of more than 64 bytes. */
  write(bytes: Uint8Array): void;
  /** Ends the file; returns the content's id. */
  finish(): ObjectId;
}

/** Where the threads of a scan get their sinks from. */
export interface SinkSource {
  /** Worker module that calls {@linkcode handleScan}. */
  readonly worker: URL;
  /** Given to the sink's maker in each worker; structured-clonable. */
  readonly argument: unknown;
  /** The sink of the scanning thread itself. */
  readonly local: ContentSink;
}

/** A sink that only computes digests. */
export class HashSink implements ContentSink {
  readonly #algorithm: Algorithm;
  readonly #hasher: FsVerityHasher;
  readonly #digest: Uint8Array = new Uint8Array(128);

  /** Creates a sink; `provider` defaults to the fastest hashing there is. */
  constructor(algorithm: Algorithm, provider: HashProvider = systemHash()) {
    this.#algorithm = algorithm;
    this.#hasher = new FsVerityHasher(algorithm, provider);
  }

  /** Hashes a whole file. */
  whole(bytes: Uint8Array, size: number): ObjectId {
    this.#hasher.updateRange(bytes, 0, size);
    return this.#finish();
  }

  #finish(): ObjectId {
    this.#hasher.digestInto(this.#digest, 0);
    return objectIdFromBytes(this.#digest, 0, this.#algorithm.size);
  }

  /** Hashes a file in pieces. */
  begin(): ContentPieces {
    const hasher = this.#hasher;
    hasher.reset();
    return {
      write: (bytes) => hasher.update(bytes),
      finish: () => this.#finish(),
      [Symbol.dispose]: () => hasher.reset(),
    };
  }
}
