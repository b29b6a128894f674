import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import {
  copyImage,
  listReferrers,
  openImageRef,
  policyAdmission,
  reportRemote,
  reportStored,
  type TrustOptions,
} from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { CONTENT_TYPE } from "../../lib/splitstream/mod.ts";
import { chain, names, newRepository, pull } from "../oci/_oci.ts";
import { loadNative } from "../helpers/native.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { FIXTURES } from "./_fixtures.ts";

loadNative();

const KEY = {
  type: "sigstoreSigned",
  keyPath: `${FIXTURES}/keys/ec-p256.pub`,
  signedIdentity: { type: "matchRepository" },
};
const GPG = {
  type: "signedBy",
  keyType: "GPGKeys",
  keyPath: `${FIXTURES}/keys/gpg-a.gpg`,
  signedIdentity: { type: "exactRepository", dockerRepository: "registry.example.com/team/app" },
};
const GOOD = `oci-archive:${FIXTURES}/layouts/cosign-good.oci.tar:v1`;
const IDENTITY = "registry.example.com/cosign/good:v1";

/** Pulls by a policy with these demands. */
async function pullBy(
  repository: Repository,
  reference: string,
  options: TrustOptions & { demands: unknown[]; dir: TempDir },
): Promise<void> {
  const { demands, dir, ...rest } = options;
  dir.write("policy.json", new TextEncoder().encode(JSON.stringify({ default: demands })));
  const trust = { policy: dir.join("policy.json"), ...rest };
  await pull(repository, reference, { admit: await policyAdmission(reference, trust) });
}

Deno.test("an identity that is none is refused, also where the policy accepts everything", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const places = { home: undefined, root: dir.join("root"), isRoot: false };
  Deno.mkdirSync(dir.join("root/etc/containers"), { recursive: true });
  const policy = `{"default":[{"type":"insecureAcceptAnything"}]}`;
  Deno.writeTextFileSync(dir.join("root/etc/containers/policy.json"), policy);
  const by = async (identity: string) => ({
    admit: await policyAdmission(GOOD, { places, identity }),
  });
  await assert.rejects(pull(repository, GOOD, await by("BAD name")), (error) => {
    assert.match(chain(error), /Invalid image name "BAD name"/);
    return true;
  });
  assert.deepEqual(repository.listStreams(), []);
  await pull(repository, GOOD, await by(IDENTITY));
});

Deno.test("pulls are let in or refused by the policy, and what is refused leaves nothing", async (t) => {
  const dirImage = `dir:${FIXTURES}/dir/gpg`;
  const unsigned = `oci-archive:${FIXTURES}/layouts/cosign-none.oci.tar:v1`;
  const cases: {
    name: string;
    reference: string;
    demands: unknown[];
    trust?: TrustOptions;
    refused?: RegExp;
  }[] = [
    { name: "accept", reference: unsigned, demands: [{ type: "insecureAcceptAnything" }] },
    {
      name: "reject",
      reference: unsigned,
      demands: [{ type: "reject" }],
      refused: /^Source image rejected: Running image oci-archive:.* is rejected by policy\.$/,
    },
    { name: "signed", reference: GOOD, demands: [KEY], trust: { identity: IDENTITY } },
    {
      name: "signed for a name that is not given",
      reference: GOOD,
      demands: [KEY],
      refused:
        /Signature for identity ".*" is not accepted \(signed for .*, rule matchRepository\)/,
    },
    {
      name: "unsigned",
      reference: unsigned,
      demands: [KEY],
      trust: { identity: IDENTITY },
      refused: /^Source image rejected: A signature was required, but no signature exists$/,
    },
    { name: "a directory with its signature", reference: dirImage, demands: [GPG] },
    {
      name: "a directory that another key signed",
      reference: dirImage,
      demands: [{ ...GPG, keyPath: `${FIXTURES}/keys/gpg-expired.gpg` }],
      refused: /Invalid GPG signature: .*public key not found/,
    },
    {
      name: "a lookaside named by hand",
      reference: `oci-archive:${FIXTURES}/layouts/gpg.oci.tar:v1`,
      demands: [GPG],
      trust: { lookaside: `${FIXTURES}/dir/gpg` },
    },
    {
      name: "the index's signature",
      reference: `oci-archive:${FIXTURES}/layouts/cosign-index.oci.tar:v1`,
      demands: [KEY],
      trust: { identity: "registry.example.com/cosign/index:v1" },
    },
    {
      name: "the index's signature, which is not to count",
      reference: `oci-archive:${FIXTURES}/layouts/cosign-index.oci.tar:v1`,
      demands: [KEY],
      trust: { identity: "registry.example.com/cosign/index:v1", indexSignatures: false },
      refused: /no signature exists/,
    },
  ];
  for (const { name, reference, demands, trust, refused } of cases) {
    await t.step(name, async () => {
      using dir = new TempDir();
      using repository = newRepository(dir.join("repo"));
      const pulled = pullBy(repository, reference, { demands, dir, ...trust });
      if (refused === undefined) {
        await pulled;
        assert.ok(names(repository).some((line) => line.includes("/refs/oci/t")));
        return;
      }
      await assert.rejects(pulled, (error: Error) => {
        assert.match((error.cause as Error).message, refused);
        assert.equal((error as Error & { code: string }).code, "CFS_POLICY");
        return true;
      });
      assert.deepEqual(names(repository), []);
    });
  }
});

Deno.test("an invalid policy or one that is not there stops everything", async (t) => {
  using dir = new TempDir();
  dir.write("bad.json", new TextEncoder().encode('{"default": []}'));
  await t.step("invalid", async () => {
    const admission = policyAdmission(GOOD, { policy: dir.join("bad.json") });
    await assert.rejects(admission, { code: "CFS_FORMAT" });
  });
  await t.step("missing", async () => {
    const admission = policyAdmission(GOOD, { policy: dir.join("no.json") });
    await assert.rejects(admission, { code: "CFS_NOT_FOUND" });
  });
});

Deno.test("without any policy only images on this machine are let in", async () => {
  using dir = new TempDir();
  const places = { home: dir.join("home"), root: dir.join("root"), isRoot: false };
  using repository = newRepository(dir.join("repo"));
  await pull(repository, GOOD, { admit: await policyAdmission(GOOD, { places }) });
  const remote = { remote: true } as never;
  const admit = await policyAdmission("docker://busybox", { places });
  await assert.rejects(admit({} as never, remote), {
    message: `no policy.json file found at any of the following: ` +
      `"${dir.join("home")}/.config/containers/policy.json", ` +
      `"${dir.join("root")}/etc/containers/policy.json"`,
  });
  const insecure = await policyAdmission("docker://busybox", { places, insecurePolicy: true });
  await insecure({} as never, remote);
});

Deno.test("signatures are kept with the image, and checked again", async (t) => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const trust = { demands: [KEY], dir, identity: IDENTITY };
  await pullBy(repository, GOOD, trust);
  const { manifestDigest } = openImageRef(repository, "t");
  assert.equal(listReferrers(repository, manifestDigest).length, 1);
  const policy = dir.join("policy.json");
  await t.step("trusted", async () => {
    const report = await reportStored(repository, "t", { policy, identity: IDENTITY });
    assert.equal(report.verdict, "trusted");
    assert.equal(report.signatures[0]?.identity, "registry.example.com/cosign/good");
    const ids = report.links.map(({ id, status }) => `${id} ${status}`);
    assert.deepEqual(ids, [
      "manifest ok",
      "config ok",
      "layer ok",
      "erofs ok",
      "seal none",
      "cmdline none",
      "verity unchecked",
    ]);
    const again = await reportStored(repository, "t", { policy, identity: IDENTITY });
    assert.deepEqual(again, report);
  });
  await t.step("after collecting garbage", async () => {
    repository.gc();
    const report = await reportStored(repository, "t", { policy, identity: IDENTITY, deep: true });
    assert.equal(report.verdict, "trusted");
    assert.match(report.links.find(({ id }) => id === "layer")!.detail, /content hashed/);
  });
  await t.step("in a copy", async () => {
    using other = newRepository(dir.join("other"), { hash: "sha512" });
    const { referrers } = await copyImage(other, "t", { from: repository, name: "t" });
    assert.equal(referrers.length, 1);
    const report = await reportStored(other, "t", { policy, identity: IDENTITY });
    assert.equal(report.verdict, "trusted");
  });
  await t.step("refused for another name", async () => {
    const report = await reportStored(repository, "t", { policy, identity: "r.example/x:v1" });
    assert.equal(report.verdict, "refused");
    assert.match(report.policy!.reason!, /^Signature for identity/);
  });
  await t.step("the running system was started with it", async () => {
    const first = await reportStored(repository, "t", { policy, identity: IDENTITY });
    const { subject } = first.links.find(({ id }) => id === "erofs")!;
    for (const commandLine of [`quiet composefs=${subject}`, `composefs=?${subject} ro`]) {
      const report = await reportStored(repository, "t", {
        policy,
        identity: IDENTITY,
        commandLine,
      });
      const link = report.links.find(({ id }) => id === "cmdline")!;
      assert.equal(link.status, "ok");
      assert.equal(/not enforced/.test(link.detail), commandLine.includes("?"));
    }
  });
  await t.step("untrusted when an object is gone", async () => {
    const stream = repository.streamObject(
      `oci-layer-${openImageRef(repository, "t").layerIds[0]}`,
    )!;
    repository.objects.remove(stream);
    const report = await reportStored(repository, "t", { policy, identity: IDENTITY });
    assert.equal(report.verdict, "untrusted");
    assert.equal(report.links.find(({ id }) => id === "layer")!.status, "FAIL");
  });
});

testWith({
  name: "what others put beside an image spoils neither the pull nor the image",
  needs: [needTool("tar")],
  async fn() {
    using dir = new TempDir();
    const layout = dir.join("layout");
    Deno.mkdirSync(layout);
    const archive = `${FIXTURES}/layouts/cosign-good.oci.tar`;
    await runOk([tool("tar"), "-xf", archive, "-C", layout]);
    const read = (digest: string) =>
      Deno.readFileSync(`${layout}/blobs/${digest.replace(":", "/")}`);
    const json = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes));
    const add = (bytes: Uint8Array) => {
      const hex = createHash("sha256").update(bytes).digest("hex");
      Deno.writeFileSync(`${layout}/blobs/sha256/${hex}`, bytes);
      return { digest: `sha256:${hex}`, size: bytes.length };
    };
    const index = json(Deno.readFileSync(`${layout}/index.json`));
    const [image, signature] = index.manifests;
    const { config, layers: [layer] } = json(read(image.digest));
    const [diffId] = json(read(config.digest)).rootfs.diff_ids;
    // The image's own layer as a plain blob, by which its stream would get another form.
    const plain = add(gunzipSync(read(layer.digest)));
    assert.equal(plain.digest, diffId);
    const signed = json(read(signature.digest));
    const missing = { ...signed.config, digest: `sha256:${"0".repeat(64)}`, size: 9 };
    const others = [
      { ...signed, config: missing, subject: image },
      { ...signed, layers: [signed.layers[0], { mediaType: "x/y", ...plain }], subject: image },
    ];
    for (const manifest of others) {
      const entry = add(new TextEncoder().encode(JSON.stringify(manifest)));
      index.manifests.push({ mediaType: image.mediaType, ...entry });
    }
    Deno.writeTextFileSync(`${layout}/index.json`, JSON.stringify(index));

    using repository = newRepository(dir.join("repo"));
    const warnings: string[] = [];
    dir.write("policy.json", new TextEncoder().encode(JSON.stringify({ default: [KEY] })));
    const reference = `oci:${layout}:v1`;
    await pull(repository, reference, {
      admit: await policyAdmission(reference, {
        policy: dir.join("policy.json"),
        identity: IDENTITY,
      }),
      progress: (event) => {
        if (event.type === "warning") warnings.push(event.text);
      },
    });
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /^signature sha256:.* is not kept: Blob sha256:0+ is not in /);
    const stored = openImageRef(repository, "t");
    assert.equal(listReferrers(repository, stored.manifestDigest).length, 2);
    const { contentType } = repository.openStream(`oci-layer-${diffId}`);
    assert.equal(contentType, CONTENT_TYPE.ociLayer);
    const again = await pull(repository, reference);
    assert.equal(again.stats.layersPresent, 1);
  },
});

Deno.test("reportRemote() judges an image without pulling it", async () => {
  using dir = new TempDir();
  dir.write("policy.json", new TextEncoder().encode(JSON.stringify({ default: [KEY] })));
  const options = { policy: dir.join("policy.json"), identity: IDENTITY };
  const report = await reportRemote(GOOD, options);
  assert.equal(report.verdict, "trusted");
  assert.deepEqual(report.links.map(({ status }) => status), ["ok", "unchecked", "unchecked"]);
  const other = await reportRemote(GOOD, { ...options, identity: "r.example/x" });
  assert.equal(other.verdict, "refused");
});
