/** Objects in the making. */
import { type Algorithm, type ObjectId, objectIdFromBytes } from "../base/mod.ts";
import { FsVerityHasher } from "../fsverity/mod.ts";
import { carved, type Fd, systemHash, writeAll } from "../../ffi/mod.ts";

/** What storing an object came to. */
export type StoreOutcome = "new" | "present" | "repaired";

/** A stored object. */
export interface StoredObject {
  /** Its id. */
  readonly id: ObjectId;
  /** Its size in bytes. */
  readonly size: number;
  /** Whether it was there before. */
  readonly outcome: StoreOutcome;
}

/** An object whose content comes in pieces; `using` drops it unless it was finished. */
export class ObjectFile implements Disposable {
  /** The file. Of one that shares another's blocks, what is read here is what the object holds. */
  readonly fd: Fd;
  readonly #hasher: FsVerityHasher;
  readonly #shared: boolean;
  readonly #end: { finish: (id: ObjectId, size: number) => StoredObject; abort: () => void };
  #size = 0;
  #done = false;

  /**
   * Made by `ObjectDirectory.begin()` and `ObjectDirectory.clone()`.
   *
   * @param options.shared whether the content is in the file already and is only taken note of
   */
  constructor(
    fd: Fd,
    options: {
      algorithm: Algorithm;
      shared: boolean;
      finish: (id: ObjectId, size: number) => StoredObject;
      abort: () => void;
    },
  ) {
    this.fd = fd;
    this.#hasher = new FsVerityHasher(options.algorithm, systemHash());
    this.#shared = options.shared;
    this.#end = options;
  }

  /** Adds content, in order and all of it. */
  write(piece: Uint8Array): void {
    if (this.#done) throw new TypeError("Object file is finished");
    const bytes = carved(piece);
    this.#hasher.update(bytes);
    if (!this.#shared) writeAll(this.fd, bytes);
    this.#size += bytes.length;
  }

  /** Names the object by its digest. */
  finish(): StoredObject {
    if (this.#done) throw new TypeError("Object file is finished");
    this.#done = true;
    return this.#end.finish(objectIdFromBytes(this.#hasher.digest()), this.#size);
  }

  /** Drops the file unless it was finished. */
  [Symbol.dispose](): void {
    if (this.#done) return;
    this.#done = true;
    this.#end.abort();
  }
}
