import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Digest, HashName, ProgressEvent } from "../../lib/base/mod.ts";
import {
  checkImages,
  copyImage,
  layerEntries,
  listReferrers,
  openImageRef,
} from "../../lib/oci/mod.ts";
import { recordReferrer } from "../../lib/oci/image.ts";
import { registerImage } from "../../lib/oci/register.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { CONTENT_TYPE, type SplitstreamWriter } from "../../lib/splitstream/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { file, header, tar } from "../helpers/make_tar.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import {
  AMD64,
  chain,
  fixtureLayout,
  LayoutMaker,
  listing,
  makeImage,
  newRepository,
  packed,
  pull,
  TYPE,
} from "./_oci.ts";

loadNative();

function layers(): Uint8Array[] {
  const big = new Uint8Array(3_000_000).map((_, i) => i * i % 251);
  return [
    tar(header({ name: "usr/", type: "5", mode: 0o755 }), file("usr/big", big)),
    tar(file("usr/small", "hello"), file("usr/middle", "x".repeat(1000))),
  ];
}

async function stored(dir: TempDir, hash: HashName = "sha256"): Promise<Repository> {
  const repository = newRepository(dir.join("from"), { hash });
  await pull(repository, makeImage(dir.join("layout"), { layers: layers() }));
  return repository;
}

/** What a repository consists of, without how long it is ago. */
function whole(repository: Repository): string[] {
  return listing(repository.path);
}

Deno.test("copyImage() gives what a pull of the same image gives", async (t) => {
  for (const source of ["sha256", "sha512"] as const) {
    for (const hash of ["sha256", "sha512"] as const) {
      for (const zerocopy of source === hash ? [false, true] : [false]) {
        await t.step(`${source} to ${hash}${zerocopy ? ", zerocopy" : ""}`, async () => {
          using dir = new TempDir();
          using from = await stored(dir, source);
          using to = newRepository(dir.join("to"), { hash });
          const result = await copyImage(to, "t", { from, name: "t", zerocopy, jobs: 2 });
          using pulled = newRepository(dir.join("pulled"), { hash });
          await pull(pulled, `oci:${dir.join("layout")}`);
          assert.deepEqual(whole(to), whole(pulled));
          const image = openImageRef(to, "t");
          assert.equal(result.manifestStream, image.manifestStream.stream);
          assert.equal(result.configStream, image.configStream.stream);
          const report = await checkImages(to, { deep: true });
          assert.deepEqual([report.errors, report.repo.errors], [[], []]);
          const before = whole(to);
          const again = await copyImage(to, "t", { from, name: "t", zerocopy });
          assert.equal(again.stats.layersPresent, 2);
          assert.deepEqual(whole(to), before);
        });
      }
    }
  }
});

Deno.test("copyImage() shares files where it is asked to and blocks cannot be", async () => {
  using dir = new TempDir(); // a file system without reflinks
  using from = await stored(dir);
  using to = newRepository(dir.join("to"));
  await copyImage(to, "t", { from, zerocopy: true });
  const [id] = from.openStream(`oci-layer-${openImageRef(from, "t").layerIds[0]}`).objectRefs;
  const path = (repository: Repository) =>
    `${repository.path}/objects/${id!.slice(0, 2)}/${id!.slice(2)}`;
  assert.equal(Deno.statSync(path(to)).ino, Deno.statSync(path(from)).ino);
});

Deno.test("copyImage() makes no tag unless told", async () => {
  using dir = new TempDir();
  using from = await stored(dir);
  using to = newRepository(dir.join("to"));
  await copyImage(to, "t", { from });
  assert.deepEqual(to.listRefs("streams"), []);
  assert.ok((await to.fsck()).ok);
});

Deno.test("copyImage() takes no damaged layer along", async (t) => {
  for (const zerocopy of [false, true]) {
    for (const hash of zerocopy ? ["sha256"] as const : ["sha256", "sha512"] as const) {
      await t.step(`${hash}${zerocopy ? ", zerocopy" : ""}`, async () => {
        using dir = new TempDir();
        using from = await stored(dir);
        using to = newRepository(dir.join("to"), { hash });
        const { layerIds } = openImageRef(from, "t");
        const [id] = from.openStream(`oci-layer-${layerIds[0]}`).objectRefs;
        const path = `${from.path}/objects/${id!.slice(0, 2)}/${id!.slice(2)}`;
        Deno.writeFileSync(path, Deno.readFileSync(path).map((byte) => byte ^ 1));
        await assert.rejects(
          copyImage(to, "t", { from, name: "t", zerocopy }),
          (error) => /Digest mismatch|does not match|expected/i.test(chain(error)),
        );
        assert.deepEqual(to.listStreams(), []);
        assert.ok((await to.fsck()).ok);
      });
    }
  }
});

/** Puts a layer in the place of an image's only one: the same bytes, cut in other places. */
function cutAnew(
  repository: Repository,
  cut: (tar: Uint8Array, stream: SplitstreamWriter) => void,
): void {
  const { manifest, manifestDigest, manifestStream, configStream, layerIds } = openImageRef(
    repository,
    "t",
  );
  const [id] = layerIds as [Digest];
  const tar = Buffer.concat([
    ...repository.streamContent(repository.openStream(`oci-layer-${id}`)).map((p) => p.slice()),
  ]);
  using stream = repository.newStream(CONTENT_TYPE.ociLayer);
  cut(tar, stream);
  const object = repository.objects.write(stream.finish()).id;
  const mediaType = manifest.mediaType!;
  const descriptor = { mediaType, digest: manifestDigest, size: manifestStream.bytes.length };
  registerImage(repository, {
    selected: { descriptor, bytes: Uint8Array.from(manifestStream.bytes), manifest },
    configBytes: configStream.bytes,
    layers: [{ id, object }],
    images: new Map(),
  }, { tag: "t" });
}

Deno.test("copyImage() shares no layer that is cut so that another tree comes out", async (t) => {
  const [a, b, c] = ["a".repeat(1000), "b".repeat(1000), "c".repeat(1000)];
  const tar = Buffer.concat([
    header({ name: "usr/", type: "5", mode: 0o755 }),
    ...[["usr/a", a], ["usr/b", b], ["usr/c", c]].map(([name, text]) => file(name!, text!)),
    Buffer.alloc(1024),
  ]);
  /** Where the content of each file starts. */
  const [atA, atB, atC] = [1024, 1024 + 1536, 1024 + 2 * 1536];
  const cases: Record<string, readonly (readonly [from: number, to: number])[]> = {
    "an object that holds another file too": [[atA, atB + 1000], [atC, atC + 1000]],
    "an object that is longer than its file": [[atA, atA + 1024], [atB, atB + 1000]],
    "an object that is shorter than its file": [[atA, atA + 999]],
    "a file without an object": [[atA, atA + 1000], [atB, atB + 1000]],
    "an object that is no file": [[0, 512], [atA, atA + 1000]],
    "an object behind the end": [
      ...[atA, atB, atC].map((at) => [at, at + 1000] as const),
      [tar.length - 512, tar.length],
    ],
  };
  for (const [name, objects] of Object.entries(cases)) {
    await t.step(name, async () => {
      using dir = new TempDir();
      using from = newRepository(dir.join("from"));
      await pull(from, makeImage(dir.join("layout"), { layers: [tar] }));
      cutAnew(from, (bytes, stream) => {
        let at = 0;
        for (const [start, end] of objects) {
          stream.addInline(bytes.subarray(at, start));
          const { id, size } = from.objects.write(bytes.slice(start, end));
          stream.addExternal(id, size);
          at = end;
        }
        stream.addInline(bytes.subarray(at));
      });
      using to = newRepository(dir.join("to"));
      await assert.rejects(
        copyImage(to, "t", { from, name: "t", zerocopy: true }),
        (error) => /split in the wrong place/.test(chain(error)),
      );
      assert.deepEqual(to.listStreams(), []);
      // Copied byte by byte, it is cut as it has to be.
      await copyImage(to, "t", { from, name: "t" });
      const paths = [...layerEntries(to, openImageRef(to, "t").layerIds[0]!)].map((e) => e.path);
      assert.deepEqual(paths, ["/usr", "/usr/a", "/usr/b", "/usr/c"]);
    });
  }
});

Deno.test("copyImage() refuses to share between algorithms", async () => {
  using dir = new TempDir();
  using from = await stored(dir);
  using to = newRepository(dir.join("to"), { hash: "sha512" });
  await assert.rejects(copyImage(to, "t", { from, zerocopy: true }), {
    message: "--zerocopy requires matching hash algorithms; source uses Sha256 but destination " +
      "uses Sha512",
  });
});

Deno.test("copyImage() fails where nothing can be shared", async () => {
  using memory = new TempDir();
  using disk = new TempDir({ on: "disk" });
  if (Deno.statSync(memory.path).dev === Deno.statSync(disk.path).dev) return;
  using from = await stored(memory);
  using to = newRepository(disk.join("to"));
  await assert.rejects(
    copyImage(to, "t", { from, zerocopy: true }),
    (error) => /can neither be cloned nor linked/.test(chain(error)),
  );
  assert.ok((await to.fsck()).ok);
});

Deno.test("copyImage() copies artifacts", async (t) => {
  for (const name of ["art", "art1", "artsub"]) {
    for (const zerocopy of [false, true]) {
      await t.step(`${name}${zerocopy ? ", zerocopy" : ""}`, async () => {
        using dir = new TempDir();
        const layout = await fixtureLayout("sources", name, dir);
        using from = newRepository(dir.join("from"));
        await pull(from, `oci:${layout}`);
        using to = newRepository(dir.join("to"));
        await copyImage(to, "t", { from, name: "t", zerocopy });
        assert.deepEqual(whole(to), whole(from));
      });
    }
  }
});

Deno.test("copyImage() says which layers nothing but the other repository vouches for", async (t) => {
  for (const packing of ["plain", "gzip"] as const) {
    for (const zerocopy of [false, true]) {
      await t.step(`${packing}${zerocopy ? ", zerocopy" : ""}`, async () => {
        using dir = new TempDir();
        const maker = new LayoutMaker(dir.join("layout"));
        const suffix = packing === "gzip" ? "+gzip" : "";
        const layer = maker.blob(packed(layers()[0]!, packing), TYPE.layer + suffix);
        const manifest = maker.json({
          schemaVersion: 2,
          mediaType: TYPE.manifest,
          artifactType: "application/vnd.example",
          config: maker.blob("{}", TYPE.empty),
          layers: [layer],
        }, TYPE.manifest);
        using from = newRepository(dir.join("from"));
        await pull(from, maker.index([manifest]));
        using to = newRepository(dir.join("to"));
        const warnings: string[] = [];
        const progress = (event: ProgressEvent) => {
          if (event.type === "warning") warnings.push(event.text);
        };
        await copyImage(to, "t", { from, name: "t", zerocopy, progress });
        assert.deepEqual(whole(to), whole(from));
        const expected = `layer ${layer.digest} was stored unpacked, so that it is as ` +
          "trustworthy as the other repository";
        assert.deepEqual(warnings, packing === "gzip" ? [expected] : []);
      });
    }
  }
});

Deno.test("copyImage() takes along what refers to the image, unless told not to", async (t) => {
  using dir = new TempDir();
  const maker = new LayoutMaker(dir.join("layout"));
  const image = maker.image({ layers: layers(), platform: AMD64 });
  const subject = { mediaType: image.mediaType, digest: image.digest, size: image.size };
  const empty = maker.blob("{}", TYPE.empty);
  const artifact = (text: string) =>
    maker.json({
      schemaVersion: 2,
      mediaType: TYPE.manifest,
      artifactType: "application/x-test",
      config: empty,
      layers: [maker.blob(text, "text/plain")],
      subject,
    }, TYPE.manifest);
  const [first, second] = [artifact("one"), artifact("two")];
  maker.index([image, first, second]);
  using from = newRepository(dir.join("from"));
  await pull(from, `oci:${maker.path}:@0`, { name: "image" });
  await pull(from, `oci:${maker.path}:@1`, { name: "first" });
  await pull(from, `oci:${maker.path}:@2`, { name: "second" });
  const digests = [first.digest, second.digest].sort();
  await t.step("with them", async () => {
    using to = newRepository(dir.join("to"), { hash: "sha512" });
    const { manifestDigest, referrers } = await copyImage(to, "image", { from, name: "copy" });
    assert.deepEqual(referrers.map(String), digests);
    to.gc();
    assert.deepEqual(listReferrers(to, manifestDigest).map(String), digests);
    assert.deepEqual((await checkImages(to)).errors, []);
    assert.equal(openImageRef(to, `@${first.digest}`).manifest.artifactType, "application/x-test");
  });
  await t.step("without", async () => {
    using to = newRepository(dir.join("alone"));
    const { referrers } = await copyImage(to, "image", { from, name: "copy", referrers: false });
    assert.deepEqual(referrers, []);
    assert.throws(() => openImageRef(to, `@${first.digest}`), { name: "NotFoundError" });
  });
  await t.step("without a damaged one", async () => {
    const { layers } = openImageRef(from, `@${first.digest}`).manifest;
    const object = from.streamObject(`oci-layer-${layers[0]!.digest}`)!;
    Deno.removeSync(`${from.path}/objects/${object.slice(0, 2)}/${object.slice(2)}`);
    const warnings: string[] = [];
    using to = newRepository(dir.join("rest"));
    const { referrers } = await copyImage(to, "image", {
      from,
      name: "copy",
      progress: (event) => event.type === "warning" && warnings.push(event.text),
    });
    assert.deepEqual(referrers.map(String), [second.digest]);
    assert.match(warnings.join("\n"), new RegExp(`^referrer ${first.digest} is left out: .+$`));
  });
});

Deno.test("copyImage() leaves out what does not say that it refers to the image", async (t) => {
  using dir = new TempDir();
  const maker = new LayoutMaker(dir.join("layout"));
  const image = maker.image({ layers: layers(), platform: AMD64 });
  const entry = ({ mediaType, digest, size }: typeof image) => ({ mediaType, digest, size });
  const artifact = (text: string, subject: typeof image | undefined, type = "text/plain") =>
    maker.json({
      schemaVersion: 2,
      mediaType: TYPE.manifest,
      artifactType: "application/x-test",
      config: maker.blob("{}", TYPE.empty),
      layers: [maker.blob(text, type)],
      ...(subject === undefined ? {} : { subject: entry(subject) }),
    }, TYPE.manifest);
  const right = artifact("right", image);
  const signature = "application/vnd.dev.sigstore.bundle.v0.3+json";
  const wrong = { "another's": artifact("other", right), "nobody's": artifact("none", undefined) };
  // The signature of an index is kept with the image that was chosen from it.
  const kept = artifact("signature", right, signature);
  const all = [image, right, ...Object.values(wrong), kept];
  maker.index(all);
  using from = newRepository(dir.join("from"));
  for (const [i] of all.entries()) {
    await pull(from, `oci:${maker.path}:@${i}`, { name: `n${i}` });
  }
  const { manifestDigest } = openImageRef(from, "n0");
  for (const { digest } of all.slice(1)) {
    recordReferrer(from, openImageRef(from, `@${digest}`).manifestDigest, manifestDigest);
  }
  const warnings: string[] = [];
  using to = newRepository(dir.join("to"));
  const { referrers } = await copyImage(to, "n0", {
    from,
    progress: (event) => event.type === "warning" && warnings.push(event.text),
  });
  assert.deepEqual(referrers.map(String), [right.digest, kept.digest].sort());
  assert.equal(warnings.length, Object.keys(wrong).length);
  for (const [name, { digest }] of Object.entries(wrong)) {
    await t.step(name, () => {
      const said = name === "nobody's" ? "nothing" : right.digest;
      const reason = `It refers to ${said}, not to ${manifestDigest}`;
      assert.ok(warnings.includes(`referrer ${digest} is left out: ${reason}`), warnings.join());
      assert.throws(() => openImageRef(to, `@${digest}`), { name: "NotFoundError" });
    });
  }
});

testWith({
  name: "copyImage() gives the objects and names that the reference's copy gives",
  needs: [needTool("cfsctl")],
  async fn(t) {
    using dir = new TempDir();
    using from = await stored(dir);
    for (const hash of ["sha256", "sha512"] as const) {
      await t.step(hash, async () => {
        const path = dir.join(`peer-${hash}`);
        const peer = (...args: string[]) => runOk([tool("cfsctl"), "--repo", path, ...args]);
        await peer("init", "--insecure", "--algorithm", `fsverity-${hash}-12`);
        await peer("oci", "copy", "--from", from.path, "--name", "n", "t");
        await peer("gc");
        using to = newRepository(dir.join(`ours-${hash}`), { hash });
        const { manifestDigest } = await copyImage(to, "t", { from, name: "n" });
        // The reference writes the manifest's references in an order that changes from run to run.
        const manifest = `oci-manifest-${manifestDigest}`;
        const id = to.streamObject(manifest)!;
        const files = (path: string, object: string) =>
          listing(path).filter((line) =>
            !line.includes(manifest) && !line.includes(object.slice(2)) && !line.endsWith("/") &&
            !line.startsWith("/meta.json")
          );
        const theirs = Deno.readLinkSync(`${path}/streams/${manifest}`)
          .replace("../objects/", "").replace("/", "");
        assert.deepEqual(files(to.path, id), files(path, theirs));
        await peer("fsck");
      });
    }
  },
});
