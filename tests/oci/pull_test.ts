import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { gzipSync } from "node:zlib";
import { type ObjectId, objectPath, type ProgressEvent } from "../../lib/base/mod.ts";
import {
  checkImages,
  linkedImage,
  listReferrers,
  openImageRef,
  staleReferrers,
  untagImage,
} from "../../lib/oci/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { content, END, header, randomLayer } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { cfsOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import {
  chain,
  isFault,
  LayoutMaker,
  listing,
  makeImage,
  names,
  newRepository,
  pull,
  sha256,
  TYPE,
} from "./_oci.ts";

loadNative();

/** A layer with files of these contents below /usr. */
function filesLayer(files: Record<string, string | Uint8Array>): Buffer {
  const parts = [header({ name: "usr/", type: "5", mode: 0o755, mtime: 7 })];
  for (const [name, data] of Object.entries(files)) {
    parts.push(header({ name: `usr/${name}`, size: data.length, mode: 0o644 }), content(data));
  }
  return Buffer.concat([...parts, END]);
}

const LAYERS = [
  filesLayer({ a: "a".repeat(100), b: "b".repeat(5000), small: "x" }),
  filesLayer({ c: "c".repeat(200_000) }),
];

function objectFile(repository: Repository, id: ObjectId | string): string {
  return `${repository.path}/objects/${objectPath(id as ObjectId)}`;
}

/** Changes one byte in the middle of a file; its size stays. */
function damage(path: string): void {
  const bytes = Deno.readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  Deno.chmodSync(path, 0o644);
  Deno.writeFileSync(path, bytes);
}

/** Ways to spoil a pulled image that pulling it again has to make good. */
const DAMAGES: {
  name: string;
  spoil: (repository: Repository) => void;
  repair?: boolean;
}[] = [
  {
    name: "the object of a file is gone",
    spoil: (repository) => {
      const [first] = openImageRef(repository, "t").layerIds;
      const stream = repository.openStream(`oci-layer-${first}`);
      Deno.removeSync(objectFile(repository, stream.objectRefs.id(0)));
    },
  },
  {
    name: "the object of a file is cut and its layer gone",
    spoil: (repository) => {
      const [first] = openImageRef(repository, "t").layerIds;
      const stream = repository.openStream(`oci-layer-${first}`);
      Deno.truncateSync(objectFile(repository, stream.objectRefs.id(0)), 10);
      Deno.removeSync(`${repository.path}/streams/oci-layer-${first}`);
    },
  },
  {
    name: "the object of a file is another of the same size",
    repair: true,
    spoil: (repository) => {
      const [first] = openImageRef(repository, "t").layerIds;
      const stream = repository.openStream(`oci-layer-${first}`);
      damage(objectFile(repository, stream.objectRefs.id(0)));
      damage(objectFile(repository, stream.objectRefs.id(1)));
    },
  },
  {
    name: "a layer's stream is damaged",
    spoil: (repository) => {
      const [, second] = openImageRef(repository, "t").layerIds;
      damage(objectFile(repository, repository.streamObject(`oci-layer-${second}`)!));
    },
  },
  {
    name: "a layer's stream is gone",
    spoil: (repository) => {
      const [, second] = openImageRef(repository, "t").layerIds;
      Deno.removeSync(objectFile(repository, repository.streamObject(`oci-layer-${second}`)!));
    },
  },
  {
    name: "a layer's name is gone",
    spoil: (repository) => {
      const [, second] = openImageRef(repository, "t").layerIds;
      Deno.removeSync(`${repository.path}/streams/oci-layer-${second}`);
    },
  },
  {
    name: "the config's name is gone",
    spoil: (repository) => {
      const { configDigest } = openImageRef(repository, "t");
      Deno.removeSync(`${repository.path}/streams/oci-config-${configDigest}`);
    },
  },
  {
    name: "the config's bytes are damaged",
    spoil: (repository) => {
      const { configDigest } = openImageRef(repository, "t");
      const stream = repository.openStream(`oci-config-${configDigest}`);
      damage(objectFile(repository, stream.objectRefs.id(0)));
    },
  },
  {
    name: "the manifest's stream is damaged",
    spoil: (repository) => {
      damage(objectFile(repository, openImageRef(repository, "t").manifestStream.stream));
    },
  },
  {
    name: "the image is damaged",
    spoil: (repository) => {
      const { configStream } = openImageRef(repository, "t");
      damage(objectFile(repository, linkedImage(configStream.refs, 1)!));
    },
  },
  {
    name: "the image's name is gone",
    spoil: (repository) => {
      const { configStream } = openImageRef(repository, "t");
      Deno.removeSync(`${repository.path}/images/${linkedImage(configStream.refs, 1)}`);
    },
  },
];

Deno.test("pullImage() once more makes good what was damaged", async (t) => {
  for (const { name, spoil, repair } of DAMAGES) {
    await t.step(name, async () => {
      using dir = new TempDir();
      using repository = newRepository(dir.join("repo"));
      const source = makeImage(dir.join("layout"), { layers: LAYERS });
      const first = await pull(repository, source);
      const before = listing(repository.path);
      spoil(repository);
      const warnings: string[] = [];
      const progress = (event: ProgressEvent) => {
        if (event.type === "warning") warnings.push(event.text);
      };
      const again = await pull(repository, source, { repair: repair ?? false, progress });
      assert.equal(again.image, first.image);
      assert.equal(again.manifestStream, first.manifestStream);
      assert.deepEqual(listing(repository.path), before);
      assert.deepEqual((await checkImages(repository, { deep: true })).errors, []);
      assert.deepEqual((await repository.fsck()).errors, []);
      if (repair) {
        assert.deepEqual(warnings.map((text) => text.replace(/\w{64}$/, "ID")), [
          "repaired damaged object ID",
          "repaired damaged object ID",
        ]);
      }
    });
  }
});

Deno.test("pullImage() of what is there only makes a tag", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const source = makeImage(dir.join("layout"), { layers: LAYERS });
  const first = await pull(repository, source);
  const before = names(repository);
  const events: string[] = [];
  const again = await pull(repository, source, {
    name: "u",
    progress: (event) => events.push(event.type),
  });
  assert.deepEqual(events, ["skipped", "skipped"]);
  const other = { stats: undefined, layers: undefined };
  assert.deepEqual({ ...again, ...other, tag: "t" }, { ...first, ...other });
  assert.deepEqual(again.layers, []);
  assert.deepEqual(again.stats, {
    layersPresent: 2,
    objectsNew: 0,
    objectsPresent: 0,
    bytesStored: 0,
    bytesInlined: 0,
  });
  assert.deepEqual(
    names(repository).filter((line) => !before.includes(line)),
    [`streams/refs/oci/u -> ../../oci-manifest-${first.manifestDigest}`],
  );
});

Deno.test("pullImage() in another format keeps the images of the others", async () => {
  using dir = new TempDir();
  const source = makeImage(dir.join("layout"), { layers: LAYERS });
  newRepository(dir.join("repo"))[Symbol.dispose]();
  const images: (string | undefined)[] = [];
  for (const erofsVersion of [1, 2] as const) {
    using repository = Repository.open(dir.join("repo"), { erofsVersion });
    images.push((await pull(repository, source)).image);
    assert.equal(repository.readImage(images.at(-1) as ObjectId).version, erofsVersion);
  }
  {
    using repository = Repository.open(dir.join("repo"));
    repository.gc();
    const { configStream } = openImageRef(repository, "t");
    assert.deepEqual([1, 2].map((v) => linkedImage(configStream.refs, v as 1 | 2)), images);
    // Layers first, then images in the order of their names.
    assert.deepEqual([...repository.openStreamObject(configStream.stream).streamRefs].slice(2), [
      images[1],
      images[0],
    ]);
    for (const id of images) assert.ok(repository.hasImage(id as ObjectId));
    assert.deepEqual((await checkImages(repository, { deep: true })).errors, []);
  }
  // Formats 0 and 1 have one reference between them; the one that was asked for is in it.
  using zero = Repository.open(dir.join("repo"), { erofsVersion: 0 });
  const { image } = await pull(zero, source);
  assert.equal(zero.readImage(image!).version, 0);
  const { refs } = openImageRef(zero, "t").configStream;
  assert.deepEqual([linkedImage(refs, 0), linkedImage(refs, 2)], [image, images[1]]);
});

Deno.test("pullImage() writes all formats of a repository", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"), { erofsVersion: 2, extra: [1] });
  const { image } = await pull(repository, makeImage(dir.join("layout"), { layers: LAYERS }));
  const { refs } = openImageRef(repository, "t").configStream;
  assert.equal(linkedImage(refs, 2), image);
  assert.equal(repository.readImage(image!).version, 2);
  assert.equal(repository.readImage(linkedImage(refs, 1)!).version, 1);
});

Deno.test(`pullImage() gives one image however its layers are packed (SEED=${seed()})`, async () => {
  const rng = new Rng(seed());
  for (let i = 0; i < 6; i++) {
    using dir = new TempDir();
    const layers = Array.from(
      { length: 1 + rng.below(3) },
      () => randomLayer(rng, { entries: rng.below(150) }),
    );
    const results: string[] = [];
    for (const packing of ["plain", "gzip", "zstd"] as const) {
      using repository = newRepository(dir.join(packing), { extra: [2] });
      const source = makeImage(dir.join(`${packing}.oci`), { layers, packing });
      try {
        await pull(repository, source);
        const { configStream, layerIds } = openImageRef(repository, "t");
        assert.deepEqual((await checkImages(repository, { deep: i === 0 })).errors, []);
        results.push(JSON.stringify([
          linkedImage(configStream.refs, 1),
          linkedImage(configStream.refs, 2),
          layerIds.map((id) => repository.streamObject(`oci-layer-${id}`)),
        ]));
      } catch (error) {
        // Random layers can contradict each other; then all packings have to fail alike.
        assert.ok(isFault(error), String(error));
        assert.deepEqual(names(repository), []);
        results.push(chain(error).replaceAll(/\/dev\/shm\/\S*|\/tmp\/\S*/g, ""));
      }
    }
    assert.equal(new Set(results).size, 1, results.join("\n"));
  }
});

Deno.test("pullImage() ignores zeros behind the last gzip member and nothing else", async (t) => {
  const tar = LAYERS[0]!;
  const parts = [gzipSync(tar.subarray(0, 1000)), gzipSync(tar.subarray(1000))];
  const cases: { name: string; blob: Uint8Array; sound: boolean }[] = [
    { name: "some zeros", blob: Buffer.concat([...parts, Buffer.alloc(1000)]), sound: true },
    { name: "many zeros", blob: Buffer.concat([...parts, Buffer.alloc(1 << 20)]), sound: true },
    { name: "garbage", blob: Buffer.concat([...parts, Buffer.from("garbage")]), sound: false },
    {
      name: "a cut member",
      blob: Buffer.concat([parts[0]!, parts[1]!.subarray(0, -9)]),
      sound: false,
    },
    { name: "a missing member", blob: parts[0]!, sound: false },
    { name: "nothing", blob: new Uint8Array(0), sound: false },
  ];
  for (const { name, blob, sound } of cases) {
    await t.step(name, async () => {
      using dir = new TempDir();
      using repository = newRepository(dir.join("repo"));
      const maker = new LayoutMaker(dir.join("layout"));
      const rootfs = { type: "layers", diff_ids: [sha256(tar)] };
      const config = maker.json({ os: "linux", architecture: "amd64", rootfs }, TYPE.config);
      const layers = [maker.blob(blob, `${TYPE.layer}+gzip`)];
      const source = maker.index([
        maker.json({ schemaVersion: 2, config, layers }, TYPE.manifest),
      ]);
      if (sound) {
        await pull(repository, source);
        assert.deepEqual((await checkImages(repository)).errors, []);
        return;
      }
      await assert.rejects(pull(repository, source), isFault);
      assert.deepEqual(names(repository), []);
    });
  }
});

Deno.test("a blob that is no tar cannot stand for a layer with the same digest", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const tar = LAYERS[0]!;
  const maker = new LayoutMaker(dir.join("artifact"));
  const artifact = maker.index([maker.json({
    schemaVersion: 2,
    config: maker.blob("{}", TYPE.empty),
    layers: [maker.blob(tar, "text/plain")],
  }, TYPE.manifest)]);
  const image = makeImage(dir.join("image"), { layers: [tar], packing: "plain" });
  await pull(repository, artifact, { name: "artifact" });
  await pull(repository, image, { name: "image" });
  assert.deepEqual((await checkImages(repository, { deep: true, name: "image" })).errors, []);
  await pull(repository, artifact, { name: "artifact" });
  assert.deepEqual((await checkImages(repository, { deep: true })).errors, []);
});

Deno.test("referrers go when their subject has gone", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const maker = new LayoutMaker(dir.join("image"));
  const subject = maker.image({ layers: LAYERS });
  const image = await pull(repository, maker.index([subject]), { name: "image" });
  const config = maker.blob("{}", TYPE.empty);
  const layers = [maker.blob("a signature", "text/plain")];
  const { mediaType, digest, size } = subject;
  const about = { schemaVersion: 2, config, layers, subject: { mediaType, digest, size } };
  const source = maker.index([maker.json(about, TYPE.manifest)]);
  const { manifestDigest } = await pull(repository, source, { name: "about" });
  const referrers = () => listReferrers(repository, image.manifestDigest).map(String);
  const staleRefs = () => staleReferrers(repository);
  assert.deepEqual(referrers(), [manifestDigest.toString()]);
  // A referrer lives as long as its subject, even without a tag of its own.
  untagImage(repository, "about");
  repository.gc({ staleRefs });
  assert.deepEqual(referrers(), [manifestDigest.toString()]);
  const dirPath = `${repository.path}/streams/refs/oci-referrers/${image.manifestDigest}`;
  untagImage(repository, "image");
  repository.gc({ staleRefs });
  assert.equal(repository.streamObject(`oci-manifest-${image.manifestDigest}`), undefined);
  repository.gc({ staleRefs });
  assert.throws(() => Deno.lstatSync(dirPath), Deno.errors.NotFound);
  assert.deepEqual(repository.listStreams(), []);
  assert.equal([...repository.objects.list()].length, 0);
  // The link comes back with the next pull, even when the artifact itself is there.
  await pull(repository, source, { name: "about" });
  repository.removeRef("streams", `oci-referrers/${image.manifestDigest}/${manifestDigest}`);
  await pull(repository, source, { name: "about" });
  assert.deepEqual(referrers(), [manifestDigest.toString()]);
});

/** An artifact of one blob, with the empty config that all such artifacts share. */
function makeArtifact(path: string, text: string): string {
  const maker = new LayoutMaker(path);
  const config = maker.blob("{}", TYPE.empty);
  const layers = [maker.blob(text, "text/plain")];
  return maker.index([maker.json({ schemaVersion: 2, config, layers }, TYPE.manifest)]);
}

/** Asserts that every stream refers only to objects that names lead to: collectors need that. */
function assertNoNameless(repository: Repository): void {
  const known = new Set<string>(
    repository.listStreams().map((name) => repository.streamObject(name)!),
  );
  for (const line of names(repository)) known.add(/^images\/(\w+) /.exec(line)?.[1] ?? "");
  for (const name of repository.listStreams()) {
    for (const id of repository.openStream(name).streamRefs) assert.ok(known.has(id), name);
  }
}

Deno.test("images that share a config or layers survive each other", async (t) => {
  using dir = new TempDir();
  await t.step("artifacts with the empty config", async () => {
    using repository = newRepository(dir.join("artifacts"));
    for (const name of ["one", "two", "three"]) {
      await pull(repository, makeArtifact(dir.join(name), name), { name });
      assertNoNameless(repository);
    }
    untagImage(repository, "three");
    untagImage(repository, "one");
    repository.gc();
    assertNoNameless(repository);
    assert.deepEqual((await checkImages(repository, { deep: true })).errors, []);
    assert.equal(openImageRef(repository, "two").configStream.bytes.length, 2);
  });
  await t.step("images with one config in two packings and formats", async () => {
    newRepository(dir.join("packings"))[Symbol.dispose]();
    const sources = (["gzip", "zstd"] as const).map((packing) =>
      makeImage(dir.join(packing), { layers: LAYERS, packing })
    );
    const digests = new Set<string>();
    for (const [i, erofsVersion] of ([1, 2] as const).entries()) {
      using repository = Repository.open(dir.join("packings"), { erofsVersion });
      const result = await pull(repository, sources[i]!, { name: `t${i}` });
      digests.add(result.manifestDigest.toString());
      assertNoNameless(repository);
    }
    assert.equal(digests.size, 2);
    using repository = Repository.open(dir.join("packings"));
    untagImage(repository, "t1");
    repository.gc();
    assert.deepEqual((await checkImages(repository, { deep: true })).errors, []);
    // What the other pull added is known to this image too.
    const { refs } = openImageRef(repository, "t0").configStream;
    for (const version of [1, 2] as const) {
      assert.ok(repository.hasImage(linkedImage(refs, version)!));
    }
  });
  await t.step("a layer that gets another stream object", async () => {
    using repository = newRepository(dir.join("layers"));
    const one = makeImage(dir.join("first"), { layers: LAYERS });
    const two = makeImage(dir.join("second"), { layers: [LAYERS[0]!] });
    await pull(repository, one, { name: "one" });
    await pull(repository, two, { name: "two" });
    // The same layer in a stream that is put together differently, as another program might.
    const id = openImageRef(repository, "two").layerIds[0]!;
    const before = repository.streamObject(`oci-layer-${id}`)!;
    const inline = repository.newStream(repository.openStream(`oci-layer-${id}`).contentType);
    inline.addInline(LAYERS[0]!);
    repository.writeStream(`oci-layer-${id}`, inline.finish());
    inline[Symbol.dispose]();
    assert.notEqual(repository.streamObject(`oci-layer-${id}`), before);
    await pull(repository, two, { name: "two", repair: true });
    await pull(repository, one, { name: "one" });
    assertNoNameless(repository);
    repository.gc();
    assert.deepEqual((await checkImages(repository, { deep: true })).errors, []);
  });
});

Deno.test("gc() keeps what streams need that have lost their name", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const { configDigest } = await pull(repository, makeArtifact(dir.join("one"), "one"));
  // Now the manifest's config has no name, as after another program stored a second artifact.
  Deno.removeSync(`${repository.path}/streams/oci-config-${configDigest}`);
  repository.gc();
  assert.deepEqual((await checkImages(repository)).errors, []);
});

Deno.test("pullImage() gives up when asked", async (t) => {
  using dir = new TempDir();
  const big = filesLayer({ big: new Uint8Array(20_000_000) });
  const source = makeImage(dir.join("layout"), { layers: [big, LAYERS[1]!] });
  await t.step("before it begins", async () => {
    using repository = newRepository(dir.join("before"));
    const signal = AbortSignal.abort(new Error("no more"));
    await assert.rejects(pull(repository, source, { signal }), { message: "no more" });
    assert.deepEqual(names(repository), []);
  });
  await t.step("while it imports", async () => {
    using repository = newRepository(dir.join("while"));
    const controller = new AbortController();
    const progress = (event: ProgressEvent) => {
      if (event.type === "started") queueMicrotask(() => controller.abort());
    };
    await assert.rejects(
      pull(repository, source, { signal: controller.signal, progress }),
      { name: "AbortError" },
    );
    assert.deepEqual(names(repository), []);
    assert.ok((await repository.fsck()).ok);
  });
});

Deno.test("pullImage() of an image with more layers than descriptors", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const layers = Array.from({ length: 400 }, (_, i) => filesLayer({ [`f${i}`]: `${i}` }));
  const { image } = await pull(repository, makeImage(dir.join("layout"), { layers }));
  assert.equal(openImageRef(repository, "t").layerIds.length, 400);
  assert.equal(repository.objects.size(image!) === undefined, false);
});

/** One layer with a file of 100 MB and many small ones, written without holding it in memory. */
function writeBigLayout(path: string): string {
  const maker = new LayoutMaker(path);
  const size = 100_000_000;
  const parts: Buffer[] = [
    header({ name: "usr/", type: "5", mode: 0o755 }),
    header({ name: "usr/big", size }),
    content(new Uint8Array(size).fill(0x5a)),
  ];
  for (let i = 0; i < 20_000; i++) {
    const data = `${i} `.repeat(10 + i % 700);
    parts.push(header({ name: `usr/${i}`, size: data.length }), content(data));
  }
  return maker.index([maker.image({ layers: [Buffer.concat([...parts, END])] })]);
}

Deno.test("pulls with any number of workers are the same and bounded in memory", async (t) => {
  using dir = new TempDir();
  const source = writeBigLayout(dir.join("layout"));
  const outcomes: string[] = [];
  for (const jobs of [1, 2, 4]) {
    await t.step(`${jobs} workers`, async () => {
      const path = dir.join(`repo-${jobs}`);
      newRepository(path)[Symbol.dispose]();
      const args = ["--repo", path, "oci", "pull", "--jobs", `${jobs}`, source, "t"];
      const { stdout, rssKiB } = await cfsOk(args, { rss: true, timeout: 120_000 });
      assert.ok(rssKiB! < 300 * 1024, `${rssKiB} KiB`);
      outcomes.push(stdout + listing(path).join("\n"));
      Deno.removeSync(path, { recursive: true });
    });
  }
  assert.equal(new Set(outcomes).size, 1);
  assert.equal(outcomes[0]!.includes("objects  "), true);
});
