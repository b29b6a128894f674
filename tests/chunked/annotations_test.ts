import assert from "node:assert/strict";
import { ANNOTATION, chunkedSupport } from "../../lib/chunked/mod.ts";

const GOOD = {
  [ANNOTATION.tocDigest]: "sha256:" + "0".repeat(64),
  [ANNOTATION.tocPosition]: "44535:1484:5258:1",
  [ANNOTATION.tarSplitPosition]: "46027:1810:38222",
};
const SIZE = 47909;

interface Case {
  name: string;
  change: Partial<Record<keyof typeof ANNOTATION, string | undefined>>;
  size?: number;
  reason?: RegExp;
  /** Whether the user is told. */
  suspicious?: boolean;
}

const MISSING = { tocDigest: undefined, tocPosition: undefined, tarSplitPosition: undefined };

const CASES: Case[] = [
  { name: "the current generation", change: {} },
  { name: "nothing", change: MISSING, reason: /not zstd:chunked/ },
  {
    name: "the oldest names",
    change: { ...MISSING, oldTocDigest: "sha256:00" },
    reason: /too old/,
  },
  { name: "eStargz", change: { ...MISSING, stargzDigest: "sha256:00" }, reason: /eStargz/ },
  { name: "no tar-split", change: { tarSplitPosition: undefined }, reason: /no tar-split/ },
  { name: "no digest", change: { tocDigest: undefined }, reason: /missing/, suspicious: true },
  { name: "no position", change: { tocPosition: undefined }, reason: /missing/, suspicious: true },
  {
    name: "both formats",
    change: { stargzDigest: "sha256:" + "0".repeat(64) },
    reason: /eStargz/,
    suspicious: true,
  },
  {
    name: "another digest",
    change: { tocDigest: "sha512:" + "0".repeat(128) },
    reason: /no sha256/,
    suspicious: true,
  },
  {
    name: "a blob that is too small",
    change: {},
    size: 47836,
    reason: /outside/,
    suspicious: true,
  },
  { name: "a blob that is just large enough", change: {}, size: 47837 },
  ...[
    "",
    "1:2:3",
    "1:2:3:1:1",
    "01:2:3:1",
    "+1:2:3:1",
    "1:2:3:1 ",
    "1:-2:3:1",
    "1:2:3:2",
    "0:2:3:1",
    "1:0:3:1",
    "1:2:9007199254740992:1",
    "1:2:157286401:1",
    "1:2:99999999999999999999:1",
  ].map((
    tocPosition,
  ): Case => ({
    name: `manifest-position "${tocPosition}"`,
    change: { tocPosition },
    reason: /manifest-position|too large/,
    suspicious: true,
  })),
  ...["1:2:3:1", "1:2", "1:2:2147483649", "1:47909:3"].map((tarSplitPosition): Case => ({
    name: `tarsplit-position "${tarSplitPosition}"`,
    change: { tarSplitPosition },
    reason: /tarsplit-position|too large/,
    suspicious: true,
  })),
];

Deno.test("chunkedSupport() takes what is well formed, and says why not", async (t) => {
  for (const { name, change, size = SIZE, reason, suspicious = false } of CASES) {
    await t.step(name, () => {
      const annotations: Record<string, string> = { ...GOOD };
      for (const [key, value] of Object.entries(change)) {
        const annotation = ANNOTATION[key as keyof typeof ANNOTATION];
        if (value === undefined) delete annotations[annotation];
        else annotations[annotation] = value;
      }
      const support = chunkedSupport(annotations, size);
      if (reason === undefined) return assert.equal(support.kind, "chunked");
      assert.ok(support.kind === "whole");
      assert.match(support.reason, reason);
      assert.equal(support.suspicious, suspicious);
    });
  }
  assert.equal(chunkedSupport(undefined, SIZE).kind, "whole");
  assert.equal(chunkedSupport(null, SIZE).kind, "whole");
});
