import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type Digest, type ObjectId, objectPath } from "../../lib/base/mod.ts";
import { checkImages, linkedImage, openImageRef } from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { CONTENT_TYPE } from "../../lib/splitstream/mod.ts";
import { content, END, header } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import { LayoutMaker, makeImage, newRepository, pull, sha256, TYPE } from "./_oci.ts";

loadNative();

const TAR = Buffer.concat([
  header({ name: "usr/", type: "5", mode: 0o755 }),
  header({ name: "usr/a", size: 100 }),
  content("a".repeat(100)),
  END,
]);
const OTHER_TAR = Buffer.concat([
  header({ name: "usr/", type: "5", mode: 0o755 }),
  header({ name: "usr/b", size: 100 }),
  content("b".repeat(100)),
  END,
]);
const DIFF_ID = sha256(TAR);

/** The streams of an image as plain values, to be written again with a fault. */
interface Parts {
  manifest: Uint8Array;
  manifestRefs: Map<string, ObjectId>;
  config: Uint8Array;
  configRefs: Map<string, ObjectId>;
}

function partsOf(repository: Repository): Parts {
  const { manifestStream, configStream } = openImageRef(repository, "t");
  return {
    manifest: manifestStream.bytes,
    manifestRefs: new Map(manifestStream.refs),
    config: configStream.bytes,
    configRefs: new Map(configStream.refs),
  };
}

function document(
  repository: Repository,
  type: bigint,
  parts: { bytes: Uint8Array; refs: ReadonlyMap<string, ObjectId> },
): Uint8Array {
  using writer = repository.newStream(type);
  const { id, size } = repository.objects.write(parts.bytes);
  writer.addExternal(id, size);
  for (const [name, object] of parts.refs) writer.addNamedRef(name, object);
  return writer.finish();
}

/** Writes an image's streams again, with the digests it had. */
function rewrite(repository: Repository, change: (parts: Parts) => void): void {
  const { manifestDigest, configDigest } = openImageRef(repository, "t");
  const parts = partsOf(repository);
  const key = `config:${configDigest}`;
  const before = parts.manifestRefs.get(key)!;
  change(parts);
  const config = repository.writeStream(
    `oci-config-${configDigest}`,
    document(repository, CONTENT_TYPE.ociConfig, { bytes: parts.config, refs: parts.configRefs }),
  );
  if (parts.manifestRefs.get(key) === before) parts.manifestRefs.set(key, config);
  repository.writeStream(
    `oci-manifest-${manifestDigest}`,
    document(repository, CONTENT_TYPE.ociManifest, {
      bytes: parts.manifest,
      refs: parts.manifestRefs,
    }),
  );
}

/** Stores a layer under a name, whatever its digest is. */
function storeLayer(repository: Repository, name: string, tar: Uint8Array): ObjectId {
  using writer = repository.newStream(CONTENT_TYPE.ociLayer);
  writer.addInline(tar);
  return repository.writeStream(name, writer.finish());
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

const CASES: {
  name: string;
  spoil: (repository: Repository, image: { manifest: Digest; config: Digest }) => void;
  errors: RegExp[];
  deep?: true;
  /** Whether the repository's own check is fine. */
  repoOk: boolean;
}[] = [
  {
    name: "the tag leads to a layer",
    spoil: ({ path }) => {
      Deno.removeSync(`${path}/streams/refs/oci/t`);
      Deno.symlinkSync(`../../oci-layer-${DIFF_ID}`, `${path}/streams/refs/oci/t`);
    },
    errors: [/^fsck: ref-resolve-failed: t: .*no manifest$/],
    repoOk: true,
  },
  {
    name: "a tag with a reserved name",
    spoil: ({ path }) =>
      Deno.renameSync(`${path}/streams/refs/oci/t`, `${path}/streams/refs/oci/@t`),
    errors: [/^fsck: invalid-ref-name: @t: leading '@' is reserved for digest references$/],
    repoOk: true,
  },
  {
    name: "the manifest's stream is gone",
    spoil: ({ path }, { manifest }) => Deno.removeSync(`${path}/streams/oci-manifest-${manifest}`),
    errors: [/^fsck: manifest-read-failed: t: stream not found: oci-manifest-sha256:/],
    repoOk: false,
  },
  {
    name: "the manifest is another document",
    spoil: (repository) =>
      rewrite(
        repository,
        (parts) => parts.manifest = Buffer.concat([parts.manifest, Buffer.from(" ")]),
      ),
    errors: [
      /^fsck: manifest-digest-mismatch: t: expected sha256:\w{64}, got sha256:\w{64}$/,
    ],
    repoOk: true,
  },
  {
    name: "the manifest is none",
    spoil: (repository) => {
      const bytes = Buffer.from("{}");
      const name = `oci-manifest-${sha256(bytes)}`;
      const refs = new Map<string, ObjectId>();
      repository.writeStream(name, document(repository, CONTENT_TYPE.ociManifest, { bytes, refs }));
      repository.setRef("streams", "oci/t", { entry: name });
    },
    errors: [/^fsck: manifest-parse-failed: t: image manifest: field schemaVersion/],
    repoOk: true,
  },
  {
    name: "the manifest has no reference to its config",
    spoil: (repository, { config }) =>
      rewrite(repository, (parts) => parts.manifestRefs.delete(`config:${config}`)),
    errors: [/^fsck: config-ref-missing: t: sha256:\w{64}$/],
    repoOk: true,
  },
  {
    name: "the reference to the config leads to a layer",
    spoil: (repository, { config }) =>
      rewrite(repository, (parts) => {
        const layer = parts.manifestRefs.get(DIFF_ID)!;
        parts.manifestRefs.set(`config:${config}`, layer);
      }),
    errors: [/^fsck: config-read-failed: t: .*content type/i],
    repoOk: true,
  },
  {
    name: "the config is another document",
    spoil: (repository) =>
      rewrite(
        repository,
        (parts) => parts.config = Buffer.concat([parts.config, Buffer.from(" ")]),
      ),
    errors: [/^fsck: config-digest-mismatch: t: expected sha256:\w{64}, got sha256:\w{64}$/],
    repoOk: true,
  },
  {
    name: "the config has no reference to a layer",
    spoil: (repository) => rewrite(repository, (parts) => parts.configRefs.delete(DIFF_ID)),
    errors: [new RegExp(`^fsck: layer-ref-missing: t: ${DIFF_ID}$`)],
    repoOk: true,
  },
  {
    name: "a layer's stream has no name",
    spoil: ({ path }) => Deno.removeSync(`${path}/streams/oci-layer-${DIFF_ID}`),
    errors: [new RegExp(`^fsck: layer-stream-missing: t: ${DIFF_ID}$`)],
    repoOk: true,
  },
  {
    name: "a layer's name leads to another layer",
    spoil: (repository) => storeLayer(repository, `oci-layer-${DIFF_ID}`, OTHER_TAR),
    errors: [new RegExp(`^fsck: layer-check-failed: t: ${DIFF_ID}: stream is \\w{64}, the config`)],
    repoOk: true,
  },
  {
    name: "a layer has other content than its digest says",
    spoil: (repository) => {
      const wrong = storeLayer(repository, `oci-layer-${DIFF_ID}`, OTHER_TAR);
      rewrite(repository, (parts) => {
        parts.configRefs.set(DIFF_ID, wrong);
        parts.manifestRefs.set(DIFF_ID, wrong);
      });
    },
    errors: [
      new RegExp(
        `^fsck: layer-check-failed: t: ${DIFF_ID}: content has digest ${sha256(OTHER_TAR)}$`,
      ),
    ],
    repoOk: true,
  },
  {
    name: "a layer's object is gone",
    spoil: (repository) => {
      const id = repository.streamObject(`oci-layer-${DIFF_ID}`)!;
      Deno.removeSync(`${repository.path}/objects/${objectPath(id)}`);
    },
    errors: [new RegExp(`^fsck: layer-object-missing: t: ${DIFF_ID}$`)],
    repoOk: false,
  },
  {
    name: "a file of a layer is gone",
    spoil: (repository) => {
      const stream = repository.openStream(`oci-layer-${DIFF_ID}`);
      Deno.removeSync(`${repository.path}/objects/${objectPath(stream.objectRefs.id(0))}`);
    },
    errors: [
      new RegExp(
        `^fsck: layer-check-failed: t: ${DIFF_ID}: object not found: \\w{64} \\(/usr/a\\)$`,
      ),
    ],
    repoOk: false,
  },
  {
    name: "the linked image is that of other layers",
    deep: true,
    spoil: (repository) =>
      rewrite(repository, (parts) => {
        const other = openImageRef(repository, "other");
        parts.configRefs.set("composefs.image.v1", linkedImage(other.configStream.refs, 1)!);
      }),
    errors: [/^fsck: image-mismatch: t: linked \w{64}, rebuilt \w{64}$/],
    repoOk: true,
  },
];

Deno.test("checkImages() finds each kind of damage", async (t) => {
  for (const { name, spoil, errors, deep, repoOk } of CASES) {
    await t.step(name, async () => {
      using dir = new TempDir();
      using repository = newRepository(dir.join("repo"));
      await pull(repository, makeImage(dir.join("other"), { layers: [OTHER_TAR] }), {
        name: "other",
      });
      const { manifestDigest, configDigest } = await pull(
        repository,
        makeImage(dir.join("layout"), { layers: [TAR] }),
      );
      assert.ok((await checkImages(repository, { deep: true })).ok);
      spoil(repository, { manifest: manifestDigest, config: configDigest });
      const report = await checkImages(repository, { deep: deep ?? false });
      assert.equal(report.errors.length, errors.length, report.errors.join("\n"));
      errors.forEach((error, i) => assert.match(report.errors[i]!, error));
      assert.deepEqual([report.ok, report.images_checked, report.images_corrupted], [false, 2, 1]);
      assert.equal(report.repo.ok, repoOk, report.repo.errors.join("\n"));
      // The other image is fine, and looking at it alone says so unless the repository is not.
      const alone = await checkImages(repository, { name: "other" });
      assert.deepEqual([alone.ok, alone.images_checked, alone.errors], [repoOk, 1, []]);
      if (deep) assert.ok((await checkImages(repository)).ok);
    });
  }
});

Deno.test("checkImages() of a name that is no tag says so", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  for (const name of ["nope", "@foo", ""]) {
    const report = await checkImages(repository, { name });
    assert.deepEqual(report.errors, [
      `fsck: ref-resolve-failed: ${name}: OCI reference not found: ${name}`,
    ]);
    assert.deepEqual([report.ok, report.images_checked, report.images_corrupted], [false, 1, 1]);
  }
  const empty = await checkImages(repository);
  assert.deepEqual([empty.ok, empty.images_checked, empty.errors], [true, 0, []]);
});

Deno.test("checkImages() looks at artifacts", async (t) => {
  using dir = new TempDir();
  const maker = new LayoutMaker(dir.join("layout"));
  const blob = maker.blob("a blob that is no tar", "text/plain");
  const source = maker.index([maker.json({
    schemaVersion: 2,
    config: maker.blob("{}", TYPE.empty),
    layers: [blob, maker.blob(TAR, TYPE.layer)],
  }, TYPE.manifest)]);
  await t.step("sound", async () => {
    using repository = newRepository(dir.join("sound"));
    await pull(repository, source);
    assert.deepEqual((await checkImages(repository, { deep: true })).errors, []);
  });
  await t.step("without a reference to a layer", async () => {
    using repository = newRepository(dir.join("reference"));
    await pull(repository, source);
    rewrite(repository, (parts) => parts.manifestRefs.delete(blob.digest));
    assert.deepEqual((await checkImages(repository)).errors, [
      `fsck: artifact-layer-ref-missing: t: ${blob.digest}`,
    ]);
  });
  await t.step("without the object of a layer", async () => {
    using repository = newRepository(dir.join("object"));
    await pull(repository, source);
    const id = repository.streamObject(`oci-layer-${blob.digest}`)!;
    Deno.removeSync(`${repository.path}/objects/${objectPath(id)}`);
    assert.deepEqual((await checkImages(repository)).errors, [
      `fsck: artifact-layer-object-missing: t: ${blob.digest}`,
    ]);
  });
  await t.step("with other content", async () => {
    using repository = newRepository(dir.join("content"));
    await pull(repository, source);
    const wrong = storeLayer(repository, `oci-layer-${DIFF_ID}`, OTHER_TAR);
    rewrite(repository, (parts) => parts.manifestRefs.set(DIFF_ID, wrong));
    assert.deepEqual((await checkImages(repository)).errors, [
      `fsck: layer-check-failed: t: ${DIFF_ID}: content has digest ${sha256(OTHER_TAR)}`,
    ]);
    // Content is left out where only the metadata is asked for.
    assert.deepEqual((await checkImages(repository, { metadataOnly: true })).errors, []);
    assert.deepEqual((await checkImages(repository, { layers: false })).errors, []);
  });
});

Deno.test("checkImages() looks for the image that an image is sealed with", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const maker = new LayoutMaker(dir.join("layout"));
  const plain = maker.image({ layers: [TAR] });
  const { image } = await pull(repository, maker.index([plain]), { name: "plain" });
  const sealedWith = (seal: string) =>
    maker.index([maker.image({
      layers: [TAR],
      manifest: { annotations: { "containers.composefs.fsverity": seal } },
    })]);
  await pull(repository, sealedWith(image!), { name: "sealed" });
  assert.deepEqual((await checkImages(repository)).errors, []);
  const missing = "0".repeat(64);
  await pull(repository, sealedWith(missing), { name: "sealed" });
  const [error, ...others] = (await checkImages(repository)).errors;
  assert.ok(error!.startsWith(`fsck: seal-image-missing: sealed: ${missing}: `), String(error));
  assert.deepEqual(others, []);
  assert.ok(text(openImageRef(repository, "sealed").manifestStream.bytes).includes(missing));
});
