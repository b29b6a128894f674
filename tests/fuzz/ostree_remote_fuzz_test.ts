import "../helpers/libraries.ts";
import assert from "node:assert/strict";
import { ComposefsError } from "../../lib/base/mod.ts";
import { parseCookies } from "../../lib/http/mod.ts";
import {
  type Checksum,
  encodeCachedSummary,
  parseCachedSummary,
  parseSummary,
  parseSummaryIndex,
  PullJournal,
} from "../../lib/ostree/mod.ts";
import { parseMetalink, parseMirrorlist } from "../../lib/ostree/mirrors.ts";
import { TempDir } from "../helpers/temp.ts";
import { unpack } from "../ostree/_remote.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

const ROUNDS = 20_000;
const JOURNAL_ROUNDS = 300;
const SLOWEST = 1000;

/** Runs something that must end soon, with a value or a typed error; returns whether with one. */
function failed(run: () => void): boolean {
  const start = performance.now();
  try {
    run();
    return false;
  } catch (error) {
    assert.ok(error instanceof ComposefsError, String((error as Error).stack));
    return true;
  } finally {
    assert.ok(performance.now() - start < SLOWEST);
  }
}

Deno.test(`what servers say: ${ROUNDS} changed documents of each kind, seed ${seed()}`, async (t) => {
  using temp = new TempDir();
  const dir = unpack(temp.path, "archive-deltas-overlay");
  const summary = Deno.readFileSync(`${dir}/summary`);
  const encoder = new TextEncoder();
  const text = (parse: (text: string) => unknown) => (bytes: Uint8Array) =>
    void parse(new TextDecoder().decode(bytes));
  const metalink = `<metalink><!-- x --><file name="summary"><size>12</size><verification>` +
    `<hash type="sha256">${"ab".repeat(32)}</hash></verification><resources>` +
    `<url preference="9">http://h/summary</url></resources></file></metalink>`;
  const kinds: Record<string, [Uint8Array, (bytes: Uint8Array) => void]> = {
    "summaries": [summary, parseSummary],
    "indexes": [Deno.readFileSync(`${dir}/summary.idx`), parseSummaryIndex],
    "kept summaries": [
      encodeCachedSummary({ etag: '"tag"', lastModified: "date", bytes: summary }),
      parseCachedSummary,
    ],
    "cookies": [encoder.encode("h\tTRUE\t/\tFALSE\t0\tname\tvalue\n"), text(parseCookies)],
    "metalinks": [encoder.encode(metalink), text((xml) => parseMetalink(xml, "summary"))],
  };
  for (const [name, [bytes, parse]] of Object.entries(kinds)) {
    await t.step(name, () => {
      const rng = new Rng(seed());
      let errors = 0;
      for (let round = 0; round < ROUNDS; round++) {
        if (failed(() => parse(mutate(bytes, rng)))) errors++;
      }
      assert.ok(errors > ROUNDS / 10, `${errors} errors`);
    });
  }
  await t.step("mirror lists are never refused", () => {
    const rng = new Rng(seed());
    const list = encoder.encode("# mirrors\nhttp://a/b\nhttps://c:1/\n");
    for (let round = 0; round < ROUNDS; round++) {
      const changed = new TextDecoder().decode(mutate(list, rng));
      assert.ok(!failed(() => parseMirrorlist(changed)));
    }
  });
});

Deno.test(`journals: ${JOURNAL_ROUNDS} changed ones, seed ${seed()}`, () => {
  using temp = new TempDir();
  const path = temp.join("journal");
  const ids = Array.from({ length: 5 }, (_, i) => `${i}`.repeat(64) as Checksum);
  {
    using journal = PullJournal.open(path);
    for (const id of ids) journal.add(id, { data: new Uint8Array(300), object: undefined });
  }
  const bytes = Deno.readFileSync(path);
  const rng = new Rng(seed());
  for (let round = 0; round < JOURNAL_ROUNDS; round++) {
    Deno.writeFileSync(path, mutate(bytes, rng));
    {
      using journal = PullJournal.open(path);
      for (const id of ids) journal.get(id);
      journal.add(ids[0]!, { data: new Uint8Array([1, 2, 3]), object: undefined });
    }
    // What is added to a damaged journal is found again.
    using again = PullJournal.open(path);
    assert.deepEqual(again.get(ids[0]!)?.data, new Uint8Array([1, 2, 3]));
  }
});
