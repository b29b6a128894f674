import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import {
  createDelta,
  listReferrers,
  openImageRef,
  policyAdmission,
  readDeltaInfo,
  reportStored,
} from "../../lib/oci/mod.ts";
import { PublicKey } from "../../lib/signature/mod.ts";
import { operations, tarDiff, writeDelta, writeSignature } from "../oci/_delta_layout.ts";
import { AMD64, chain, LayoutMaker, names, newRepository, pull } from "../oci/_oci.ts";
import { content, header } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import { FIXTURES } from "./_fixtures.ts";

loadNative();

const END = new Uint8Array(1024);

function layer(name: string, text: string): Buffer {
  return Buffer.concat([header({ name, size: text.length }), content(text), END]);
}

const OLD = layer("old", "o".repeat(2000));
const NEW = layer("new", "n".repeat(3000));

Deno.test("the policy judges the target of a delta, by the signatures in it", async (t) => {
  using dir = new TempDir();
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const other = generateKeyPairSync("ec", { namedCurve: "prime256v1" }).privateKey;
  dir.write(
    "key.pub",
    new TextEncoder().encode(
      publicKey.export({ type: "spki", format: "pem" }) as string,
    ),
  );
  const demand = {
    type: "sigstoreSigned",
    keyPath: dir.join("key.pub"),
    signedIdentity: { type: "matchRepository" },
  };
  dir.write("policy.json", new TextEncoder().encode(JSON.stringify({ default: [demand] })));
  const maker = new LayoutMaker(dir.join("layout"));
  const [old, fresh] = [OLD, NEW].map((one) => maker.image({ layers: [one] }));
  const payload = JSON.stringify({
    critical: {
      identity: { "docker-reference": "registry.example.com/os" },
      image: { "docker-manifest-digest": fresh!.digest },
      type: "cosign container image signature",
    },
    optional: null,
  });
  const target = fresh!.digest;
  const good = writeSignature(maker, { target, key: privateKey, payload });
  const foreign = writeSignature(maker, { target, key: other, payload });
  const cases = [
    { name: "signed", more: [...foreign, ...good], reason: undefined },
    { name: "signed by somebody else", more: foreign, reason: /signature verification failed/ },
    { name: "not signed", more: [], reason: /A signature was required, but no signature exists/ },
  ];
  for (const { name, more, reason } of cases) {
    await t.step(name, async () => {
      using repository = newRepository(dir.join(name));
      await pull(repository, maker.index([old!]), { name: "old" });
      const before = names(repository);
      const layers = [tarDiff(operations(NEW))];
      const delta = writeDelta(maker, { old: old!, fresh: fresh!, layers, more });
      const reference = maker.index([delta]);
      const trust = { policy: dir.join("policy.json"), identity: "registry.example.com/os:41" };
      const pulled = pull(repository, reference, {
        admit: await policyAdmission(reference, trust),
      });
      if (reason !== undefined) {
        await assert.rejects(pulled, (error) => {
          assert.match(chain(error), reason);
          return true;
        });
        assert.deepEqual(names(repository), before);
        return;
      }
      const { manifestDigest } = await pulled;
      assert.equal(manifestDigest.toString(), target);
      // Kept with the image: those that count, and those that do not.
      assert.equal(listReferrers(repository, manifestDigest).length, 2);
      assert.equal(openImageRef(repository, "t").layerIds.length, 1);
      const report = await reportStored(repository, "t", trust);
      assert.equal(report.verdict, "trusted");
    });
  }
});

Deno.test("deltas are made with the signatures of their target", async (t) => {
  using dir = new TempDir();
  const old = `oci-archive:${FIXTURES}/layouts/cosign-none.oci.tar:v1`;
  const fresh = `oci-archive:${FIXTURES}/layouts/cosign-good.oci.tar:v1`;
  const identity = "registry.example.com/cosign/good:v1";
  const keyPath = `${FIXTURES}/keys/ec-p256.pub`;
  const demand = { type: "sigstoreSigned", keyPath, signedIdentity: { type: "matchRepository" } };
  dir.write("policy.json", JSON.stringify({ default: [demand] }));
  const trust = { policy: dir.join("policy.json"), identity };
  using signed = newRepository(dir.join("signed"));
  await pull(signed, fresh, { name: "fresh", admit: await policyAdmission(fresh, trust) });
  using repository = newRepository(dir.join("repo"));
  await pull(repository, old, { name: "old" });
  let reference = "";
  const make = (name: string, from: string, signatures?: boolean) =>
    createDelta({ old, fresh: from }, {
      destination: reference = `oci-archive:${dir.join(name)}`,
      openRepository: () => signed,
      platform: AMD64,
      ...(signatures === undefined ? {} : { signatures }),
    });
  const made = await make("layout", fresh);
  const delta = reference;
  assert.equal(made.signatures, 1);
  await t.step("the same ones wherever the image is", async () => {
    const { manifestDigest } = await make("stored", "fresh");
    assert.equal(`${manifestDigest}`, `${made.manifestDigest}`);
    assert.deepEqual(Deno.readFileSync(dir.join("stored")), Deno.readFileSync(dir.join("layout")));
  });
  await t.step("which the delta tells", async () => {
    assert.equal((await readDeltaInfo(delta, { platform: AMD64 })).signatures, 1);
  });
  await t.step("and which count for policies", async () => {
    const admit = await policyAdmission(delta, trust);
    const { manifestDigest } = await pull(repository, delta, { name: "policy", admit });
    assert.equal(`${manifestDigest}`, `${made.target}`);
    assert.equal((await reportStored(repository, "policy", trust)).verdict, "trusted");
  });
  await t.step("and for --verify-key", async () => {
    const verifyKey = PublicKey.fromPem(Deno.readTextFileSync(keyPath));
    await pull(repository, delta, { name: "key", verifyKey });
    const wrong = Deno.readTextFileSync(`${FIXTURES}/keys/ec-other.pub`);
    const fails = pull(repository, delta, { name: "wrong", verifyKey: PublicKey.fromPem(wrong) });
    await assert.rejects(fails, (error) => /verification failed/.test(chain(error)));
  });
  await t.step("unless they are not wanted", async () => {
    assert.equal((await make("bare", fresh, false)).signatures, 0);
    assert.equal((await readDeltaInfo(reference, { platform: AMD64 })).signatures, 0);
  });
});
