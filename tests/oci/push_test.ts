import assert from "node:assert/strict";
import type { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { DigestMismatchError } from "../../lib/base/mod.ts";
import { openImageRef, pushImage, type PushOptions } from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { file, header, tar } from "../helpers/make_tar.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { chain, fixtureLayout, LayoutMaker, makeImage, newRepository, pull, TYPE } from "./_oci.ts";

loadNative();

function directory(name: string): Buffer {
  return header({ name, type: "5", mode: 0o755 });
}

/** Two layers that differ, with small and large files. */
function layers(): Uint8Array[] {
  const big = new Uint8Array(300_000).map((_, i) => i * i % 251);
  return [
    tar(directory("usr/"), file("usr/big", big)),
    tar(file("usr/small", "hello")),
  ];
}

async function stored(dir: TempDir, packing: "plain" | "gzip" | "zstd" = "gzip") {
  const repository = newRepository(dir.join(`repo-${packing}`));
  await pull(repository, makeImage(dir.join(`layout-${packing}`), { layers: layers(), packing }));
  return repository;
}

/** Pulls what was pushed into a fresh repository and compares what images are made of. */
async function assertSame(repository: Repository, reference: string, dir: TempDir): Promise<void> {
  const path = Deno.makeTempDirSync({ dir: dir.path });
  using other = newRepository(path);
  await pull(other, reference);
  const [before, after] = [openImageRef(repository, "t"), openImageRef(other, "t")];
  assert.deepEqual(after.configStream.bytes, before.configStream.bytes);
  assert.deepEqual([...after.configStream.refs], [...before.configStream.refs]);
  assert.ok((await other.fsck()).ok);
}

const DESTINATIONS = ["oci", "oci-archive"] as const;

Deno.test("pushImage() gives an image that pulls as the same one", async (t) => {
  for (const packing of ["plain", "gzip", "zstd"] as const) {
    for (const transport of DESTINATIONS) {
      for (const compress of [undefined, "none", "gzip", "zstd"] as const) {
        await t.step(`${packing} to ${transport} as ${compress ?? "it came"}`, async () => {
          using dir = new TempDir();
          using repository = await stored(dir, packing);
          const destination = `${transport}:${dir.join("out")}:v1`;
          const options = compress === undefined ? {} : { compress };
          const result = await pushImage(repository, "t", { destination, jobs: 2, ...options });
          assert.equal(result.stats.blobsWritten, 2);
          await assertSame(repository, destination, dir);
          if (packing === "plain" && (compress ?? "none") === "none") {
            // What was not compressed is the same blob again, so nothing changes.
            assert.ok(result.manifestDigest.equals(result.sourceDigest));
          }
          const again = await pushImage(repository, "t", { destination, jobs: 2, ...options });
          assert.ok(again.manifestDigest.equals(result.manifestDigest));
          if (transport === "oci") {
            assert.deepEqual(again.stats, { blobsWritten: 0, bytesWritten: 0, blobsPresent: 2 });
          }
        });
      }
    }
  }
});

Deno.test("pushImage() keeps the manifest where the destination has its blobs", async () => {
  using dir = new TempDir();
  using repository = await stored(dir);
  const destination = `oci:${dir.join("layout-gzip")}:again`;
  const result = await pushImage(repository, "t", { destination });
  assert.ok(result.manifestDigest.equals(result.sourceDigest));
  assert.deepEqual(result.stats, { blobsWritten: 0, bytesWritten: 0, blobsPresent: 2 });
  const index = JSON.parse(Deno.readTextFileSync(dir.join("layout-gzip", "index.json")));
  assert.equal(index.manifests.length, 1);
  assert.equal(index.manifests[0].annotations["org.opencontainers.image.ref.name"], "again");
});

Deno.test("pushImage() replaces a damaged blob of a layout", async () => {
  using dir = new TempDir();
  using repository = await stored(dir, "plain");
  const layout = dir.join("layout-plain");
  const [layer] = openImageRef(repository, "t").manifest.layers;
  const path = `${layout}/blobs/sha256/${layer!.digest.encoded}`;
  const whole = Deno.readFileSync(path);
  Deno.writeFileSync(path, whole.map((byte, i) => i === 1000 ? byte ^ 1 : byte));
  const result = await pushImage(repository, "t", { destination: `oci:${layout}` });
  assert.equal(result.stats.blobsWritten, 1);
  assert.deepEqual(Deno.readFileSync(path), whole);
});

Deno.test("pushImage() keeps the other images of a layout, and their fields", async () => {
  using dir = new TempDir();
  using repository = await stored(dir);
  const maker = new LayoutMaker(dir.join("out"));
  const other = maker.image({ layers: [tar(directory("usr/"))] });
  maker.index([
    { ...other, annotations: { "org.opencontainers.image.ref.name": "other", more: "1" } },
    { ...other, annotations: { "org.opencontainers.image.ref.name": "v1" } },
  ]);
  await pushImage(repository, "t", { destination: `oci:${dir.join("out")}:v1` });
  const { manifests } = JSON.parse(Deno.readTextFileSync(dir.join("out", "index.json")));
  assert.deepEqual(
    manifests.map((entry: { annotations: unknown }) => entry.annotations),
    [
      { "org.opencontainers.image.ref.name": "other", more: "1" },
      { "org.opencontainers.image.ref.name": "v1" },
    ],
  );
  assert.notEqual(manifests[1].digest, other.digest);
});

Deno.test("pushImage() writes the same archive each time", async () => {
  using dir = new TempDir();
  using repository = await stored(dir);
  const archives: Uint8Array[] = [];
  for (const compress of ["none", "none", "gzip", "gzip", "zstd", "zstd"] as const) {
    const destination = `oci-archive:${dir.join("out.tar")}:v1`;
    await pushImage(repository, "t", { destination, compress, jobs: 2 });
    archives.push(Deno.readFileSync(dir.join("out.tar")));
  }
  for (const i of [0, 2, 4]) assert.deepEqual(archives[i], archives[i + 1]);
});

Deno.test("pushImage() takes no damaged layer along", async (t) => {
  for (const transport of ["oci", "oci-archive", "dir"] as const) {
    await t.step(transport, async () => {
      using dir = new TempDir();
      using repository = await stored(dir);
      const image = openImageRef(repository, "t");
      const stream = repository.openStreamObject(
        repository.streamObject(`oci-layer-${image.layerIds[0]}`)!,
      );
      const [object] = stream.objectRefs;
      const path = `${repository.path}/objects/${object!.slice(0, 2)}/${object!.slice(2)}`;
      Deno.writeFileSync(path, Deno.readFileSync(path).map((byte) => byte ^ 1));
      const out = dir.join("out");
      await assert.rejects(
        pushImage(repository, "t", { destination: `${transport}:${out}` }),
        (error) => {
          assert.match(chain(error), /layer content does not match declared diff_id/);
          for (let at = error; at instanceof Error; at = at.cause) {
            if (at instanceof DigestMismatchError) return true;
          }
          return false;
        },
      );
      const visible = transport === "oci" ? "index.json" : "manifest.json";
      const made = transport === "oci-archive" ? out : `${out}/${visible}`;
      assert.throws(() => Deno.lstatSync(made), Deno.errors.NotFound);
    });
  }
});

Deno.test("pushImage() pushes referrers with an image that keeps its digest", async () => {
  using dir = new TempDir();
  using repository = await stored(dir, "plain");
  const image = openImageRef(repository, "t");
  const maker = new LayoutMaker(dir.join("artifact"));
  const { mediaType } = image.manifest;
  const subject = {
    mediaType: mediaType!,
    digest: image.manifestDigest.toString(),
    size: image.manifestStream.bytes.length,
  };
  const config = maker.blob("{}", TYPE.empty);
  const layer = maker.blob("signature", "text/plain");
  const artifact = maker.json({
    schemaVersion: 2,
    mediaType: TYPE.manifest,
    artifactType: "text/plain",
    config,
    layers: [layer],
    subject,
  }, TYPE.manifest);
  await pull(repository, maker.index([artifact]), { name: "signature" });
  const options: PushOptions & { destination: string } = {
    destination: `oci:${dir.join("out")}:v1`,
    referrers: true,
  };
  const result = await pushImage(repository, "t", options);
  assert.deepEqual(result.referrers.map(String), [artifact.digest]);
  const { manifests } = JSON.parse(Deno.readTextFileSync(dir.join("out", "index.json")));
  assert.deepEqual(manifests[1], {
    mediaType: TYPE.manifest,
    digest: artifact.digest,
    size: artifact.size,
    artifactType: "text/plain",
  });
  const warnings: string[] = [];
  const other = await pushImage(repository, "t", {
    ...options,
    compress: "gzip",
    progress: (event) => event.type === "warning" && warnings.push(event.text),
  });
  assert.deepEqual(other.referrers, []);
  assert.match(warnings.join(), /is left out/);
});

Deno.test("pushImage() gives artifacts back as they came", async (t) => {
  for (const name of ["art", "art1", "artsub"]) {
    await t.step(name, async () => {
      using dir = new TempDir();
      const layout = await fixtureLayout("sources", name, dir);
      using repository = newRepository(dir.join("repo"));
      const { manifestDigest } = await pull(repository, `oci:${layout}`);
      const destination = `oci-archive:${dir.join("out.tar")}:v1`;
      const result = await pushImage(repository, "t", { destination });
      assert.ok(result.manifestDigest.equals(manifestDigest));
      using other = newRepository(dir.join("other"));
      await pull(other, destination);
      assert.deepEqual(
        openImageRef(other, "t").layerIds.map(String),
        openImageRef(repository, "t").layerIds.map(String),
      );
    });
  }
});

Deno.test("pushImage() says what cannot be pushed where", async (t) => {
  using dir = new TempDir();
  using repository = await stored(dir);
  const cases: [string, Omit<PushOptions, "destination">, RegExp][] = [
    ["oci:x@sha256:" + "0".repeat(64), {}, /only a tag can follow the path/],
    ["containers-storage:x", {}, /Transport containers-storage: images cannot be pushed there/],
    [`oci-archive:${dir.path}`, {}, /is not a regular file/],
    [`oci:${dir.join("x")}`, { compress: "none", level: 3 }, /Without compression/],
    [
      `oci:${dir.join("x")}`,
      { compress: "gzip", level: 10 },
      /gzip has levels from 1 to 9, not 10/,
    ],
    [`oci:${dir.join("x")}`, { compress: "zstd", format: "v2s2" }, /cannot have zstd layers/],
  ];
  for (const [destination, options, message] of cases) {
    await t.step(`${message}`, async () => {
      await assert.rejects(
        pushImage(repository, "t", { destination, ...options }),
        (error) => message.test(chain(error)),
      );
    });
  }
});

/** What descriptors of this process lead to at or below a path; other threads open and close some. */
function openBelow(path: string): string[] {
  const found: string[] = [];
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      const target = Deno.readLinkSync(`/proc/self/fd/${name}`);
      if (target === path || target.startsWith(`${path}/`)) found.push(target);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error; // closed meanwhile
    }
  }
  return found;
}

Deno.test("pushImage() leaves nothing open when the layout's index is no index", async () => {
  using dir = new TempDir();
  using repository = await stored(dir);
  Deno.mkdirSync(dir.join("out"));
  Deno.writeTextFileSync(dir.join("out/index.json"), "[]");
  for (let i = 0; i < 3; i++) {
    await assert.rejects(pushImage(repository, "t", { destination: `oci:${dir.join("out")}` }));
    assert.deepEqual(openBelow(dir.join("out")), []);
  }
  assert.ok(openBelow(repository.path).length > 0, "open descriptors are not seen");
});

Deno.test("pushImage() puts a config with a sha512 digest where it is looked for, or says it cannot", async () => {
  using dir = new TempDir();
  const maker = new LayoutMaker(dir.join("layout"));
  const layer = maker.blob(layers()[0]!, TYPE.layer);
  const config = new TextEncoder().encode(JSON.stringify({
    os: "linux",
    architecture: "amd64",
    rootfs: { type: "layers", diff_ids: [layer.digest] },
  }));
  const digest = createHash("sha512").update(config).digest("hex");
  Deno.mkdirSync(`${maker.path}/blobs/sha512`);
  Deno.writeFileSync(`${maker.path}/blobs/sha512/${digest}`, config);
  const manifest = maker.json({
    schemaVersion: 2,
    config: { mediaType: TYPE.config, digest: `sha512:${digest}`, size: config.length },
    layers: [layer],
  }, TYPE.manifest);
  using repository = newRepository(dir.join("repo"));
  await pull(repository, maker.index([manifest]));
  const destination = `oci:${dir.join("out")}`;
  const result = await pushImage(repository, "t", { destination });
  assert.equal(result.manifestDigest.toString(), manifest.digest);
  await assertSame(repository, destination, dir);
  await assert.rejects(
    pushImage(repository, "t", { destination: `oci-archive:${dir.join("out.tar")}` }),
    (error) => /A tar header has no room for the name "blobs\/sha512\//.test(chain(error)),
  );
});

testWith({
  name: "what pushImage() writes is taken by skopeo and umoci",
  needs: [needTool("skopeo"), needTool("umoci")],
  async fn(t) {
    for (const compress of ["none", "gzip", "zstd"] as const) {
      for (const transport of ["oci", "oci-archive", "dir"] as const) {
        await t.step(`${transport}, ${compress}`, async () => {
          using dir = new TempDir();
          using repository = await stored(dir);
          const destination = `${transport}:${dir.join("out")}` +
            (transport === "dir" ? "" : ":v1");
          const result = await pushImage(repository, "t", { destination, compress });
          const { stdout } = await runOk(["skopeo", "inspect", "--raw", destination]);
          assert.equal(JSON.parse(stdout).layers.length, 2);
          // skopeo compares each blob with its digest while it copies.
          const copy = `oci:${dir.join("copy")}:v1`;
          await runOk(["skopeo", "copy", "--insecure-policy", destination, copy]);
          const { stdout: digest } = await runOk([
            "skopeo",
            "inspect",
            "--format",
            "{{.Digest}}",
            destination,
          ]);
          assert.equal(digest.trim(), result.manifestDigest.toString());
          await assertSame(repository, copy, dir);
          if (compress === "zstd") return; // unknown to this umoci
          const bundle = dir.join("bundle");
          await runOk(["umoci", "unpack", "--rootless", "--image", copy.slice(4), bundle]);
          assert.equal(Deno.readTextFileSync(`${bundle}/rootfs/usr/small`), "hello");
        });
      }
    }
  },
});

testWith({
  name: "pushImage() writes Docker's schema 2 where it is asked for",
  needs: [needTool("skopeo")],
  async fn() {
    using dir = new TempDir();
    using repository = await stored(dir, "zstd");
    const destination = `dir:${dir.join("out")}`;
    await pushImage(repository, "t", { destination, format: "v2s2" });
    const manifest = JSON.parse(Deno.readTextFileSync(dir.join("out", "manifest.json")));
    const DOCKER = "application/vnd.docker";
    assert.equal(manifest.mediaType, `${DOCKER}.distribution.manifest.v2+json`);
    assert.equal(manifest.config.mediaType, `${DOCKER}.container.image.v1+json`);
    assert.equal(manifest.layers[0].mediaType, `${DOCKER}.image.rootfs.diff.tar.gzip`);
    await runOk([
      "skopeo",
      "copy",
      "--insecure-policy",
      destination,
      `docker-archive:${dir.join("out.tar")}:a/b:c`,
    ]);
  },
});
