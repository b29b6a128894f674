/**
 * What every object store must do: run on each implementation.
 *
 * @module
 */
import assert from "node:assert/strict";
import {
  type Algorithm,
  DigestMismatchError,
  FormatError,
  nodeHash,
  NotFoundError,
  type ObjectId,
  parseObjectId,
  PolicyError,
} from "../../lib/base/mod.ts";
import { objectIdOf } from "../../lib/fsverity/mod.ts";
import type { ObjectPruner } from "../../lib/repository/mod.ts";

/** A fresh store under test. */
export interface StoreUnderTest extends Disposable {
  /** The store, empty. */
  readonly store: ObjectPruner;
  /** Whether what {@linkcode StoreUnderTest.damage} puts there cannot even be opened. */
  readonly strict?: boolean;
  /** Puts other content in the place of an object's, behind the store's back. */
  damage(id: ObjectId, bytes: Uint8Array): void;
  /** Whatever the store has left behind that is no object. */
  leftovers(): string[];
}

/** Sizes at the borders of blocks, of pieces and of hash levels. */
const SIZES = [0, 1, 63, 64, 65, 4095, 4096, 4097, 2 ** 19 + 1, 2 ** 20 - 1, 2 ** 20, 2 ** 21 + 5];

function content(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + seed * 17 + (i >> 12)) & 0xff;
  return bytes;
}

function collect(pieces: Iterable<Uint8Array>): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  for (const piece of pieces) {
    assert.ok(piece.length > 0 && piece.length <= 2 ** 20);
    parts.push(piece.slice());
  }
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Stores by the streaming writer, cut into odd pieces. */
function stream(store: ObjectPruner, bytes: Uint8Array, piece = 70_001) {
  using sink = store.begin();
  for (let at = 0; at < bytes.length; at += piece) sink.write(bytes.subarray(at, at + piece));
  return sink.finish();
}

const WAYS = {
  buffered: (store: ObjectPruner, bytes: Uint8Array) => store.write(bytes),
  streamed: (store: ObjectPruner, bytes: Uint8Array) => stream(store, bytes),
} as const;

/** One requirement. */
type Check = (test: StoreUnderTest, algorithm: Algorithm) => void;

const CHECKS: Record<string, Check> = {
  "names objects by their fs-verity digest and gives them back": ({ store }, algorithm) => {
    for (const way of Object.values(WAYS)) {
      for (const size of SIZES) {
        const bytes = content(size);
        const { id, size: stored } = way(store, bytes);
        assert.equal(id, objectIdOf(bytes, { algorithm, provider: nodeHash }));
        assert.equal(stored, size);
        assert.equal(store.size(id), size);
        assert.deepEqual(store.read(id), bytes);
        assert.deepEqual(collect(store.pieces(id)), bytes);
        assert.deepEqual(collect(store.pieces(id, { verify: true })), bytes);
      }
    }
    assert.equal([...store.list()].length, SIZES.length);
  },
  "stores content once, whichever way it comes": (test) => {
    for (const [first, second] of [["buffered", "streamed"], ["streamed", "buffered"]] as const) {
      const bytes = content(
        5000,
        first.length + second.length * 3 + (first === "buffered" ? 1 : 0),
      );
      assert.equal(WAYS[first](test.store, bytes).outcome, "new");
      assert.equal(WAYS[second](test.store, bytes).outcome, "present");
      assert.equal(WAYS[first](test.store, bytes).outcome, "present");
    }
    assert.equal([...test.store.list()].length, 2);
    assert.deepEqual(test.leftovers(), []);
  },
  "does not keep a hold on the caller's memory": ({ store }) => {
    const bytes = content(3000);
    const { id } = store.write(bytes);
    bytes.fill(0);
    assert.deepEqual(store.read(id), content(3000));
    store.read(id).fill(0);
    assert.deepEqual(store.read(id), content(3000));
  },
  "takes views into larger buffers": ({ store }) => {
    const whole = content(9000);
    const { id } = store.write(whole.subarray(100, 150));
    assert.deepEqual(store.read(id), whole.slice(100, 150));
  },
  "repairs a damaged duplicate: shorter, longer": (test) => {
    for (const way of Object.values(WAYS)) {
      for (const wrong of [content(4999), content(6000), new Uint8Array(0)]) {
        const bytes = content(5000);
        const { id } = way(test.store, bytes);
        test.damage(id, wrong);
        assert.equal(way(test.store, bytes).outcome, "repaired");
        assert.deepEqual(test.store.read(id), bytes);
        assert.equal(way(test.store, bytes).outcome, "present");
      }
    }
    assert.deepEqual(test.leftovers(), []);
  },
  "repairs a damaged duplicate of the same size when the content is in memory": (test) => {
    const bytes = content(5000);
    const { id } = test.store.write(bytes);
    test.damage(id, content(5000, 2));
    assert.equal(test.store.write(bytes).outcome, "repaired");
    assert.deepEqual(test.store.read(id), bytes);
    assert.deepEqual(test.leftovers(), []);
  },
  "refuses to read what is not what its name says": (test) => {
    const { id } = test.store.write(content(5000));
    for (const wrong of [content(5000, 2), content(4999), content(5001), new Uint8Array(0)]) {
      test.damage(id, wrong);
      const fault = test.strict ? PolicyError : DigestMismatchError;
      assert.throws(() => test.store.read(id), fault);
      assert.throws(() => collect(test.store.pieces(id, { verify: true })), fault);
      if (test.strict) assert.throws(() => collect(test.store.pieces(id)), fault);
      else assert.deepEqual(collect(test.store.pieces(id)), wrong);
    }
  },
  "says what is not there": ({ store }, algorithm) => {
    const id = parseObjectId("ab".repeat(algorithm.size));
    assert.equal(store.size(id), undefined);
    assert.throws(() => store.read(id), NotFoundError);
    assert.throws(() => collect(store.pieces(id)), NotFoundError);
    assert.equal(store.remove(id), false);
    assert.deepEqual([...store.list()], []);
  },
  "reads no more than it is allowed to": ({ store }) => {
    const { id } = store.write(content(5000));
    assert.equal(store.read(id, { maxSize: 5000 }).length, 5000);
    assert.throws(() => store.read(id, { maxSize: 4999 }), FormatError);
  },
  "lists sorted and removes": ({ store }) => {
    const ids = Array.from({ length: 50 }, (_, i) => store.write(content(100, i)).id);
    assert.deepEqual([...store.list()], [...ids].sort());
    for (const id of ids) {
      assert.equal(store.remove(id), true);
      assert.equal(store.remove(id), false);
      assert.equal(store.size(id), undefined);
    }
    assert.deepEqual([...store.list()], []);
    assert.equal(store.write(content(100, 0)).outcome, "new");
  },
  "leaves nothing of an object that was not finished": (test) => {
    {
      using sink = test.store.begin();
      sink.write(content(100_000));
    }
    assert.deepEqual([...test.store.list()], []);
    assert.deepEqual(test.leftovers(), []);
  },
  "refuses to go on with a finished object": ({ store }) => {
    const sink = store.begin();
    sink.write(content(10));
    sink.finish();
    assert.throws(() => sink.write(content(1)), TypeError);
    assert.throws(() => sink.finish(), TypeError);
    sink[Symbol.dispose]();
    assert.equal([...store.list()].length, 1);
  },
  "writes several objects at a time": ({ store }) => {
    using one = store.begin();
    using two = store.begin();
    for (let i = 0; i < 10; i++) {
      one.write(content(1000, 1));
      two.write(content(1000, 2));
      store.write(content(1000, i + 3));
    }
    const first = one.finish().id;
    const second = two.finish().id;
    assert.notEqual(first, second);
    assert.equal(store.read(first).length, 10_000);
    assert.equal(store.read(second).length, 10_000);
  },
};

/**
 * Runs all requirements on a kind of store.
 *
 * @param t The test.
 * @param options Algorithm, and how to make a fresh store.
 */
export async function testObjectStore(
  t: Deno.TestContext,
  options: { algorithm: Algorithm; make: (algorithm: Algorithm) => StoreUnderTest },
): Promise<void> {
  const { algorithm, make } = options;
  for (const [name, check] of Object.entries(CHECKS)) {
    await t.step(`${algorithm.hash}: ${name}`, () => {
      using test = make(algorithm);
      check(test, algorithm);
    });
  }
}
