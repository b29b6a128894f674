import assert from "node:assert/strict";
import { openArchive } from "../../lib/transport/archive.ts";
import { readDocument } from "../../lib/transport/blob.ts";
import { parseIndex } from "../../lib/transport/documents.ts";
import { parseBundle } from "../../lib/trust/bundle.ts";
import {
  dockerImage,
  DockerName,
  evaluatePolicy,
  type FoundSignatures,
  parsePolicy,
  type SignatureVerdict,
} from "../../lib/trust/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { FIXTURES, readFixture } from "./_fixtures.ts";

loadNative();

interface BundleRow {
  file: string;
  signature: "valid" | "invalid" | "malformed";
  is_image_signature_for_manifest: boolean;
}

const expected = readFixture<{ manifest: string; key: string; rows: BundleRow[] }>(
  "bundles/expected.json",
);

async function manifestBytes(): Promise<Uint8Array> {
  using store = await openArchive(`${FIXTURES}/layouts/cosign-good.oci.tar`);
  const entry = parseIndex(store.index).manifests
    .find(({ digest }) => digest.toString() === expected.manifest)!;
  return readDocument(store, entry, "manifest");
}

async function judge(
  bytes: Uint8Array,
  options: { key?: string; identity?: unknown; bundleIdentity?: "repository"; extra?: object } = {},
): Promise<{ accepted: boolean; reason: string | undefined; signature: SignatureVerdict }> {
  const requirement = {
    type: "sigstoreSigned",
    keyPath: options.key ?? `${FIXTURES}/bundles/${expected.key}`,
    signedIdentity: options.identity ?? { type: "matchRepository" },
    ...options.extra,
  };
  const text = JSON.stringify({ default: [requirement] });
  const signatures: FoundSignatures = {
    signatures: [{ kind: "bundle", place: "here", bytes }],
    faults: [],
    notes: [],
  };
  const image = dockerImage(DockerName.parse("registry.example.com/team/app:v1"));
  const verdict = await evaluatePolicy(
    parsePolicy(new TextEncoder().encode(text), "p.json"),
    { image, manifest: { bytes: await manifestBytes(), signatures } },
    { bundleIdentity: options.bundleIdentity },
  );
  const [checked] = verdict.requirements;
  const [signature] = checked!.signatures;
  return { accepted: verdict.accepted, reason: verdict.reason, signature: signature! };
}

const read = (file: string) => Deno.readFileSync(`${FIXTURES}/bundles/${file}`);

Deno.test("bundles of the table are what the table says", async (t) => {
  assert.equal(expected.rows.length, 6);
  for (const row of expected.rows) {
    await t.step(row.file, async () => {
      const { accepted, reason, signature } = await judge(read(row.file), {
        bundleIdentity: "repository",
      });
      assert.equal(accepted, row.is_image_signature_for_manifest, reason ?? "");
      assert.equal(signature.verified, row.signature === "valid");
      assert.equal(
        /^invalid bundle: /.test(reason ?? ""),
        row.signature === "malformed",
        reason ?? "",
      );
    });
  }
});

Deno.test("bundles name no image, so that only their place can stand for that", async (t) => {
  const good = read("good.sigstore.json");
  const cases = [
    { name: "without the option", options: {} },
    {
      name: "with a rule that compares tags",
      options: {
        bundleIdentity: "repository" as const,
        identity: { type: "matchRepoDigestOrExact" },
      },
    },
  ];
  for (const { name, options } of cases) {
    await t.step(name, async () => {
      const { accepted, reason, signature } = await judge(good, options);
      assert.equal(accepted, false);
      assert.match(reason!, /^bundle signatures carry no image name; /);
      assert.equal(signature.verified, true);
    });
  }
});

Deno.test("bundles are refused without the key or the log entry that is asked for", async (t) => {
  const good = read("good.sigstore.json");
  const bundleIdentity = "repository";
  const cases: { name: string; options: Parameters<typeof judge>[1]; reason: RegExp }[] = [
    {
      name: "another key",
      options: { key: `${FIXTURES}/keys/ec-other.pub` },
      reason: /^cryptographic signature verification failed/,
    },
    {
      name: "no log entry",
      options: { extra: { rekorPublicKeyPath: `${FIXTURES}/keys/rekor.pub` } },
      reason: /^bundle carries 0 log entries where one is expected$/,
    },
  ];
  for (const { name, options, reason } of cases) {
    await t.step(name, async () => {
      const verdict = await judge(good, { ...options, bundleIdentity });
      assert.equal(verdict.accepted, false);
      assert.match(verdict.reason!, reason);
    });
  }
});

/** A bundle changed in one place. */
function changed(change: (bundle: Record<string, never>) => void): Uint8Array {
  const bundle = JSON.parse(new TextDecoder().decode(read("good.sigstore.json")));
  change(bundle);
  return new TextEncoder().encode(JSON.stringify(bundle));
}

Deno.test("bundles that another reader could take for something else are refused", async (t) => {
  // deno-lint-ignore no-explicit-any -- documents to be spoilt
  const cases: { name: string; change: (bundle: any) => void }[] = [
    { name: "another media type", change: (b) => b.mediaType = "application/json" },
    { name: "two signatures", change: (b) => b.dsseEnvelope.signatures.push({ sig: "AA==" }) },
    { name: "two kinds of content", change: (b) => b.messageSignature = {} },
    { name: "no content", change: (b) => delete b.dsseEnvelope },
    { name: "two kinds of keys", change: (b) => b.verificationMaterial.certificate = {} },
    {
      name: "a signature that is no base64",
      change: (b) => b.dsseEnvelope.signatures[0].sig = "!",
    },
  ];
  for (const { name, change } of cases) {
    await t.step(name, async () => {
      const { accepted, reason } = await judge(changed(change), { bundleIdentity: "repository" });
      assert.equal(accepted, false);
      assert.match(reason!, /^invalid bundle: /);
    });
  }
});

Deno.test("a bundle's chain has a bounded length", () => {
  const chainOf = (length: number) =>
    new TextEncoder().encode(JSON.stringify({
      mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
      verificationMaterial: {
        x509CertificateChain: {
          certificates: Array.from({ length }, () => ({ rawBytes: "MAA=" })),
        },
      },
      dsseEnvelope: {
        payload: "e30=",
        payloadType: "application/vnd.in-toto+json",
        signatures: [{ sig: "MAA=" }],
      },
    }));
  assert.equal(parseBundle(chainOf(16)).chain.length, 15);
  assert.throws(() => parseBundle(chainOf(17)), {
    code: "CFS_FORMAT",
    message: /^invalid bundle: more than 16 certificates/,
  });
});
