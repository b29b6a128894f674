import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { ALGORITHMS, FormatError, nodeHash, nodeZstd, type ObjectId } from "../../lib/base/mod.ts";
import { formatDumpfile } from "../../lib/dumpfile/mod.ts";
import { writeImage } from "../../lib/erofs/mod.ts";
import { objectIdOf } from "../../lib/fsverity/mod.ts";
import { LayerTreeBuilder } from "../../lib/oci/layer_tree.ts";
import { openSplitstream } from "../../lib/splitstream/mod.ts";
import { readLayerEntries, type TarEntry, type TarItem } from "../../lib/tar/mod.ts";
import { type FileTree, NO_XATTRS, type Stat } from "../../lib/tree/mod.ts";
import { dumpTree, importLayer, tarFiles } from "../helpers/layer.ts";
import { ROOT } from "../helpers/run.ts";

const FIXTURES = `${ROOT}fixtures/oci/layers/`;
const algorithm = ALGORITHMS.sha256;
const ID = "71e6e2a5c81cd4f8bcd215ed97105fb270636ddde4669b4e0061f5a6ee2c5cf0";
const FILE = `71/${ID.slice(2)} - ${ID}`;

interface Row {
  diff_ids: string[];
  pull_exit: number;
  stderr?: string;
  dump?: string;
  erofs_v1?: string;
  erofs_v2?: string;
  erofs_v1_keep_user_xattrs?: string;
  erofs_v2_keep_user_xattrs?: string;
}

/** What ours gives where the reference fails. */
const OURS: Record<string, string> = {
  whiteout_missing_parent: "/ 0 40755 3 0 0 0 100.0 - - -\n/usr 0 40755 2 0 0 0 100.0 - - -\n",
  implicit_parent: "/ 0 40755 3 0 0 0 100.0 - - -\n/usr 0 40755 3 0 0 0 100.0 - - -\n" +
    "/usr/x 0 40755 3 0 0 0 0.0 - - -\n/usr/x/y 0 40755 2 0 0 0 0.0 - - -\n" +
    `/usr/x/y/z 100 100644 1 0 0 0 0.0 ${FILE}\n`,
  no_usr: "/ 0 40755 3 0 0 0 0.0 - - -\n/etc 0 40755 2 0 0 0 0.0 - - -\n" +
    "/etc/a 1 100644 1 0 0 0 0.0 - x -\n",
  zero_layers: "/ 0 40755 2 0 0 0 0.0 - - -\n",
  run_file: `/ 0 40755 3 0 0 0 100.0 - - -\n/run 100 100644 1 0 0 0 0.0 ${FILE}\n` +
    "/usr 0 40755 2 0 0 0 100.0 - - -\n",
  usr_is_symlink: "/ 0 40755 3 0 0 0 0.0 - - -\n/real 0 40755 2 0 0 0 0.0 - - -\n" +
    "/usr 4 120777 1 0 0 0 0.0 real - -\n",
  usr_is_file: "/ 0 40755 2 0 0 0 0.0 - - -\n/usr 1 100644 1 0 0 0 0.0 - x -\n",
};

/** Trees that the reference writes as images which no kernel or reader takes; ours refuses. */
const UNMOUNTABLE: Record<string, readonly number[]> = {
  symlink_empty: [1, 2],
  symlink_1025: [2],
  name_256: [1, 2],
};

/** Messages of faults, without the layer and the entry. */
const FAULTS: Record<string, string> = {
  through_symlink: 'Directory entry "lib" is not a subdirectory',
  hardlink_to_removed: 'Directory entry "a" does not exist',
  hardlink_to_dir: 'Directory entry "d" is a directory',
  hardlink_missing: 'Directory entry "nope" does not exist',
  hardlink_forward: 'Directory entry "a" does not exist',
  root_as_file: 'Unpacking layer tar: filename "/." must be a directory',
  dotdot: 'Invalid filename "/usr/.."',
  dotdot_end_dir: 'Invalid filename "/usr/.."',
  unknown_type: "Unsupported entry type Other(86)",
};

const rows: Record<string, Row> = JSON.parse(Deno.readTextFileSync(`${FIXTURES}expected.json`));

/** The uncompressed layers of the one image in a layout. */
function layers(name: string): { diffId: string; tar: Uint8Array }[] {
  const files = tarFiles(Deno.readFileSync(`${FIXTURES}${name}.oci.tar`));
  const get = (path: string) => files.get(path) ?? assert.fail(`${path} is not in ${name}`);
  const json = (digest: string) =>
    JSON.parse(new TextDecoder().decode(get(`/blobs/${digest.replace(":", "/")}`)));
  const index = JSON.parse(new TextDecoder().decode(get("/index.json")));
  const manifest = json(index.manifests[0].digest);
  const config = json(manifest.config.digest);
  return manifest.layers.map((layer: { digest: string }, i: number) => ({
    diffId: config.rootfs.diff_ids[i],
    tar: gunzipSync(get(`/blobs/${layer.digest.replace(":", "/")}`)),
  }));
}

function build(name: string, warnings: string[] = []): LayerTreeBuilder {
  const builder = new LayerTreeBuilder({ warning: (text) => warnings.push(text) });
  for (const { diffId, tar } of layers(name)) {
    const { file } = importLayer(tar, { algorithm });
    const entries = readLayerEntries(openSplitstream(file, { algorithm, codec: nodeZstd }));
    builder.applyLayer(entries, diffId);
  }
  return builder;
}

function imageId(tree: FileTree, version: 1 | 2): ObjectId {
  return objectIdOf(writeImage(tree, { version, hash: "sha256" }), {
    algorithm,
    provider: nodeHash,
  });
}

Deno.test("LayerTreeBuilder gives the reference's trees and images", async (t) => {
  for (const [name, row] of Object.entries(rows)) {
    await t.step(name, () => {
      const fault = FAULTS[name];
      if (fault !== undefined) {
        assert.ok(row.pull_exit !== 0 || name === "dotdot_end_dir");
        if (name !== "dotdot_end_dir") assert.ok(row.stderr!.includes(fault));
        assert.throws(() => build(name), (error) => {
          assert.ok(error instanceof FormatError, String(error));
          const [whole, message] = [error.message, fault];
          assert.ok(whole === message || whole.endsWith(`: ${message}`), whole);
          return true;
        });
        return;
      }
      assert.deepEqual(layers(name).map(({ diffId }) => diffId), row.diff_ids);
      const text = dumpTree(build(name).finish());
      assert.equal(text, row.pull_exit === 0 ? row.dump : OURS[name]);
      assert.equal([...formatDumpfile(build(name).finish())].join(""), text);
      for (const version of [1, 2] as const) {
        for (const xattrs of ["allowlist-only", "keep-user-xattrs"] as const) {
          const tree = build(name).finish({ xattrs });
          if (UNMOUNTABLE[name]?.includes(version)) {
            assert.throws(() => imageId(tree, version), FormatError);
            continue;
          }
          const id = imageId(tree, version);
          if (row.pull_exit !== 0) {
            assert.match(id, /^[0-9a-f]{64}$/);
            continue;
          }
          const plain = row[`erofs_v${version}`];
          const user = row[`erofs_v${version}_keep_user_xattrs`] ?? plain;
          assert.equal(id, xattrs === "allowlist-only" ? plain : user);
        }
      }
      if (row.dump !== undefined) {
        const user = dumpTree(build(name).finish({ xattrs: "keep-user-xattrs" }));
        assert.equal(user.replaceAll(/ user\.\S*/g, ""), text);
        assert.equal(user !== text, name === "xattr_filter");
      }
    });
  }
});

const STAT: Stat = { mode: 0o755, uid: 0, gid: 0, mtimeSec: 7n, mtimeNsec: 0, xattrs: NO_XATTRS };

function entry(path: string, item: TarItem): TarEntry {
  return { path, stat: STAT, item };
}

function directory(path: string): TarEntry {
  return entry(path, { type: "directory" });
}

function file(path: string): TarEntry {
  return entry(path, { type: "external", digest: ID as ObjectId, size: 100 });
}

Deno.test("LayerTreeBuilder warns when a whiteout removes what its own layer added", async (t) => {
  const cases: { name: string; first: TarEntry[]; second: TarEntry[]; warnings: string[] }[] = [
    {
      name: "whiteout of a file of the layer",
      first: [directory("/usr")],
      second: [file("/usr/a"), file("/usr/.wh.a")],
      warnings: ['Layer two: whiteout "/usr/.wh.a" removes "a" added by the same layer'],
    },
    {
      name: "whiteout of a file of an earlier layer",
      first: [directory("/usr"), file("/usr/a")],
      second: [file("/usr/.wh.a"), file("/usr/a")],
      warnings: [],
    },
    {
      name: "whiteout of a directory the layer added to",
      first: [directory("/usr"), directory("/usr/d"), file("/usr/d/x")],
      second: [file("/usr/d/y"), file("/usr/.wh.d")],
      warnings: ['Layer two: whiteout "/usr/.wh.d" removes "d" added by the same layer'],
    },
    {
      name: "opaque directory before and after the layer's files",
      first: [directory("/usr"), file("/usr/a")],
      second: [
        directory("/usr"),
        file("/usr/.wh..wh..opq"),
        file("/usr/b"),
        file("/usr/c"),
        file("/usr/.wh..wh..opq"),
      ],
      warnings: [
        'Layer two: whiteout "/usr/.wh..wh..opq" removes "b" and 1 more added by the same layer',
      ],
    },
    {
      name: "a way to a whiteout is not an addition",
      first: [directory("/usr"), directory("/usr/d"), file("/usr/d/x")],
      second: [file("/usr/d/.wh.x"), file("/usr/.wh.d")],
      warnings: [],
    },
    {
      name: "an addition after a whiteout in the same directory",
      first: [directory("/usr"), directory("/usr/d"), file("/usr/d/x")],
      second: [file("/usr/d/.wh.x"), file("/usr/d/y"), file("/usr/.wh.d")],
      warnings: ['Layer two: whiteout "/usr/.wh.d" removes "d" added by the same layer'],
    },
  ];
  for (const { name, first, second, warnings } of cases) {
    await t.step(name, () => {
      const found: string[] = [];
      const builder = new LayerTreeBuilder({ warning: (text) => found.push(text) });
      builder.applyLayer(first, "one");
      builder.applyLayer(second, "two");
      assert.deepEqual(found, warnings);
    });
  }
});

Deno.test("LayerTreeBuilder does not write into directories that are gone", () => {
  const builder = new LayerTreeBuilder();
  builder.applyLayer([
    directory("/usr"),
    directory("/usr/d"),
    file("/usr/d/a"),
    file("/usr/.wh.d"),
    file("/usr/d/b"),
    file("/usr/d"),
    file("/usr/.wh.d"),
    file("/usr/d/c"),
  ], "one");
  const text = dumpTree(builder.finish());
  assert.deepEqual(text.trim().split("\n").map((line) => line.split(" ")[0]), [
    "/",
    "/usr",
    "/usr/d",
    "/usr/d/c",
  ]);
});

Deno.test("LayerTreeBuilder falls back without a usable /usr", async (t) => {
  const root: Stat = { ...STAT, mode: 0o700, uid: 5, mtimeSec: 9n };
  const cases: { name: string; entries: TarEntry[]; lines: string[] }[] = [
    {
      name: "the root entry of a layer is used, and /run takes its time",
      entries: [{ path: "", stat: root, item: { type: "directory" } }, file("/run/x")],
      lines: ["/ 0 40700 3 5 0 0 9.0 - - -", "/run 0 40755 2 0 0 0 9.0 - - -"],
    },
    {
      name: "a /run that is no directory stays, and / still takes the metadata of /usr",
      entries: [{ path: "/usr", stat: root, item: { type: "directory" } }, file("/run")],
      lines: [
        "/ 0 40700 3 5 0 0 9.0 - - -",
        `/run 100 100755 1 0 0 0 7.0 ${FILE}`,
        "/usr 0 40700 2 5 0 0 9.0 - - -",
      ],
    },
  ];
  for (const { name, entries, lines } of cases) {
    await t.step(name, () => {
      const builder = new LayerTreeBuilder();
      builder.applyLayer(entries, "one");
      assert.equal(dumpTree(builder.finish()), lines.join("\n") + "\n");
    });
  }
});

Deno.test("LayerTreeBuilder refuses hostile paths", async (t) => {
  const cases: [string, string, RegExp][] = [
    ["NUL in the name", "/usr/a\0b", /NUL/],
    ["NUL in a directory", "/us\0r/a", /NUL/],
    ["too deep", "/a".repeat(5000), /more than 4096 components/],
    [".. in front", "/../a", /Invalid filename "\/\.\."/],
    [".. at the end", "/usr/..", /Invalid filename "\/usr\/\.\."/],
  ];
  for (const [name, path, message] of cases) {
    await t.step(name, () => {
      const builder = new LayerTreeBuilder();
      assert.throws(
        () => builder.applyLayer([file(path)], "sha256:00"),
        (error) =>
          error instanceof FormatError && message.test(error.message) &&
          error.message.startsWith("Error unpacking layer sha256:00: entry "),
      );
    });
  }
});
