import assert from "node:assert/strict";
import { nodeZstd, type ProgressEvent } from "../../lib/base/mod.ts";
import { Batch } from "../../lib/oci/batch.ts";
import { checkImages } from "../../lib/oci/mod.ts";
import { LayerObjects } from "../../lib/oci/layer_objects.ts";
import { ObjectDirectory, type Repository } from "../../lib/repository/mod.ts";
import { CONTENT_TYPE, SplitstreamWriter } from "../../lib/splitstream/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import { LayoutMaker, names, newRepository, packed, pull, sha256, TYPE } from "./_oci.ts";

loadNative();

/** What one layer's files go through, with another thread played by this one. */
function newObjects(
  repository: Repository,
  writer: SplitstreamWriter,
  { idle, deaf = false }: { idle: number; deaf?: boolean },
) {
  const { algorithm } = repository;
  const dir = repository.objects.makeDirectory().number;
  const directory = new ObjectDirectory({ dir, algorithm, secure: false });
  const credits = new Int32Array(new SharedArrayBuffer(4));
  credits[0] = idle;
  const objects = new LayerObjects(writer, {
    directory,
    digestSize: algorithm.size,
    credits: credits.buffer,
    handOver({ memory, count, turn }) {
      if (!deaf) new Batch(memory).store(directory, { count, turn });
    },
  });
  return { objects, credits };
}

function newWriter(repository: Repository): SplitstreamWriter {
  const { algorithm } = repository;
  return new SplitstreamWriter({ algorithm, contentType: CONTENT_TYPE.ociLayer, codec: nodeZstd });
}

Deno.test("what stays inline does not gather behind a file that another thread stores", () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  using writer = newWriter(repository);
  using objects = newObjects(repository, writer, { idle: 2 }).objects;
  objects.externalStart(100);
  objects.externalData(new Uint8Array(4096).subarray(0, 100));
  objects.externalEnd();
  const headers = new Uint8Array(64 * 1024);
  for (let i = 0; i < 512; i++) {
    objects.inline(headers);
    const held = (i + 1) * headers.length - writer.inlineSize;
    assert.ok(held <= 5 * 1024 * 1024, `${held} bytes wait`);
  }
  objects.finish();
  assert.equal(writer.streamSize, 100 + 512 * headers.length);
});

Deno.test("files that another thread should have stored are stored all the same", () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  using writer = newWriter(repository);
  using objects = newObjects(repository, writer, { idle: 2, deaf: true }).objects;
  for (let i = 1; i <= 3; i++) {
    const bytes = new Uint8Array(1_500_000).fill(i);
    objects.externalStart(bytes.length);
    objects.externalData(bytes);
    objects.externalEnd();
  }
  objects.finish();
  assert.equal(writer.streamSize, 4_500_000);
  assert.equal([...repository.objects.list()].length, 3);
  assert.equal(objects.stats.created, 3);
});

Deno.test("a batch is stored once, and not when its memory has been used again", () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const objects = repository.objects.makeDirectory();
  const { algorithm } = repository;
  const directory = new ObjectDirectory({ dir: objects.number, algorithm, secure: false });
  const batch = new Batch();
  const late = () => new Batch(batch.memory);
  batch.reset();
  batch.add(new Uint8Array(100));
  batch.end(100);
  const { count, turn } = batch;
  batch.store(directory);
  assert.equal(batch.wait(), true);
  batch.reset();
  late().store(directory, { count, turn });
  late().fail(turn);
  assert.equal(batch.settled, false);
  late().fail(batch.turn);
  assert.equal(batch.wait(), false);
});

Deno.test("a layer that fails leaves others the threads that it had", async (t) => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  for (const [name, finished] of [["in a file", false], ["between two files", true]] as const) {
    await t.step(name, () => {
      using writer = newWriter(repository);
      const { objects, credits } = newObjects(repository, writer, { idle: 1 });
      objects.externalStart(200);
      objects.externalData(new Uint8Array(4096).subarray(0, finished ? 200 : 100));
      if (finished) objects.externalEnd();
      assert.equal(credits[0], 0);
      objects[Symbol.dispose]();
      assert.equal(credits[0], 1);
    });
  }
});

Deno.test("an empty blob is an object like any other, whoever stores it", async (t) => {
  using dir = new TempDir();
  const maker = new LayoutMaker(dir.join("layout"));
  const source = maker.index([maker.json({
    schemaVersion: 2,
    config: maker.blob("{}", TYPE.empty),
    layers: [maker.blob("", "text/plain")],
  }, TYPE.manifest)]);
  const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  for (const jobs of [1, 3]) {
    await t.step(`${jobs} jobs`, async () => {
      using repository = newRepository(dir.join(`repo${jobs}`));
      await pull(repository, source, { jobs });
      // The object that cfsctl 0.9.4 makes of it.
      assert.match(repository.streamObject(`oci-layer-${digest}`)!, /^e80ecd8d8e3c/);
    });
  }
});

Deno.test("a layer that was unpacked cannot stand for its blob as it is", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const blob = packed(new Uint8Array(10240), "gzip");
  const artifact = (name: string, mediaType: string) => {
    const maker = new LayoutMaker(dir.join(name));
    const config = maker.blob("{}", TYPE.empty);
    const layers = [maker.blob(blob, mediaType)];
    return maker.index([maker.json({ schemaVersion: 2, config, layers }, TYPE.manifest)]);
  };
  const tar = artifact("tar", `${TYPE.layer}+gzip`);
  const plain = artifact("plain", "application/octet-stream");
  const content = () => {
    const stream = repository.openStream(`oci-layer-${sha256(blob)}`);
    return repository.streamContent(stream).reduce((sum, piece) => sum + piece.length, 0);
  };
  await pull(repository, tar, { name: "tar" });
  assert.equal(content(), 10240);
  for (const [name, source] of [["plain", plain], ["tar", tar], ["plain", plain]] as const) {
    await pull(repository, source, { name });
    assert.equal(content(), blob.length);
    assert.deepEqual((await checkImages(repository, { deep: true })).errors, []);
  }
});

Deno.test("pullImage() gives up in the middle of a blob that is no tar", async () => {
  using dir = new TempDir();
  const maker = new LayoutMaker(dir.join("layout"));
  const source = maker.index([maker.json({
    schemaVersion: 2,
    config: maker.blob("{}", TYPE.empty),
    layers: [maker.blob(new Uint8Array(20_000_000), "text/plain")],
  }, TYPE.manifest)]);
  using repository = newRepository(dir.join("repo"));
  const controller = new AbortController();
  let done = 0;
  const progress = (event: ProgressEvent) => {
    if (event.type !== "progress") return;
    done = event.done;
    controller.abort();
  };
  await assert.rejects(pull(repository, source, { signal: controller.signal, progress, jobs: 1 }), {
    name: "AbortError",
  });
  assert.ok(done < 10_000_000, `${done} bytes`);
  assert.deepEqual(names(repository), []);
});
