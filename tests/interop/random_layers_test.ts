import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { FormatError } from "../../lib/base/mod.ts";
import { LayerTreeBuilder } from "../../lib/oci/layer_tree.ts";
import { readTarEntries } from "../../lib/tar/mod.ts";
import { type FileTree, findDirectory } from "../../lib/tree/mod.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { dumpTree } from "../helpers/layer.ts";
import { content, END, header, type HeaderFields, pax } from "../helpers/make_tar.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";

const IMAGES = 60;
const NAMES = ["a", "b", "c", "d", "\xff"];
const TOPS = ["usr", "etc", "run", "usr/lib", "."];
const decoder = new TextDecoder("latin1");

/** One random entry in a small name space, so that entries meet. */
function randomEntry(rng: Rng): { path: string; bytes: Buffer } {
  const parts = [rng.pick(TOPS)];
  while (rng.oneIn(2) && parts.length < 4) parts.push(rng.pick(NAMES));
  const path = `${parts.join("/")}/${rng.pick(NAMES)}`;
  const fields: HeaderFields = {
    name: path,
    mode: rng.below(0o10000),
    uid: rng.below(3),
    mtime: rng.below(1000),
  };
  const before = rng.oneIn(5)
    ? pax({
      mtime: `${rng.below(99)}.5`,
      "SCHILY.xattr.user.x": "1",
      "SCHILY.xattr.security.capability": "c",
    })
    : Buffer.alloc(0);
  const whiteout = (name: string) => header({ ...fields, name: `${parts.join("/")}/${name}` });
  switch (rng.below(10)) {
    case 0:
    case 1:
    case 2:
      return { path, bytes: Buffer.concat([before, header({ ...fields, type: "5" })]) };
    case 3:
      return { path, bytes: header({ ...fields, type: "2", link: "target" }) };
    case 4: {
      const link = `${rng.pick(TOPS)}/${rng.pick(NAMES)}`;
      return { path, bytes: header({ ...fields, type: "1", link }) };
    }
    case 5:
      return { path, bytes: header({ ...fields, type: "3", device: [1, 3] }) };
    case 6:
      return { path, bytes: whiteout(`.wh.${rng.pick(NAMES)}`) };
    case 7:
      return { path, bytes: whiteout(rng.oneIn(3) ? ".wh..wh..opq" : `.wh.${rng.pick(NAMES)}`) };
    default: {
      const data = "x".repeat(rng.below(60));
      const block = header({ ...fields, size: data.length });
      return { path, bytes: Buffer.concat([before, block, content(data)]) };
    }
  }
}

/** Whether the directory of a path exists; the reference makes none. */
function hasParent({ root }: FileTree, path: string): boolean {
  try {
    return findDirectory(root, "/" + path.slice(0, path.lastIndexOf("/"))) !== undefined;
  } catch {
    return false; // Something else is in the way.
  }
}

function apply(builder: LayerTreeBuilder, bytes: Uint8Array): boolean {
  try {
    builder.applyLayer(readTarEntries([{ type: "inline", bytes }]), "random");
    return true;
  } catch (error) {
    // What we refuse the reference refuses too; the fixtures hold such cases.
    if (!(error instanceof FormatError)) throw error;
    return false;
  }
}

/** Random layers that both sides accept, and the tree we make of them. */
function randomImage(rng: Rng): { layers: Buffer[]; dump: string } {
  const builder = new LayerTreeBuilder();
  const layers: Buffer[] = [];
  for (let count = 1 + rng.below(4); count > 0; count--) {
    const parts: Buffer[] = [];
    if (layers.length === 0) {
      for (const name of ["usr/", "usr/lib/", "etc/", "run/"]) {
        parts.push(header({ name, type: "5", mode: 0o755, mtime: 5 }));
        apply(builder, parts.at(-1)!);
      }
    }
    for (let i = rng.below(60); i > 0; i--) {
      const { path, bytes } = randomEntry(rng);
      if (hasParent(builder.tree, path) && apply(builder, bytes)) parts.push(bytes);
    }
    if (!builder.tree.root.entries.has("usr")) {
      // An opaque root took it, and the reference needs it.
      parts.push(header({ name: "usr/", type: "5", mode: 0o700, mtime: 6 }));
      apply(builder, parts.at(-1)!);
    }
    layers.push(Buffer.concat([...parts, END]));
  }
  return { layers, dump: dumpTree(builder.finish()) };
}

/** Writes an OCI layout with one image of plain layers, tag `t`. */
function writeLayout(dir: string, layers: readonly Buffer[]): void {
  Deno.mkdirSync(`${dir}/blobs/sha256`, { recursive: true });
  const blob = (bytes: Uint8Array, mediaType: string) => {
    const hex = createHash("sha256").update(bytes).digest("hex");
    Deno.writeFileSync(`${dir}/blobs/sha256/${hex}`, bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const descriptors = layers.map((layer) => blob(layer, "application/vnd.oci.image.layer.v1.tar"));
  const config = blob(
    json({
      architecture: "amd64",
      os: "linux",
      rootfs: { type: "layers", diff_ids: descriptors.map(({ digest }) => digest) },
    }),
    "application/vnd.oci.image.config.v1+json",
  );
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = blob(
    json({ schemaVersion: 2, mediaType, config, layers: descriptors }),
    mediaType,
  );
  const annotations = { "org.opencontainers.image.ref.name": "t" };
  Deno.writeFileSync(
    `${dir}/index.json`,
    json({
      schemaVersion: 2,
      manifests: [{ ...manifest, annotations }],
    }),
  );
  Deno.writeFileSync(`${dir}/oci-layout`, json({ imageLayoutVersion: "1.0.0" }));
}

testWith({
  name: `cfsctl makes the same trees of random layers (SEED=${seed()})`,
  needs: [needTool("cfsctl")],
  fn: async (t) => {
    const rng = new Rng(seed());
    using dir = new TempDir();
    const cfsctl = [tool("cfsctl"), "--repo", `${dir.path}/repo`];
    await runOk([...cfsctl, "init", "--insecure", "--algorithm", "fsverity-sha256-12"]);
    for (let i = 0; i < IMAGES; i++) {
      await t.step(`image ${i}`, async () => {
        const { layers, dump } = randomImage(rng);
        writeLayout(`${dir.path}/${i}`, layers);
        await runOk([...cfsctl, "oci", "pull", `oci:${dir.path}/${i}:t`, `i${i}`]);
        const { stdoutBytes } = await runOk([...cfsctl, "oci", "dump", `i${i}`]);
        assert.equal(dump, decoder.decode(stdoutBytes));
      });
    }
  },
});
