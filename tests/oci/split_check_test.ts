import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { FormatError } from "../../lib/base/mod.ts";
import { SplitCheck } from "../../lib/oci/split_check.ts";
import { TarSplitter } from "../../lib/tar/mod.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { content, END, header, randomLayer } from "../helpers/make_tar.ts";
import { ROOT } from "../helpers/run.ts";

/** A stretch of a layer: one object, or what is between objects. */
interface Part {
  readonly object: boolean;
  readonly start: number;
  readonly end: number;
}

/** How a layer has to be split; `undefined` for one that cannot be. */
function split(tar: Uint8Array): Part[] | undefined {
  const parts: Part[] = [];
  let at = 0;
  const splitter = new TarSplitter({
    inline(bytes) {
      parts.push({ object: false, start: at, end: at += bytes.length });
    },
    externalStart() {},
    externalData(bytes) {
      parts.push({ object: true, start: at, end: at += bytes.length });
    },
    externalEnd() {},
  });
  try {
    splitter.push(tar);
    splitter.finish();
  } catch (error) {
    assert.ok(error instanceof FormatError);
    return undefined;
  }
  return parts;
}

/** Checks a layer that is split this way, its bytes in pieces. */
function check(tar: Uint8Array, parts: readonly Part[], piece: number): void {
  const checking = new SplitCheck();
  for (const { object, start, end } of parts) {
    if (object) checking.object(end - start);
    for (let at = start; at < end; at += piece) {
      checking.bytes(tar.subarray(at, Math.min(end, at + piece)));
    }
  }
  checking.finish();
}

/** The same bytes, cut in other places. */
function* recut(parts: readonly Part[], rng: Rng): Generator<[string, Part[]]> {
  for (const [i, part] of parts.entries()) {
    if (!part.object) continue;
    const with_ = (...instead: Part[]) => [...parts.slice(0, i), ...instead, ...parts.slice(i + 1)];
    const { start, end } = part;
    const inside = start + 1 + rng.below(end - start - 1);
    yield ["no object", with_({ object: false, start, end })];
    yield [
      "shorter",
      with_({ object: true, start, end: inside }, {
        object: false,
        start: inside,
        end,
      }),
    ];
    yield [
      "later",
      with_({ object: false, start, end: inside }, {
        object: true,
        start: inside,
        end,
      }),
    ];
    yield [
      "two objects",
      with_({ object: true, start, end: inside }, {
        object: true,
        start: inside,
        end,
      }),
    ];
    const after = parts[i + 1];
    if (after === undefined || after.object) continue;
    const behind = after.start + 1 + rng.below(after.end - after.start);
    const rest = { object: false, start: behind, end: after.end };
    yield ["longer", [
      ...parts.slice(0, i),
      { object: true, start, end: behind },
      rest,
      ...parts.slice(i + 2),
    ]];
    const next = parts[i + 2];
    if (next === undefined) continue;
    yield ["two files in one", [
      ...parts.slice(0, i),
      { object: true, start, end: next.end },
      ...parts.slice(i + 3),
    ]];
  }
}

function checkAll(tar: Uint8Array, rng: Rng): number {
  const parts = split(tar);
  if (parts === undefined) return 0;
  let refused = 0;
  for (const piece of [Infinity, 1000, 512]) check(tar, parts, piece);
  for (const [name, other] of recut(parts, rng)) {
    assert.throws(() => check(tar, other, rng.pick([Infinity, 700])), FormatError, name);
    refused++;
  }
  return refused;
}

Deno.test("SplitCheck takes the fixtures as they are split, and cut in no other way", async (t) => {
  const rng = new Rng(seed());
  let refused = 0;
  for (const { name } of Deno.readDirSync(`${ROOT}fixtures/tar`)) {
    if (!name.endsWith(".tar")) continue;
    await t.step(name, () => {
      refused += checkAll(Deno.readFileSync(`${ROOT}fixtures/tar/${name}`), rng);
    });
  }
  assert.ok(refused > 40, `${refused}`);
});

Deno.test("SplitCheck takes layers that the splitter has to look ahead in", () => {
  const rng = new Rng(seed());
  const files = Array.from({ length: 300 }, (_, i) => [
    header({ name: `f${i}`, size: 700 }),
    content("x".repeat(700)),
  ]).flat();
  for (const size of [600, 100_000, 2 ** 19, 2 ** 21]) {
    const tar = Buffer.concat([
      header({ name: "f", size: 100 }),
      content("y".repeat(100)),
      // A link whose size is stale: there is no content behind it.
      header({ name: "h", type: "1", link: "f", size }),
      ...files,
      END,
    ]);
    assert.ok(checkAll(tar, rng) > 0);
  }
});

Deno.test(`SplitCheck and random layers (SEED=${seed()})`, () => {
  const rng = new Rng(seed());
  let refused = 0;
  for (let round = 0; round < 60; round++) {
    refused += checkAll(randomLayer(rng, { entries: 1 + rng.below(25) }), rng);
  }
  assert.ok(refused > 300, `${refused}`);
});
