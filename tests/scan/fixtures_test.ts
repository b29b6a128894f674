import assert from "node:assert/strict";
import { ALGORITHMS, type HashName, nodeHash } from "../../lib/base/mod.ts";
import { formatDumpfile } from "../../lib/dumpfile/mod.ts";
import { type ErofsVersion, writeImage } from "../../lib/erofs/mod.ts";
import { objectIdOf } from "../../lib/fsverity/mod.ts";
import { scanDirectory } from "../../lib/scan/mod.ts";
import {
  bootableTransform,
  containerRootTransform,
  dropXattrs,
  type FileTree,
  filterXattrs,
  keepUserXattrs,
  parseXattrMode,
  skipDevices,
  useEpoch,
} from "../../lib/tree/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { needRoot, testWith } from "../helpers/needs.ts";
import { ROOT } from "../helpers/run.ts";
import { unpack } from "../helpers/tar.ts";
import { TempDir } from "../helpers/temp.ts";

loadNative();

const FIXTURES = `${ROOT}fixtures/erofs/scan/`;

/** Applies the options of the reference's commands. */
function applyCfsctl(tree: FileTree, options: string[]): void {
  if (!options.includes("--no-propagate-usr-to-root")) {
    const at = options.indexOf("--xattrs");
    containerRootTransform(tree, at < 0 ? {} : { xattrs: parseXattrMode(options[at + 1]!) });
  }
  if (!options.includes("--bootable")) return;
  // The fixtures are older than the rule that takes the nanoseconds as well.
  bootableTransform(tree, { nanoseconds: false });
  // Without a policy in the tree relabelling takes all labels away.
  filterXattrs(tree, (name) => name !== "security.selinux");
}

/** Applies the options of `mkcomposefs`. */
function applyMkcomposefs(tree: FileTree, options: string[]): void {
  if (options.includes("--skip-xattrs")) dropXattrs(tree);
  if (options.includes("--user-xattrs")) keepUserXattrs(tree);
  if (options.includes("--use-epoch")) useEpoch(tree);
  if (options.includes("--skip-devices")) skipDevices(tree);
}

testWith({
  name: "scanDirectory() gives the reference's digests for the hand-made tree",
  needs: [needRoot()],
  fn: async (t) => {
    using dir = new TempDir();
    await unpack(`${FIXTURES}hand.tar.gz`, dir.path);
    const rows = (await Deno.readTextFile(`${FIXTURES}expected.tsv`)).trimEnd().split("\n");
    assert.equal(rows.length, 37);
    for (const row of rows) {
      const [command, algorithm, version, digest] = row.split("\t") as [
        string,
        HashName,
        string,
        string,
      ];
      await t.step(`${command} ${algorithm} ${version}`, async () => {
        const mkcomposefs = command.startsWith("mkcomposefs");
        const options = command.split(" ").slice(mkcomposefs ? 1 : 2);
        const { tree, warnings } = await scanDirectory(dir.path, {
          hash: algorithm,
          hardlinks: !mkcomposefs || options.includes("--hardlinks"),
        });
        assert.deepEqual(warnings, []);
        (mkcomposefs ? applyMkcomposefs : applyCfsctl)(tree, options);
        const wanted = mkcomposefs ? (options.includes("--min-version=1") ? 1 : 0) : +version;
        const image = writeImage(tree, { hash: algorithm, version: wanted as ErofsVersion });
        const id = objectIdOf(image, { algorithm: ALGORITHMS[algorithm], provider: nodeHash });
        assert.equal(id, digest);
      });
    }
  },
});

const dumps: { file: string; options: string[] }[] = [
  { file: "x.dump", options: [] },
  { file: "xnopropagateusrtoroot.dump", options: ["--no-propagate-usr-to-root"] },
  { file: "xxattrskeepuserxattrs.dump", options: ["--xattrs", "keep-user-xattrs"] },
  { file: "xbootable.dump", options: ["--bootable"] },
  {
    file: "xbootablenopropagateusrtoroot.dump",
    options: ["--bootable", "--no-propagate-usr-to-root"],
  },
];

testWith({
  name: "scanDirectory() gives the reference's dumpfiles for the hand-made tree",
  needs: [needRoot()],
  fn: async (t) => {
    using dir = new TempDir();
    await unpack(`${FIXTURES}hand.tar.gz`, dir.path);
    for (const { file, options } of dumps) {
      await t.step(file, async () => {
        const { tree } = await scanDirectory(dir.path, { hash: "sha256" });
        applyCfsctl(tree, options);
        assert.equal([...formatDumpfile(tree)].join(""), await Deno.readTextFile(FIXTURES + file));
      });
    }
  },
});
