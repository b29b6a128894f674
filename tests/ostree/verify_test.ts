import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { FormatError, PolicyError } from "../../lib/base/mod.ts";
import {
  encodeMetadata,
  GpgKeyring,
  keyPolicy,
  NO_VERIFICATION,
  parseMetadata,
  SignKey,
  Variant,
  verifyCommit,
  verifyDelta,
  type VerifyPolicy,
  verifySummary,
} from "../../lib/ostree/mod.ts";
import { openDeltaEnvelope } from "../../lib/ostree/delta_superblock.ts";
import { loadNative } from "../helpers/native.ts";
import { ROOT } from "../helpers/run.ts";

loadNative();

const DIR = `${ROOT}fixtures/ostree/gpg`;
const NOW = new Date("2026-12-01T00:00:00Z");
const COMMIT = "83825bd88aec319ec2f2d3a872dd9ad56cc55e33f4fc4b48f180352bc8e50f07";
const K1 = "5BC30F247B73898596DE7CDB7104F1481B8C43CA";
const K2 = "17ACCCD097E18F3FB5C7B1BD2CA15C3799C697ED";
const ED25519 = "f8e09dd38159d405f609d139c6a309ab4a62732a0d3e709ac046513517abd9fc";

function fixture(name: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(`${DIR}/${name}`);
}

function text(name: string): string {
  return Deno.readTextFileSync(`${DIR}/${name}`).trim();
}

function gpg(...files: string[]): VerifyPolicy {
  const keyring = new GpgKeyring(files.map((name) => ({ name, bytes: fixture(name) })));
  return { ...NO_VERIFICATION, gpg: true, gpgSummary: true, keyring };
}

function ed25519(...files: string[]): VerifyPolicy {
  const policy = keyPolicy({ signKeys: files.map((name) => `ed25519:${text(name)}`) });
  return { ...policy, signSummary: policy.sign };
}

/** A copy with one bit of one byte turned. */
function changed(bytes: Uint8Array, at: number): Uint8Array<ArrayBuffer> {
  const out = Uint8Array.from(bytes);
  out[at]! ^= 1;
  return out;
}

function detached(key: string, ...signatures: Uint8Array[]): Uint8Array {
  return encodeMetadata([[key, new Variant("aay", signatures)]]);
}

const MADE_1 = "Signature made Sat Nov 21 07:37:24 2026 using EdDSA key ID 7104F1481B8C43CA\n";
const MADE_2 = "Signature made Sat Nov 21 07:37:24 2026 using RSA key ID 2CA15C3799C697ED\n";
const UNKNOWN = "Can't check signature: public key not found";

interface Case {
  name: string;
  policy: VerifyPolicy;
  meta?: Uint8Array;
  commit?: Uint8Array;
  now?: string;
  /** Keys of the valid signatures, or the message of the PolicyError after `Commit ID: `. */
  expect: string[] | string;
}

const commit = fixture("commit.bin");
const meta = fixture("commitmeta.bin");
const edMeta = fixture("commitmeta.ed25519.bin");
const edSignature = fixture("commit.ed25519.sig");

const cases: Case[] = [
  { name: "nothing asked for", policy: NO_VERIFICATION, expect: [] },
  { name: "both GPG keys", policy: gpg("k1.gpg", "k2.gpg"), meta, expect: [K1, K2] },
  { name: "EdDSA key", policy: gpg("k1.gpg"), meta, expect: [K1] },
  { name: "armored key", policy: gpg("k1.asc"), meta, expect: [K1] },
  { name: "RSA key", policy: gpg("k2.gpg"), meta, expect: [K2] },
  { name: "the same key twice", policy: gpg("k1.asc", "k1.gpg"), meta, expect: [K1] },
  {
    name: "no GPG keys",
    policy: gpg(),
    meta,
    expect: `${MADE_1}${UNKNOWN}\n${MADE_2}${UNKNOWN}`,
  },
  {
    name: "GPG on without a keyring",
    policy: { ...NO_VERIFICATION, gpg: true },
    meta,
    expect: `${MADE_1}${UNKNOWN}\n${MADE_2}${UNKNOWN}`,
  },
  {
    name: "no detached metadata",
    policy: gpg("k1.gpg"),
    expect: "GPG verification enabled, but no signatures found " +
      "(use gpg-verify=false in remote config to disable)",
  },
  {
    name: "ed25519 signatures where GPG is asked for",
    policy: gpg("k1.gpg"),
    meta: edMeta,
    expect: "GPG verification enabled, but no signatures found " +
      "(use gpg-verify=false in remote config to disable)",
  },
  {
    name: "an expired key",
    policy: gpg("k1.gpg"),
    meta,
    now: "2028-01-01T00:00:00Z",
    expect: `${MADE_1}Expired signature from "cfs test <cfs-test@example.invalid>"\n` +
      `Key expired Fri Dec 31 12:00:00 2027\n${MADE_2}${UNKNOWN}`,
  },
  {
    name: "an expired key and a good one",
    policy: gpg("k1.gpg", "k2.gpg"),
    meta,
    now: "2028-01-01T00:00:00Z",
    expect: [K2],
  },
  { name: "ed25519", policy: ed25519("ed25519.pub"), meta: edMeta, expect: [ED25519] },
  {
    name: "ed25519 with another key before it",
    policy: ed25519("ed25519-other.pub", "ed25519.pub"),
    meta: edMeta,
    expect: [ED25519],
  },
  {
    name: "a bad signature before the good one",
    policy: ed25519("ed25519.pub"),
    meta: fixture("commitmeta.ed25519.bad-then-good.bin"),
    expect: [ED25519],
  },
  {
    name: "a short signature before the good one",
    policy: ed25519("ed25519.pub"),
    meta: detached("ostree.sign.ed25519", new Uint8Array(63), edSignature),
    expect: [ED25519],
  },
  {
    name: "another ed25519 key",
    policy: ed25519("ed25519-other.pub"),
    meta: edMeta,
    expect: "ed25519: Signature couldn't be verified with: key '" +
      SignKey.fromBytes("ed25519", Uint8Array.fromBase64(text("ed25519-other.pub"))).id + "'",
  },
  {
    name: "a short signature",
    policy: ed25519("ed25519.pub"),
    meta: detached("ostree.sign.ed25519", new Uint8Array(63)),
    expect: "ed25519: Invalid signature: Ill-formed input: expected 64 bytes, got 63 bytes",
  },
  {
    name: "ed25519 wanted, GPG there",
    policy: ed25519("ed25519.pub"),
    meta,
    expect: "Signature verification enabled, but no signatures found " +
      "(use sign-verify=false in remote config to disable)",
  },
  {
    name: "a dummy signature",
    policy: { ...ed25519("ed25519.pub"), sign: "any" },
    meta: detached("ostree.sign.dummy", edSignature),
    expect: "Signature verification enabled, but no signatures found " +
      "(use sign-verify=false in remote config to disable)",
  },
  {
    name: "any kind, with keys for one",
    policy: { ...ed25519("ed25519.pub"), sign: "any" },
    meta: edMeta,
    expect: [ED25519],
  },
  {
    name: "any kind, without keys",
    policy: { ...NO_VERIFICATION, sign: "any" },
    meta: edMeta,
    expect: "Signature verification enabled, but no public keys found",
  },
  {
    name: "a kind without keys",
    policy: { ...ed25519("ed25519.pub"), sign: ["ed25519", "spki"] },
    meta: edMeta,
    expect: "No keys found for required signapi type spki",
  },
  {
    name: "GPG and ed25519 both asked for, one there",
    policy: { ...ed25519("ed25519.pub"), gpg: true, keyring: gpg("k1.gpg").keyring },
    meta: edMeta,
    expect: "GPG verification enabled, but no signatures found " +
      "(use gpg-verify=false in remote config to disable)",
  },
  {
    name: "GPG and ed25519 both asked for, both there",
    policy: { ...ed25519("ed25519.pub"), gpg: true, keyring: gpg("k1.gpg").keyring },
    meta: encodeMetadata([...parseMetadata(meta), ...parseMetadata(edMeta)]),
    expect: [K1, ED25519],
  },
  {
    name: "a revoked ed25519 key",
    policy: {
      ...ed25519("ed25519.pub"),
      signKeys: { ...ed25519("ed25519.pub").signKeys, revoked: new Set([ED25519]) },
    },
    meta: edMeta,
    expect: `ed25519: Signature by revoked key '${ED25519}'`,
  },
  {
    name: "many keys",
    policy: ed25519(...Array.from({ length: 5 }, () => "ed25519-other.pub")),
    meta: edMeta,
    expect: "ed25519: Signature couldn't be verified with: " +
      Array.from(
        { length: 3 },
        () =>
          `key '${
            SignKey.fromBytes("ed25519", Uint8Array.fromBase64(text("ed25519-other.pub"))).id
          }'`,
      ).join("; ") + "; tried 5 keys",
  },
];

Deno.test("verifyCommit() accepts and refuses as the policy says", async (t) => {
  for (const { name, policy, meta, now, expect } of cases) {
    await t.step(name, async () => {
      const options = { policy, now: now === undefined ? NOW : new Date(now) };
      if (typeof expect !== "string") {
        const { valid } = await verifyCommit(commit, meta, options);
        assert.deepEqual(valid.map(({ key }) => key), expect);
        return;
      }
      await assert.rejects(verifyCommit(commit, meta, options), (error: Error) => {
        assert.ok(error instanceof PolicyError);
        assert.equal(error.message, `Commit ${COMMIT}: ${expect}`);
        return true;
      });
    });
  }
});

Deno.test("verifyCommit() refuses the signatures of any other bytes", async () => {
  for (let at = 0; at < commit.length; at++) {
    const other = changed(commit, at);
    await assert.rejects(
      verifyCommit(other, meta, { policy: gpg("k1.gpg", "k2.gpg"), now: NOW }),
      (error: Error) => {
        assert.ok(error instanceof PolicyError);
        assert.match(error.message, /BAD signature from "cfs test <cfs-test@example.invalid>"/);
        assert.match(error.message, /BAD signature from "cfs rsa <cfs-rsa@example.invalid>"/);
        assert.match(error.message, /Primary key ID 2CA15C3799C697ED/);
        return true;
      },
    );
    const policy = ed25519("ed25519.pub");
    await assert.rejects(verifyCommit(other, edMeta, { policy }), PolicyError);
  }
});

Deno.test("verifyCommit() refuses detached metadata that is no dictionary of signatures", async () => {
  const policy = gpg("k1.gpg");
  const bad = [
    Uint8Array.of(1, 2, 3),
    encodeMetadata([["ostree.gpgsigs", new Variant("s", "x")]]),
    detached("ostree.gpgsigs", ...Array.from({ length: 65 }, () => edSignature)),
  ];
  for (const bytes of bad) {
    await assert.rejects(verifyCommit(commit, bytes, { policy }), { code: "CFS_FORMAT" });
  }
  const nonsense = detached("ostree.gpgsigs", Uint8Array.of(1), new Uint8Array(0));
  await assert.rejects(verifyCommit(commit, nonsense, { policy }), {
    code: "CFS_POLICY",
    message: `Commit ${COMMIT}: Malformed OpenPGP signature\nMalformed OpenPGP signature`,
  });
  // Nothing is read when nothing is asked for.
  assert.deepEqual((await verifyCommit(commit, bad[0], { policy: NO_VERIFICATION })).valid, []);
});

Deno.test("verifySummary() checks summary.sig by the policy for summaries", async (t) => {
  const summary = fixture("summary");
  const signature = fixture("summary.sig");
  await t.step("GPG", async () => {
    const { valid } = await verifySummary(summary, signature, { policy: gpg("k1.gpg"), now: NOW });
    assert.deepEqual(valid.map(({ type, key, userId }) => [type, key, userId]), [
      ["gpg", K1, "cfs test <cfs-test@example.invalid>"],
    ]);
    assert.equal(valid[0]?.created?.toISOString().slice(0, 10), "2026-11-21");
    assert.match(valid[0]!.lines.join("\n"), /\nGood signature from "cfs test/);
  });
  await t.step("ed25519", async () => {
    const { valid } = await verifySummary(summary, fixture("summary.sig.ed25519"), {
      policy: ed25519("ed25519.pub"),
    });
    assert.deepEqual(valid.map(({ key }) => key), [ED25519]);
  });
  await t.step("another key", async () => {
    const policy = gpg("k2.gpg");
    await assert.rejects(verifySummary(summary, signature, { policy }), PolicyError);
  });
  await t.step("another summary", async () => {
    const policy = gpg("k1.gpg");
    await assert.rejects(
      verifySummary(changed(summary, 99), signature, { policy }),
      /BAD signature/,
    );
  });
  await t.step("no summary.sig", async () => {
    await assert.rejects(verifySummary(summary, undefined, { policy: gpg("k1.gpg") }), {
      message: "GPG verification enabled, but no summary.sig found " +
        "(use gpg-verify-summary=false in remote config to disable)",
    });
    await assert.rejects(verifySummary(summary, undefined, { policy: ed25519("ed25519.pub") }), {
      message: "Signature verification enabled, but no summary.sig found " +
        "(use sign-verify-summary=false in remote config to disable)",
    });
  });
  await t.step("commits are not summaries", async () => {
    const policy = { ...gpg("k2.gpg"), gpgSummary: false };
    assert.deepEqual((await verifySummary(summary, undefined, { policy })).valid, []);
  });
});

Deno.test("verifyDelta() checks the signatures of a superblock", async () => {
  const wrapper = Deno.readFileSync(`${ROOT}fixtures/ostree/deltas/signed-inline.superblock`);
  const { superblock, signatures } = openDeltaEnvelope(wrapper);
  const raw = detached("ostree.sign.ed25519", fixture("delta.ed25519.sig"));
  assert.deepEqual(signatures, parseMetadata(raw));
  const policy = ed25519("ed25519.pub");
  assert.equal((await verifyDelta(superblock, signatures, { policy })).valid[0]?.key, ED25519);
  await assert.rejects(verifyDelta(changed(superblock, 40), signatures, { policy }), PolicyError);
  await assert.rejects(verifyDelta(superblock, undefined, { policy }), PolicyError);
});

Deno.test("SignKey checks spki signatures by ed25519, EC and RSA keys", async () => {
  const pairs = [
    generateKeyPairSync("ed25519"),
    generateKeyPairSync("ec", { namedCurve: "P-256" }),
    generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ];
  for (const [index, { publicKey, privateKey }] of pairs.entries()) {
    const hash = index === 0 ? null : "sha256";
    const signature = Uint8Array.from(sign(hash, commit, privateKey));
    const key = Uint8Array.from(publicKey.export({ type: "spki", format: "der" }));
    const policy = keyPolicy({ signKeys: [`spki:${key.toBase64()}`] });
    const spki = detached("ostree.sign.spki", signature);
    assert.equal((await verifyCommit(commit, spki, { policy })).valid[0]?.type, "spki");
    await assert.rejects(verifyCommit(changed(commit, 3), spki, { policy }), PolicyError);
  }
});

Deno.test("SignKey refuses bytes that are no key", () => {
  assert.throws(() => SignKey.fromBytes("ed25519", new Uint8Array(31)), {
    code: "CFS_FORMAT",
    message: "Invalid ed25519 public key: expected 32 bytes, got 31 bytes",
  });
  assert.throws(() => SignKey.fromBytes("spki", new Uint8Array(40)), FormatError);
});

Deno.test("GpgKeyring refuses files without keys", async () => {
  const keybox = new TextEncoder().encode("\0\0\0 \x01\x01\0\x02KBXf\0\0\0\0");
  const files = [
    [keybox, "x is a keybox and no file of exported keys"],
    [new TextEncoder().encode("no key\n"), "No OpenPGP keys in x"],
    [Uint8Array.of(0x99, 1, 2, 3), "Invalid OpenPGP keys in x"],
    [fixture("k1.gpg").subarray(0, 100), "Invalid OpenPGP keys in x"],
  ] as const;
  for (const [bytes, message] of files) {
    const keyring = new GpgKeyring([{ name: "x", bytes }]);
    await assert.rejects(keyring.fingerprints(), { code: "CFS_FORMAT", message });
  }
  const both = Uint8Array.from([...fixture("k1.gpg"), ...fixture("k2.gpg")]);
  assert.deepEqual(await new GpgKeyring([{ name: "x", bytes: both }]).fingerprints(), [K1, K2]);
  const twice = new TextEncoder().encode(`note\n${text("k1.asc")}\n\n${text("k1.asc")}\n`);
  assert.deepEqual(await new GpgKeyring([{ name: "x", bytes: twice }]).fingerprints(), [K1]);
});
