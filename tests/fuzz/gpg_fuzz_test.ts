import assert from "node:assert/strict";
import { ComposefsError } from "../../lib/base/mod.ts";
import {
  encodeMetadata,
  GpgKeyring,
  keyPolicy,
  metadataValue,
  NO_VERIFICATION,
  parseMetadata,
  Variant,
  verifyCommit,
} from "../../lib/ostree/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { ROOT } from "../helpers/run.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

loadNative();

const ROUNDS = 20_000;
const DIR = `${ROOT}fixtures/ostree/gpg`;
const NOW = new Date("2026-12-01T00:00:00Z");

const commit = Deno.readFileSync(`${DIR}/commit.bin`);
const meta = Deno.readFileSync(`${DIR}/commitmeta.bin`);
const edMeta = Deno.readFileSync(`${DIR}/commitmeta.ed25519.bin`);
const keys = ["k1.gpg", "k2.gpg"].map((name) => ({
  name,
  bytes: Deno.readFileSync(`${DIR}/${name}`),
}));

/** The issuers and times of the two signatures: whatever else is changed, these made them. */
const ISSUERS = new Set(["7104F1481B8C43CA", "2CA15C3799C697ED"]);

Deno.test(`Mutated GPG signatures are good or not, and never a crash (SEED=${seed()})`, async () => {
  const rng = new Rng(seed());
  const keyring = new GpgKeyring(keys);
  const originals = metadataValue(parseMetadata(meta), "ostree.gpgsigs", "aay") as Uint8Array[];
  const count: Record<string, number> = {};
  let slowest = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = mutate(rng.pick(originals), rng);
    const started = performance.now();
    for (const verdict of await keyring.verify(commit, [bytes], { now: NOW })) {
      count[verdict.status] = (count[verdict.status] ?? 0) + 1;
      // What is not signed, such as the hint at the issuer's fingerprint, may well be changed.
      if (verdict.status === "good") assert.ok(ISSUERS.has(verdict.keyId), verdict.keyId);
    }
    slowest = Math.max(slowest, performance.now() - started);
  }
  assert.ok(slowest < 1000, `${slowest} ms`);
  for (const status of ["malformed", "bad", "missing-key"]) {
    assert.ok((count[status] ?? 0) > 100, `${status}: ${count[status]}`);
  }
});

Deno.test("Mutated GPG signatures never fit other data", async () => {
  const rng = new Rng(seed() + 1);
  const keyring = new GpgKeyring(keys);
  const other = Uint8Array.from(commit);
  other[40]! ^= 1;
  const originals = metadataValue(parseMetadata(meta), "ostree.gpgsigs", "aay") as Uint8Array[];
  for (let round = 0; round < ROUNDS / 4; round++) {
    const bytes = mutate(rng.pick(originals), rng);
    for (const verdict of await keyring.verify(other, [bytes], { now: NOW })) {
      assert.notEqual(verdict.status, "good");
    }
  }
});

Deno.test("Mutated keys make a keyring or a FormatError", async () => {
  const rng = new Rng(seed() + 2);
  const inputs = [...keys.map(({ bytes }) => bytes), Deno.readFileSync(`${DIR}/k1.asc`)];
  const originals = metadataValue(parseMetadata(meta), "ostree.gpgsigs", "aay") as Uint8Array[];
  let read = 0;
  for (let round = 0; round < ROUNDS / 4; round++) {
    const bytes = mutate(rng.pick(inputs), rng);
    const started = performance.now();
    try {
      const keyring = new GpgKeyring([{ name: "mutated", bytes }]);
      const verdicts = await keyring.verify(commit, originals, { now: NOW });
      assert.equal(verdicts.length, 2);
      read++;
    } catch (error) {
      assert.ok(error instanceof ComposefsError, String((error as Error).stack));
      assert.equal(error.code, "CFS_FORMAT");
    }
    assert.ok(performance.now() - started < 1000);
  }
  assert.ok(read > 100, `only ${read} could be read`);
});

Deno.test("Mutated detached metadata lets a commit in or is refused with a typed error", async () => {
  const rng = new Rng(seed() + 3);
  const key = Deno.readTextFileSync(`${DIR}/ed25519.pub`).trim();
  const policies = [
    { ...NO_VERIFICATION, gpg: true, keyring: new GpgKeyring(keys) },
    keyPolicy({ signKeys: [`ed25519:${key}`] }),
  ];
  const empty = encodeMetadata([["ostree.gpgsigs", new Variant("aay", [])]]);
  const codes: Record<string, number> = {};
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = mutate(rng.pick([meta, edMeta, empty]), rng);
    let code = "valid";
    try {
      const { valid } = await verifyCommit(commit, bytes, { policy: rng.pick(policies), now: NOW });
      assert.ok(valid.length > 0);
    } catch (error) {
      assert.ok(error instanceof ComposefsError, String((error as Error).stack));
      code = error.code;
    }
    codes[code] = (codes[code] ?? 0) + 1;
  }
  assert.deepEqual(Object.keys(codes).sort(), ["CFS_FORMAT", "CFS_POLICY", "valid"]);
});
