import assert from "node:assert/strict";
import { needRoot, testWith } from "../helpers/needs.ts";
import { ROOT } from "../helpers/run.ts";
import { unpack } from "../helpers/tar.ts";
import { TempDir } from "../helpers/temp.ts";
import { call } from "./_call.ts";

interface Recorded {
  name: string;
  flags: string[];
  id_v1_sha256?: string;
  id_v2_sha256?: string;
  id_v1_sha512?: string;
  id_v2_sha512?: string;
  karg_default?: string;
  karg_insecure?: string;
  after_error?: string;
  create_image: string | { error: string };
}

const DIR = "fixtures/cli/transform";
const rows: Recorded[] = JSON.parse(Deno.readTextFileSync(`${ROOT}${DIR}/expected-0.9.4.json`));

/** Trees with a policy, whose files would have to be labelled. */
const NEED_LABELS = new Set([
  "selinux",
  "hardlinks-split",
  "hardlinks-kept-when-same-label",
  "config-symlink",
]);

async function makeTree(name: string, dir: TempDir): Promise<string> {
  const tree = dir.join(name);
  Deno.mkdirSync(tree);
  await unpack(`${DIR}/${name}.tar.gz`, tree);
  Deno.chmodSync(tree, 0o755);
  Deno.utimeSync(tree, 1700000000, 1700000000);
  return tree;
}

/** What a call printed, or the last line of its error. */
async function outcome(args: string[]): Promise<string> {
  const { code, stdout, stderr } = await call(args);
  if (code === 0) return stdout.trimEnd();
  return stderr.trimEnd().split("\n").at(-1)!.trim().replace(/^Error: /, "");
}

testWith({
  name: "boot images of directories have the reference's ids and kernel arguments",
  needs: [needRoot()],
  async fn(t) {
    assert.equal(rows.length, 14);
    for (const row of rows) {
      await t.step(row.name, async () => {
        using dir = new TempDir();
        const tree = await makeTree(row.name, dir);
        const { flags } = row;
        await call(["init", "--insecure", "--algorithm", "fsverity-sha256-12", dir.join("r")]);
        const create = ["--repo", dir.join("r"), "create-image", "--bootable", ...flags, tree];
        const compute = ["compute-id", "--bootable", ...flags, tree];
        if (NEED_LABELS.has(row.name)) {
          for (
            const args of [create, ["--no-repo", ...compute], ["--no-repo", "compute-karg", tree]]
          ) {
            assert.match(await outcome(args), /labelling is not supported yet$/);
          }
          return;
        }
        if (row.after_error !== undefined) {
          const { error } = row.create_image as { error: string };
          const reason = error.split("\n").at(-1)!.trim().replace(/^Error: /, "");
          assert.equal(await outcome(["--no-repo", ...compute]), reason);
          assert.equal(await outcome(create), reason);
          return;
        }
        for (const hash of ["sha256", "sha512"] as const) {
          for (const version of ["1", "2"] as const) {
            const args = ["--no-repo", "--hash", hash, "--erofs-version", version, ...compute];
            assert.equal(await outcome(args), row[`id_v${version}_${hash}`], `${hash} ${version}`);
          }
        }
        const karg = ["--no-repo", "--hash", "sha256", "compute-karg", ...flags, tree];
        assert.equal(await outcome(karg), row.karg_default);
        assert.equal(await outcome(["--insecure", ...karg]), row.karg_insecure);
        assert.equal(await outcome(create), row.create_image);
      });
    }
  },
});
