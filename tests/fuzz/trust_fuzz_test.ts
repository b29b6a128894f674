import assert from "node:assert/strict";
import { ComposefsError, FormatError } from "../../lib/base/mod.ts";
import { Certificate, chainFault, GpgKeyring } from "../../lib/signature/mod.ts";
import {
  chooseRequirements,
  dockerImage,
  DockerName,
  evaluatePolicy,
  type FoundSignature,
  lintPolicy,
  parsePolicy,
  parseSignatureBlob,
  type Policy,
  readPolicy,
} from "../../lib/trust/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { FIXTURES, readFixture } from "../trust/_fixtures.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

loadNative();

const ROUNDS = 20_000;
const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

/** Runs something many times; the slowest must take less than a second. */
async function rounds(count: number, one: (round: number) => void | Promise<void>): Promise<void> {
  let slowest = 0;
  for (let round = 0; round < count; round++) {
    const started = performance.now();
    const done = one(round);
    if (done !== undefined) await done;
    slowest = Math.max(slowest, performance.now() - started);
  }
  assert.ok(slowest < 1000, `${slowest} ms`);
}

Deno.test(`mutated policies are read or refused with a place (SEED=${seed()})`, async () => {
  const rng = new Rng(seed());
  const originals = readFixture<{ policy: string | null }[]>("grammar.json")
    .map(({ policy }) => new TextEncoder().encode(policy ?? ""))
    .filter(({ length }) => length > 0);
  const image = dockerImage(DockerName.parse("registry.example.com/a/b:v1"));
  let valid = 0;
  await rounds(ROUNDS, () => {
    const bytes = mutate(rng.pick(originals), rng);
    const { faults } = readPolicy(bytes);
    try {
      const policy = parsePolicy(bytes, "p.json");
      assert.deepEqual(faults, []);
      assert.ok(chooseRequirements(policy, image).requirements.length > 0);
      valid++;
    } catch (error) {
      assert.ok(error instanceof FormatError, String(error));
      assert.match(error.message, /^invalid policy in "p\.json": .*line \d+, column \d+\)$/s);
      assert.ok(faults.length > 0);
    }
  });
  assert.ok(valid > 50 && valid < ROUNDS / 2, `${valid} valid`);
  await rounds(500, () => void lintPolicy(mutate(rng.pick(originals), rng)));
});

Deno.test("deep, wide and long JSON is refused quickly", async (t) => {
  const cases = {
    deep: "[".repeat(1 << 20),
    "deep objects": '{"a":'.repeat(1 << 18),
    wide: `[${"1,".repeat(1 << 20)}1]`,
    "a long string": `"${"a".repeat(1 << 21)}`,
    "escapes": `"${"\\u0041".repeat(1 << 18)}"`,
    "many keys": `{${Array.from({ length: 1 << 17 }, (_, i) => `"${i}":1`).join(",")}}`,
    "a long number": "1".repeat(1 << 21),
    large: " ".repeat((1 << 22) + 1),
  };
  for (const [name, text] of Object.entries(cases)) {
    await t.step(name, () => {
      const started = performance.now();
      const { faults } = readPolicy(new TextEncoder().encode(text));
      assert.ok(faults.length > 0);
      assert.ok(performance.now() - started < 1000);
    });
  }
});

const manifest = new TextEncoder().encode("{}");
const image = dockerImage(DockerName.parse("registry.example.com/team/app:v1"));

/** Judges one signature; it must not be accepted, and never throw. */
async function judge(policy: Policy, signature: FoundSignature): Promise<string> {
  const found = { signatures: [signature], faults: [], notes: [] };
  const verdict = await evaluatePolicy(policy, {
    image,
    manifest: { bytes: manifest, signatures: found },
  }, { bundleIdentity: "repository" });
  // What was signed is another manifest, whatever else holds.
  assert.equal(verdict.accepted, false);
  assert.ok(verdict.reason !== undefined && verdict.reason.length > 0);
  return verdict.reason;
}

Deno.test("mutated simple signatures are refused for a reason", async () => {
  const rng = new Rng(seed() + 1);
  const dir = `${FIXTURES}/lookaside/gpg`;
  const originals = [...Deno.readDirSync(dir)].map(({ name }) => name).sort()
    .flatMap((name) => {
      try {
        return [Deno.readFileSync(`${dir}/${name}/signature-1`)];
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
        return [];
      }
    });
  assert.ok(originals.length > 30);
  const policy = parsePolicy(
    encode({
      default: [{
        type: "signedBy",
        keyType: "GPGKeys",
        keyPaths: ["gpg-ab", "gpg-ed25519", "gpg-subkey"].map((name) =>
          `${FIXTURES}/keys/${name}.gpg`
        ),
        signedIdentity: { type: "matchRepository" },
      }],
    }),
    "p.json",
  );
  const reasons = new Set<string>();
  await rounds(2500, async () => {
    const bytes = mutate(rng.pick(originals), rng);
    let signature: FoundSignature;
    try {
      signature = parseSignatureBlob(bytes, "here");
    } catch (error) {
      assert.ok(error instanceof FormatError, String(error));
      return;
    }
    if (signature.kind === "simple") reasons.add((await judge(policy, signature)).slice(0, 20));
  });
  assert.ok(reasons.size > 4, [...reasons].join(" | "));
});

Deno.test("messages that unpack to messages for ever are refused", async () => {
  const keyring = new GpgKeyring([{
    name: "a",
    bytes: Deno.readFileSync(`${FIXTURES}/keys/gpg-a.gpg`),
  }]);
  // Compressed packets in each other, uncompressed so that each costs nothing but its header.
  let bytes = new Uint8Array([0xcb, 1, 0x62]);
  for (let depth = 0; depth < 2000; depth++) {
    const body = new Uint8Array([0, ...bytes]);
    bytes = new Uint8Array([0xa3, ...body]);
  }
  const started = performance.now();
  await assert.rejects(keyring.verifyMessage(bytes), { code: "CFS_FORMAT" });
  assert.ok(performance.now() - started < 1000);
});

Deno.test("mutated bundles are refused for a reason", async () => {
  const rng = new Rng(seed() + 2);
  const original = Deno.readFileSync(`${FIXTURES}/bundles/good.sigstore.json`);
  const policy = parsePolicy(
    encode({
      default: [{
        type: "sigstoreSigned",
        keyPath: `${FIXTURES}/bundles/bundle-key.pub`,
        signedIdentity: { type: "matchRepository" },
      }],
    }),
    "p.json",
  );
  await rounds(5000, async () => {
    const bytes = mutate(original, rng);
    await judge(policy, { kind: "bundle", place: "here", bytes });
  });
});

Deno.test("mutated sigstore blobs are read or refused", async () => {
  const rng = new Rng(seed() + 3);
  const original = Deno.readFileSync(`${FIXTURES}/dir/sigstore/signature-1`);
  const policy = parsePolicy(
    encode({
      default: [{
        type: "sigstoreSigned",
        keyPath: `${FIXTURES}/keys/ec-p256.pub`,
        signedIdentity: { type: "matchRepository" },
      }],
    }),
    "p.json",
  );
  let read = 0;
  await rounds(5000, async () => {
    let signature: FoundSignature;
    try {
      signature = parseSignatureBlob(mutate(original, rng), "here");
    } catch (error) {
      assert.ok(error instanceof FormatError, String(error));
      return;
    }
    read++;
    if (signature.kind === "sigstore") await judge(policy, signature);
  });
  assert.ok(read > 50, `${read} read`);
});

Deno.test("mutated certificates are read or refused, and lead to no anchor but their own", async () => {
  const rng = new Rng(seed() + 4);
  const read = (name: string) => Deno.readTextFileSync(`${FIXTURES}/keys/${name}.pem`);
  const [root] = Certificate.listFromPem(read("ca-root"), { max: 1 });
  const [middle] = Certificate.listFromPem(read("ca-intermediate"), { max: 1 });
  const options = { anchors: [root!], intermediates: [], time: new Date("2026-12-01T00:00:00Z") };
  let good = 0;
  await rounds(ROUNDS, () => {
    const der = mutate(middle!.der, rng);
    try {
      const certificate = Certificate.fromDer(der);
      void certificate.names;
      const same = der.length === middle!.der.length &&
        der.every((byte, i) => byte === middle!.der[i]);
      const fault = chainFault(certificate, options);
      if (fault === undefined) assert.ok(same || !same && isOnlyEncoding(der, middle!.der));
      else good++;
    } catch (error) {
      assert.ok(error instanceof ComposefsError, String(error));
    }
  });
  assert.ok(good > 100, `${good} read`);
});

/** Whether what was signed is the same, so that only the signature is written in another way. */
function isOnlyEncoding(a: Uint8Array, b: Uint8Array): boolean {
  const length = 4 + 4 + ((b[6]! << 8) | b[7]!);
  return a.subarray(4, length).every((byte, i) => byte === b[4 + i]);
}
