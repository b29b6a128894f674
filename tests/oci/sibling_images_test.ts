import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { NotFoundError, type ObjectId } from "../../lib/base/mod.ts";
import { openImageRef, siblingImages } from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { CONTENT_TYPE } from "../../lib/splitstream/mod.ts";
import { END, header } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { findTool } from "../helpers/tool.ts";
import { LayoutMaker, newRepository, TYPE } from "./_oci.ts";

loadNative();

/** Stores a config with references, as a pull would; returns the object of the config itself. */
function storeConfig(
  repository: Repository,
  refs: Readonly<Record<string, ObjectId>>,
  text = "",
): ObjectId {
  const bytes = new TextEncoder().encode(JSON.stringify({
    os: "linux",
    architecture: "amd64",
    config: { Labels: { text } },
    rootfs: { type: "layers", diff_ids: [] },
  }));
  const { id, size } = repository.objects.write(bytes);
  using writer = repository.newStream(CONTENT_TYPE.ociConfig);
  writer.addExternal(id, size);
  for (const [name, object] of Object.entries(refs)) writer.addNamedRef(name, object);
  const stream = repository.objects.write(writer.finish()).id;
  const digest = createHash("sha256").update(bytes).digest("hex");
  repository.linkStream(`oci-config-sha256:${digest}`, stream);
  return id;
}

function object(repository: Repository, text: string): ObjectId {
  const { id } = repository.objects.write(new TextEncoder().encode(text));
  repository.linkImage(id);
  return id;
}

/** References in another order than that of the list. */
const NAMES = [
  ["composefs.image.boot.xattrs=keep-user-xattrs", true, 2, "keep-user-xattrs"],
  ["composefs.image", false, 2, null],
  ["composefs.image.boot.v1", true, 1, "allowlist-only"],
  ["composefs.image.v1", false, 1, null],
] as const;

Deno.test("siblingImages() lists what is linked to the same config, for mounting first", () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("r"));
  const ids = NAMES.map(([name]) => object(repository, name));
  const other = object(repository, "other");
  storeConfig(repository, { "composefs.image.v1": other }, "another image");
  storeConfig(repository, {
    ...Object.fromEntries(NAMES.map(([name], i) => [name, ids[i]!])),
    "composefs.image.boot.v9": other,
    "sha256:layer": other,
  });
  const expected = [3, 1, 2, 0].map((i) => {
    const [, bootable, version, xattrMode] = NAMES[i]!;
    return { id: ids[i]!, bootable, version, xattrMode };
  });
  for (const id of ids) assert.deepEqual(siblingImages(repository, id), expected);
  const alone = [{ id: other, bootable: false, version: 1, xattrMode: null }];
  assert.deepEqual(siblingImages(repository, other), alone);
});

Deno.test("siblingImages() tells damage only where what is asked for is not found", () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("r"));
  const id = object(repository, "image");
  const unknown = object(repository, "nobody's");
  assert.throws(() => siblingImages(repository, unknown), NotFoundError);
  const damaged = storeConfig(repository, {}, "damaged");
  storeConfig(repository, { "composefs.image.v1": id });
  Deno.writeTextFileSync(
    `${dir.join("r")}/objects/${damaged.slice(0, 2)}/${damaged.slice(2)}`,
    "{}",
  );
  assert.equal(siblingImages(repository, id).length, 1);
  assert.throws(() => siblingImages(repository, unknown), { code: "CFS_DIGEST_MISMATCH" });
});

testWith({
  name: "siblingImages() lists what cfsctl lists of an image that it has pulled",
  needs: [needTool("cfsctl")],
  async fn() {
    using dir = new TempDir();
    const maker = new LayoutMaker(dir.join("layout"));
    const directories = ["usr/", "boot/", "sysroot/"];
    const layer = maker.blob(
      Buffer.concat([
        ...directories.map((name) => header({ name, type: "5", mode: 0o755 })),
        header({ name: "boot/file", size: 0 }),
        END,
      ]),
      TYPE.layer,
    );
    const config = maker.json({
      os: "linux",
      architecture: "amd64",
      rootfs: { type: "layers", diff_ids: [layer.digest] },
    }, TYPE.config);
    const source = maker.index([
      maker.json({ schemaVersion: 2, config, layers: [layer] }, TYPE.manifest),
    ]);
    using repository = newRepository(dir.join("r"));
    const cfsctl = [findTool("cfsctl")!, "--repo", dir.join("r"), "oci"];
    await runOk([...cfsctl, "pull", "--bootable", source, "t"]);
    const { v1, bootV1 } = linked(repository);
    assert.notEqual(v1, bootV1);
    for (const id of [v1, bootV1]) {
      const { stdout } = await runOk([...cfsctl, "linked-erofs-images", id!]);
      assert.deepEqual(siblingImages(repository, id!), JSON.parse(stdout));
    }
  },
});

function linked(
  repository: Repository,
): { v1: ObjectId | undefined; bootV1: ObjectId | undefined } {
  const { refs } = openImageRef(repository, "t").configStream;
  return { v1: refs.get("composefs.image.v1"), bootV1: refs.get("composefs.image.boot.v1") };
}
