import assert from "node:assert/strict";
import { objectPath } from "../../lib/base/mod.ts";
import {
  checkStructure,
  listEntries,
  listImageObjects,
  openImage,
  readTree,
  rewriteImage,
} from "../../lib/erofs/mod.ts";
import { fixtureNames } from "../erofs/_fixtures.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { ROOT, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";

/** Trees with empty files that look like escaped whiteouts: both sides read them as whiteouts. */
const MARKED = new Set(["rnd7.sha256", "rnd16.sha256", "xattr-kinds.sha256"]);
/** A tree with files that have content and that mark: the reference reads whiteouts, ours files. */
const KEPT = new Set(["rnd11.sha256"]);
/** Trees with times before 1970, which the reference writes but does not read. */
const UNREADABLE = /^rnd\d+n\./;

testWith({
  name: "images that the reference writes are listed as it lists them, and written the same",
  needs: [needTool("mkcomposefs"), needTool("composefs-info")],
  async fn(t) {
    using dir = new TempDir();
    const names = fixtureNames("trees/", ".sha256.dump").map((name) => `${name}.sha256`);
    for (const name of names.filter((name) => !UNREADABLE.test(name))) {
      await t.step(name, async () => {
        for (const version of [0, 1]) {
          const path = `${dir.path}/${name}.${version}.img`;
          const dump = `${ROOT}fixtures/erofs/trees/${name}.dump`;
          await runOk([
            tool("mkcomposefs"),
            "--from-file",
            `--min-version=${version}`,
            dump,
            path,
          ]);
          const bytes = Deno.readFileSync(path);
          assert.deepEqual(checkStructure(openImage(bytes)), []);
          const tree = readTree(openImage(bytes));
          if (!MARKED.has(name)) assert.deepEqual(rewriteImage(bytes), bytes);
          const ls = await runOk([tool("composefs-info"), "ls", path]);
          const stubs = /^\/[0-9a-f]{2}$/;
          // The reference leaves out whiteouts of the root whose names are two hex digits.
          const ours = [...listEntries(tree)].filter((line) => {
            const node = tree.root.entries.get(line.slice(1, -1));
            return !(stubs.test(line.trimEnd()) && node?.kind === "leaf" && node.isWhiteout);
          });
          const compare = KEPT.has(name) ? assert.notEqual : assert.equal;
          compare(ours.join(""), ls.stdout);
          const objects = await runOk([tool("composefs-info"), "objects", path]);
          const ids = listImageObjects(bytes).map((id) => `${objectPath(id)}\n`);
          compare(ids.join(""), objects.stdout);
        }
      });
    }
  },
});
