import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { openImageRef } from "../../lib/oci/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";
import { CONTENT_TYPE } from "../../lib/splitstream/mod.ts";
import { content, END, header } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import { chain, LayoutMaker, names, newRepository, packed, pull, TYPE } from "./_oci.ts";

loadNative();

function tarOf(text: string): Uint8Array {
  return Buffer.concat([
    header({ name: "usr/", type: "5", mode: 0o755 }),
    header({ name: "usr/name", size: text.length }),
    content(text),
    END,
  ]);
}

Deno.test("pullImage() reads each blob of an image, also when two hold the same layer", async (t) => {
  using dir = new TempDir();
  const tar = tarOf("x".repeat(1000));
  for (const wrong of [false, true]) {
    await t.step(wrong ? "one is damaged" : "both are right", async () => {
      const maker = new LayoutMaker(dir.join(`layout-${wrong}`));
      const gzip = maker.blob(packed(tar, "gzip"), `${TYPE.layer}+gzip`);
      const zstd = maker.blob(packed(tar, "zstd"), `${TYPE.layer}+zstd`);
      const id = maker.blob(tar, TYPE.layer).digest;
      const config = maker.json({
        os: "linux",
        architecture: "amd64",
        rootfs: { type: "layers", diff_ids: [id, id] },
      }, TYPE.config);
      if (wrong) {
        const damaged = Deno.readFileSync(maker.blobPath(zstd.digest));
        damaged[4]! ^= 1;
        Deno.writeFileSync(maker.blobPath(zstd.digest), damaged);
      }
      const manifest = maker.json(
        { schemaVersion: 2, config, layers: [gzip, zstd] },
        TYPE.manifest,
      );
      using repository = newRepository(dir.join(`repo-${wrong}`));
      const pulled = pull(repository, maker.index([manifest]));
      if (!wrong) {
        assert.equal((await pulled).stats.objectsNew, 1);
        return;
      }
      await assert.rejects(pulled, (error) => {
        assert.match(chain(error), /zstd|mismatch/);
        return true;
      });
      assert.deepEqual(names(repository), []);
    });
  }
});

Deno.test("pullImage() leaves a blob that another artifact needs as it is", async (t) => {
  const packedTar = packed(tarOf("y".repeat(1000)), "gzip");
  const artifact = (maker: LayoutMaker, type: string) => {
    const layers = [maker.blob(packedTar, type)];
    return maker.json(
      { schemaVersion: 2, config: maker.blob("{}", TYPE.empty), layers },
      TYPE.manifest,
    );
  };
  for (const repair of [false, true]) {
    await t.step(repair ? "repair" : "pull", async () => {
      using dir = new TempDir();
      const maker = new LayoutMaker(dir.join("layout"));
      const plain = artifact(maker, "application/octet-stream");
      const tar = artifact(maker, `${TYPE.layer}+gzip`);
      const source = maker.index([plain, tar]);
      using repository = newRepository(dir.join("repo"));
      await pull(repository, `${source}:@0`, { name: "plain" });
      await pull(repository, `${source}:@1`, { name: "tar", repair });
      for (const name of ["plain", "tar"]) {
        const image = openImageRef(repository, name);
        const id = image.layerIds[0]!.toString();
        const stream = repository.openStreamObject(image.manifestStream.refs.get(id)!);
        assert.equal(stream.contentType, CONTENT_TYPE.ociBlob, name);
        assert.equal(Number(stream.streamSize), packedTar.length);
      }
      assert.equal(repository.gc().warnings.length, 0);
      assert.ok((await repository.fsck()).ok);
    });
  }
});

Deno.test("artifacts that share a config survive being pulled at the same time", async () => {
  using dir = new TempDir();
  const maker = new LayoutMaker(dir.join("layout"));
  const config = maker.blob("{}", TYPE.empty);
  const count = 8;
  const entries = Array.from({ length: count }, (_, i) => {
    const layers = [maker.blob(`artifact ${i} `.repeat(20), "text/plain")];
    return maker.json({ schemaVersion: 2, config, layers }, TYPE.manifest);
  });
  const source = maker.index(entries);
  newRepository(dir.join("repo"))[Symbol.dispose]();
  await Promise.all(entries.map(async (_, i) => {
    using repository = Repository.open(dir.join("repo"));
    await pull(repository, `${source}:@${i}`, { name: `a${i}`, jobs: 1 });
  }));
  using repository = Repository.open(dir.join("repo"));
  // The config that has the name refers to the layers of all, and all manifests to it.
  const shared = repository.openStream(`oci-config-${config.digest}`);
  for (let i = 0; i < count; i++) {
    const image = openImageRef(repository, `a${i}`);
    assert.ok(shared.namedRefs.has(image.layerIds[0]!.toString()));
    assert.equal(image.configStream.stream, shared.id);
  }
});
