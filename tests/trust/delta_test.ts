import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { listReferrers, openImageRef, policyAdmission, reportStored } from "../../lib/oci/mod.ts";
import { operations, tarDiff, writeDelta, writeSignature } from "../oci/_delta_layout.ts";
import { chain, LayoutMaker, names, newRepository, pull } from "../oci/_oci.ts";
import { content, header } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";

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
