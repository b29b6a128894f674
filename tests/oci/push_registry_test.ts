import assert from "node:assert/strict";
import { checkImages, openImageRef, pullImage, pushImage, repairImage } from "../../lib/oci/mod.ts";
import { openSource, type RegistryAccess } from "../../lib/transport/mod.ts";
import { parseCredentials } from "../../lib/registry/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { FaultProxy } from "../helpers/fault_proxy.ts";
import { FaultServer } from "../helpers/fault_server.ts";
import { file, header, tar } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { PASSWORD, TestRegistry, USER } from "../helpers/registry.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { AMD64, chain, LayoutMaker, makeImage, newRepository, pull, TYPE } from "./_oci.ts";

loadNative();

const needs = [needTool("docker-registry"), needTool("skopeo")];

/** Without the credentials and settings of whoever runs the tests. */
const ACCESS: RegistryAccess = {
  tlsVerify: false,
  surroundings: { variable: () => undefined, uid: 0, root: "/nothing" },
};

/** Content that does not get smaller, so that uploads have several chunks. */
function noise(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65536) {
    crypto.getRandomValues(bytes.subarray(at, Math.min(size, at + 65536)));
  }
  return bytes;
}

async function stored(
  dir: TempDir,
  size = 300_000,
  packing: "plain" | "zstd" = "zstd",
): Promise<Repository> {
  const layers = [
    tar(header({ name: "usr/", type: "5", mode: 0o755 }), file("usr/big", noise(size))),
    tar(file("usr/small", "hello")),
  ];
  const repository = newRepository(dir.join("repo"));
  await pull(repository, makeImage(dir.join("layout"), { layers, packing }));
  return repository;
}

/** Pulls what was pushed and compares it; skopeo reads it, too, and checks every digest. */
async function assertSame(
  repository: Repository,
  image: { dir: TempDir; registry: TestRegistry; name: string; access?: RegistryAccess },
): Promise<void> {
  const { dir, registry, name, access = ACCESS } = image;
  using other = newRepository(Deno.makeTempDirSync({ dir: dir.path }));
  await pullImage(other, `docker://${registry.host}/${name}`, {
    name: "t",
    platform: AMD64,
    registry: access,
  });
  const [before, after] = [openImageRef(repository, "t"), openImageRef(other, "t")];
  assert.deepEqual(after.configStream.bytes, before.configStream.bytes);
  assert.deepEqual([...after.configStream.refs], [...before.configStream.refs]);
  await runOk([
    "skopeo",
    "copy",
    "--insecure-policy",
    ...registry.skopeoOptions("src"),
    `docker://${registry.host}/${name}`,
    `dir:${Deno.makeTempDirSync({ dir: dir.path })}`,
  ]);
}

testWith({
  name: "pushImage() pushes to a registry; what is there is not sent again",
  needs,
  async fn(t) {
    await using registry = await TestRegistry.start();
    using dir = new TempDir();
    using repository = await stored(dir);
    for (const compress of ["none", "gzip", "zstd"] as const) {
      await t.step(compress, async () => {
        const name = `team/${compress}:v1`;
        const destination = `docker://${registry.host}/${name}`;
        const options = { destination, compress, access: ACCESS };
        const first = await pushImage(repository, "t", options);
        assert.equal(first.stats.blobsWritten, 2);
        await assertSame(repository, { dir, registry, name });
        const again = await pushImage(repository, "t", options);
        assert.ok(again.manifestDigest.equals(first.manifestDigest));
        assert.deepEqual(again.stats, { blobsWritten: 0, bytesWritten: 0, blobsPresent: 2 });
      });
    }
  },
});

for (const auth of ["basic", "token"] as const) {
  testWith({
    name: `pushImage() pushes to a registry with ${auth} authentication${
      auth === "basic" ? " and TLS" : ""
    }`,
    needs: [...needs, needTool("htpasswd"), needTool("openssl")],
    async fn() {
      const tls = auth === "basic";
      await using registry = await TestRegistry.start({ auth, tls });
      using dir = new TempDir();
      using repository = await stored(dir);
      Deno.mkdirSync(dir.join("certs"));
      if (tls) Deno.copyFileSync(registry.caFile, dir.join("certs", "ca.crt"));
      const access: RegistryAccess = {
        ...ACCESS,
        tlsVerify: tls,
        certDir: dir.join("certs"),
        credentials: parseCredentials(`${USER}:${PASSWORD}`),
      };
      const destination = `docker://${registry.host}/a/b:v1`;
      await pushImage(repository, "t", { destination, access });
      await assertSame(repository, { dir, registry, name: "a/b:v1", access });
      await assert.rejects(
        pushImage(repository, "t", { destination, access: { ...access, credentials: "none" } }),
      );
    },
  });
}

testWith({
  name: "pushImage() mounts layers of the repository that an image came from",
  needs,
  async fn() {
    await using registry = await TestRegistry.start();
    using dir = new TempDir();
    const layout = makeImage(dir.join("layout"), {
      layers: [tar(header({ name: "usr/", type: "5" }), file("usr/a", noise(5000)))],
    });
    await registry.push(layout, "first/one:v1");
    using repository = newRepository(dir.join("repo"));
    const origin = `docker://${registry.host}/first/one:v1`;
    await pullImage(repository, origin, { platform: AMD64, registry: ACCESS });
    // The blob was made by another compressor: only because it is mounted the manifest can stay.
    const destination = `docker://${registry.host}/second/two:v2`;
    const result = await pushImage(repository, origin, { destination, access: ACCESS });
    assert.ok(result.manifestDigest.equals(result.sourceDigest));
    assert.deepEqual(result.stats, { blobsWritten: 0, bytesWritten: 0, blobsPresent: 1 });
    using other = newRepository(dir.join("other"));
    const { manifestDigest } = await pullImage(other, destination, {
      platform: AMD64,
      registry: ACCESS,
    });
    assert.ok(manifestDigest.equals(result.manifestDigest));
  },
});

testWith({
  name: "pushImage() goes on after cuts and refusals on the way",
  needs,
  async fn() {
    await using registry = await TestRegistry.start();
    using dir = new TempDir();
    using repository = await stored(dir, 12_000_000);
    let faults = 0;
    await using proxy = new FaultProxy(registry.host, (request) => {
      // Every kind of request fails the first time it is met.
      if (request.seen > 0 || faults > 20) return undefined;
      faults++;
      return request.method === "GET" || request.method === "HEAD"
        ? { status: 503, headers: { "retry-after": "0" } }
        : { drop: true };
    });
    const destination = `docker://${proxy.host}/faulty:v1`;
    const access = { ...ACCESS, http: { backoff: 1 } };
    await pushImage(repository, "t", { destination, access });
    assert.ok(faults > 3);
    await assertSame(repository, { dir, registry, name: "faulty:v1" });
  },
});

testWith({
  name: "pushImage() pushes referrers to a registry, where they are found",
  needs,
  async fn() {
    await using registry = await TestRegistry.start();
    using dir = new TempDir();
    using repository = await stored(dir, 1000, "plain");
    const image = openImageRef(repository, "t");
    const maker = new LayoutMaker(dir.join("artifact"));
    const artifact = maker.json({
      schemaVersion: 2,
      mediaType: TYPE.manifest,
      artifactType: "text/x-note",
      config: maker.blob("{}", TYPE.empty),
      layers: [maker.blob("a note", "text/plain")],
      subject: {
        mediaType: TYPE.manifest,
        digest: image.manifestDigest.toString(),
        size: image.manifestStream.bytes.length,
      },
    }, TYPE.manifest);
    await pull(repository, maker.index([artifact]), { name: "note" });
    const destination = `docker://${registry.host}/noted:v1`;
    const result = await pushImage(repository, "t", {
      destination,
      referrers: true,
      access: ACCESS,
    });
    assert.ok(result.manifestDigest.equals(image.manifestDigest));
    assert.deepEqual(result.referrers.map(String), [artifact.digest]);
    await using source = await openSource(destination, ACCESS);
    const found = await source.referrers!(image.manifestDigest);
    assert.deepEqual(found.map(({ digest }) => digest.toString()), [artifact.digest]);
  },
});

testWith({
  name: "repairImage() fetches the damaged layer from the registry that the tag names",
  needs,
  async fn() {
    await using registry = await TestRegistry.start();
    using dir = new TempDir();
    using from = await stored(dir);
    const reference = `docker://${registry.host}/whole:v1`;
    await pushImage(from, "t", { destination: reference, access: ACCESS });
    using repository = newRepository(dir.join("other"));
    await pullImage(repository, reference, { platform: AMD64, registry: ACCESS });
    const { layerIds } = openImageRef(repository, reference);
    const [id] = repository.openStream(`oci-layer-${layerIds[0]}`).objectRefs;
    const path = `${repository.path}/objects/${id!.slice(0, 2)}/${id!.slice(2)}`;
    Deno.writeFileSync(path, Deno.readFileSync(path).map((byte) => byte ^ 1));
    const options = { platform: AMD64, registry: ACCESS };
    const result = await repairImage(repository, reference, options);
    assert.deepEqual(result.layersImported, [String(layerIds[0])]);
    assert.match(result.faults.join(), /\(\/usr\/big\)/);
    const report = await checkImages(repository, { jobs: 1, deep: true });
    assert.deepEqual([report.errors, report.repo.errors], [[], []]);
  },
});

Deno.test("pushImage() waits for no layer that is of no use any more", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const layers = [tar(file("big", noise(9_000_000))), tar(file("small", noise(300_000)))];
  await pull(repository, makeImage(dir.join("layout"), { layers, packing: "plain" }));
  await using server = new FaultServer((request) => {
    const { method, path, body } = request;
    if (path === "/v2/") return { body: new Uint8Array(0) };
    if (method === "HEAD") return { status: 404 };
    if (method === "DELETE") return { status: 204 };
    const location = "/v2/x/blobs/uploads/1";
    if (method === "POST") return { status: 202, headers: { location } };
    // The large one is refused as soon as the other one hangs.
    return body.length > 1_000_000 ? { status: 400, delay: 500 } : { delay: 12_000, status: 202 };
  });
  const started = performance.now();
  await assert.rejects(
    pushImage(repository, "t", {
      destination: `docker://${server.host}/x:v1`,
      access: { ...ACCESS, http: { retries: 0, backoff: 1 } },
      jobs: 2,
    }),
    (error) => {
      const id = openImageRef(repository, "t").layerIds[0];
      assert.match(chain(error), new RegExp(`Pushing layer ${id}: .*status 400`));
      return true;
    },
  );
  const seconds = (performance.now() - started) / 1000;
  assert.ok(seconds < 10, `it took ${seconds} s`);
});
