import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { gunzipSync } from "node:zlib";
import { ALGORITHMS, FormatError, type ObjectId } from "../../lib/base/mod.ts";
import { LayerTreeBuilder } from "../../lib/oci/layer_tree.ts";
import { readTarEntries, type TarChunk, TarSplitter } from "../../lib/tar/mod.ts";
import { importLayer } from "../helpers/layer.ts";
import { END, header, pax, randomLayer, seal } from "../helpers/make_tar.ts";
import { ROOT } from "../helpers/run.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

const ROUNDS = 20_000;
const ID = "ab".repeat(32) as ObjectId;

/** Splits and gives the chunks back, with a made-up object for each content. */
function split(tar: Uint8Array, piece: number): { chunks: TarChunk[]; entries: number } {
  const chunks: TarChunk[] = [];
  let given = 0;
  let expected = 0;
  const splitter = new TarSplitter({
    inline(bytes) {
      chunks.push({ type: "inline", bytes: bytes.slice() });
      given += bytes.length;
    },
    externalStart(size) {
      assert.ok(size > 64);
      expected = size;
    },
    externalData(bytes) {
      expected -= bytes.length;
      given += bytes.length;
    },
    externalEnd() {
      assert.equal(expected, 0);
      chunks.push({ type: "external", id: ID });
    },
  });
  for (let at = 0; at < tar.length; at += piece) splitter.push(tar.subarray(at, at + piece));
  splitter.finish();
  assert.equal(given, tar.length);
  return { chunks, entries: splitter.entryCount };
}

/** A value or a FormatError, as text that can be compared. */
function outcome<T>(run: () => T): T | string {
  try {
    return run();
  } catch (error) {
    assert.ok(error instanceof FormatError, String((error as Error).stack));
    return error.message;
  }
}

function inputs(rng: Rng): Uint8Array[] {
  const dir = `${ROOT}fixtures/tar/`;
  const files = [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
  return [
    ...files.filter((name) => name.endsWith(".tar")).map((name) => Deno.readFileSync(dir + name)),
    gunzipSync(Deno.readFileSync(`${dir}pax_1MiB_plus.tar.gz`)).subarray(0, 4096),
    randomLayer(rng, { entries: 10, sizes: [0, 64, 65, 600] }),
  ];
}

/** Gives some headers a right checksum again, so that mutations get past it. */
function reseal(tar: Uint8Array<ArrayBuffer>, rng: Rng): void {
  const bytes = Buffer.from(tar.buffer);
  for (let at = 0; at + 512 <= bytes.length; at += 512) {
    if (bytes.toString("latin1", at + 257, at + 262) === "ustar" && !rng.oneIn(4)) {
      seal(bytes.subarray(at, at + 512));
    }
  }
}

Deno.test(`Mutated tar streams give entries or a FormatError (SEED=${seed()})`, () => {
  const rng = new Rng(seed());
  const originals = inputs(rng);
  let good = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const tar = mutate(rng.pick(originals), rng);
    reseal(tar, rng);
    const started = performance.now();
    const whole = outcome(() => split(tar, tar.length || 1));
    const cut = outcome(() => split(tar, 1 + rng.below(700)));
    if (typeof whole === "string" || typeof cut === "string") {
      assert.equal(cut, whole, `round ${round}`);
    } else {
      good++;
      assert.equal(cut.entries, whole.entries);
      const read = outcome(() => [...readTarEntries(whole.chunks)]);
      assert.deepEqual(outcome(() => [...readTarEntries(cut.chunks)]), read, `round ${round}`);
      if (typeof read !== "string") {
        assert.equal(read.length, whole.entries, `round ${round}`);
        outcome(() => new LayerTreeBuilder().applyLayer(read, "fuzz"));
      }
    }
    assert.ok(performance.now() - started < 1000, `round ${round} took too long`);
  }
  assert.ok(good > ROUNDS / 20, `only ${good} inputs got through`);
});

Deno.test("A split layer with chunks moved about gives entries or a FormatError", () => {
  const rng = new Rng(seed());
  const originals = inputs(rng).map((tar) => outcome(() => split(tar, tar.length || 1)))
    .filter((result) => typeof result !== "string").map(({ chunks }) => chunks);
  for (let round = 0; round < 2000; round++) {
    const chunks = [...rng.pick(originals)];
    for (let count = 1 + rng.below(3); count > 0; count--) {
      const at = rng.below(chunks.length + 1);
      const chunk: TarChunk = rng.oneIn(2)
        ? { type: "external", id: ID }
        : { type: "inline", bytes: new Uint8Array(rng.below(600)) };
      chunks.splice(at, rng.below(2), chunk);
    }
    outcome(() => [...readTarEntries(chunks)]);
  }
});

Deno.test("Hostile tar streams cost time and memory in proportion to their size", async (t) => {
  const MIB = 2 ** 20;
  const cases: { name: string; tar: () => Uint8Array }[] = [
    {
      name: "a chain of links that each look 1 MiB ahead",
      tar: () => {
        const link = header({ name: "usr/l", type: "1", link: "usr/a", size: MIB - 1024 });
        return Buffer.concat([...new Array(20_000).fill(link), END]);
      },
    },
    {
      name: "extension headers that announce more than comes",
      tar: () => header({ name: "x", type: "x", size: MIB }),
    },
    {
      name: "a file that announces 8 EiB",
      tar: () => {
        const block = header({ name: "usr/big", size: 1 });
        block.fill(0xff, 124, 136);
        return seal(block);
      },
    },
    {
      name: "many extended attributes",
      tar: () => {
        const records: Record<string, string> = {};
        for (let i = 0; i < 30_000; i++) records[`SCHILY.xattr.user.${i}`] = "v";
        return Buffer.concat([pax(records), header({ name: "usr/x" }), END]);
      },
    },
  ];
  for (const { name, tar } of cases) {
    await t.step(name, () => {
      const bytes = tar();
      const before = Deno.memoryUsage().rss;
      const started = performance.now();
      outcome(() => importLayer(bytes, { algorithm: ALGORITHMS.sha256, piece: 65536 }));
      assert.ok(performance.now() - started < 2000);
      assert.ok(Deno.memoryUsage().rss - before < 200 * MIB);
    });
  }
});
