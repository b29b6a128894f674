/**
 * Objects in memory: the second implementation that keeps the object store's contract honest.
 *
 * @module
 */
import {
  type Algorithm,
  DigestMismatchError,
  FormatError,
  NotFoundError,
  type ObjectId,
} from "../../lib/base/mod.ts";
import { nodeHash } from "../../lib/base/mod.ts";
import { objectIdOf } from "../../lib/fsverity/mod.ts";
import type { ObjectPruner, ObjectSink, StoredObject } from "../../lib/repository/mod.ts";

/** An object store without a disk. */
export class MemoryObjectStore implements ObjectPruner {
  readonly algorithm: Algorithm;
  readonly #objects = new Map<ObjectId, Uint8Array<ArrayBuffer>>();

  /** Creates an empty store. */
  constructor(algorithm: Algorithm) {
    this.algorithm = algorithm;
  }

  #idOf(bytes: Uint8Array): ObjectId {
    return objectIdOf(bytes, { algorithm: this.algorithm, provider: nodeHash });
  }

  size(id: ObjectId): number | undefined {
    return this.#objects.get(id)?.length;
  }

  #get(id: ObjectId): Uint8Array<ArrayBuffer> {
    const bytes = this.#objects.get(id);
    if (bytes === undefined) throw new NotFoundError("object", id);
    return bytes;
  }

  #verified(id: ObjectId): Uint8Array<ArrayBuffer> {
    const bytes = this.#get(id);
    const actual = this.#idOf(bytes);
    if (actual !== id) throw new DigestMismatchError("object", id, actual);
    return bytes;
  }

  read(id: ObjectId, options: { maxSize?: number } = {}): Uint8Array<ArrayBuffer> {
    const size = this.#get(id).length;
    if (options.maxSize !== undefined && size > options.maxSize) {
      throw new FormatError("object", `Object ${id} has ${size} bytes`);
    }
    return this.#verified(id).slice();
  }

  *pieces(id: ObjectId, options: { verify?: boolean } = {}): Generator<Uint8Array> {
    const bytes = this.#get(id);
    for (let at = 0; at < bytes.length; at += 2 ** 20) yield bytes.subarray(at, at + 2 ** 20);
    if (options.verify) this.#verified(id);
  }

  write(bytes: Uint8Array): StoredObject {
    const id = this.#idOf(bytes);
    const size = bytes.length;
    const found = this.#objects.get(id);
    const intact = found !== undefined && this.#idOf(found) === id;
    if (intact) return { id, size, outcome: "present" };
    this.#objects.set(id, Uint8Array.from(bytes));
    return { id, size, outcome: found === undefined ? "new" : "repaired" };
  }

  begin(): ObjectSink {
    const parts: Uint8Array[] = [];
    let done = false;
    const check = () => {
      if (done) throw new TypeError("Object file is finished");
    };
    return {
      write: (bytes) => {
        check();
        parts.push(bytes.slice());
      },
      finish: () => {
        check();
        done = true;
        return this.write(new Uint8Array(parts.flatMap((part) => [...part])));
      },
      [Symbol.dispose]: () => {
        done = true;
      },
    };
  }

  *list(): Generator<ObjectId> {
    yield* [...this.#objects.keys()].sort();
  }

  remove(id: ObjectId): boolean {
    return this.#objects.delete(id);
  }

  /** Puts other content in the place of an object's. */
  damage(id: ObjectId, bytes: Uint8Array): void {
    this.#objects.set(id, Uint8Array.from(bytes));
  }
}
