/** Commits on real file systems: shared blocks, and mounts with readable attributes. */
import assert from "node:assert/strict";
import { exportCommit } from "../../lib/ostree/mod.ts";
import { setXattr } from "../../ffi/mod.ts";
import { call } from "../cli/_call.ts";
import { LoopFs } from "../helpers/loop_fs.ts";
import { needFileSystem, needRoot, needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { newRepository, pullFrom } from "../ostree/_local.ts";

for (const type of ["xfs", "btrfs"] as const) {
  testWith({
    name: `Files are pulled and exported without copying them on ${type}`,
    needs: [needRoot(), needFileSystem(type), needTool(`mkfs.${type}`), needTool("ostree")],
    fn: async () => {
      using fs = new LoopFs(type);
      using dir = new TempDir({ dir: fs.path });
      dir.write("tree/large", new Uint8Array(5_000_000).fill(7));
      dir.write("tree/middle", new Uint8Array(9_000).fill(8));
      dir.write("tree/small", "inline");
      Deno.symlinkSync("large", dir.join("tree", "link"));
      const repo = dir.join("ostree");
      await runOk(["ostree", "init", `--repo=${repo}`, "--mode=bare"]);
      await runOk(["ostree", "commit", `--repo=${repo}`, "-b", "main", dir.join("tree")]);
      using repository = newRepository(dir);
      const { stats, commit, stream } = await pullFrom(repository, repo, { reference: "main" });
      assert.equal(stats.cloned, 2);
      assert.equal(stats.copied, 0);
      assert.equal(stats.bytesStored, 0);
      const out = dir.join("out");
      await runOk(["ostree", "init", `--repo=${out}`, "--mode=bare-user"]);
      const exported = await exportCommit(repository, commit, { path: out, reference: "main" });
      assert.equal(exported.cloned, 2);
      await runOk(["ostree", "fsck", `--repo=${out}`]);
      using other = newRepository(dir);
      const again = await pullFrom(other, out, { reference: "main" });
      assert.equal(again.stats.cloned, 2);
      assert.equal(again.stream, stream);
    },
  });
}

testWith({
  name: "A mounted commit has the attributes that its files had",
  needs: [
    needRoot(),
    needFileSystem("erofs"),
    needFileSystem("overlay"),
    needTool("ostree"),
    needTool("getfattr"),
  ],
  fn: async () => {
    using dir = new TempDir({ on: "disk" });
    const file = dir.write(
      "tree/dir/file",
      "content that is long enough to be an object".repeat(9),
    );
    setXattr(file, "user.test", "value");
    setXattr(file, "security.capability", "\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    const repo = dir.join("ostree");
    await runOk(["ostree", "init", `--repo=${repo}`, "--mode=bare"]);
    await runOk(["ostree", "commit", `--repo=${repo}`, "-b", "main", dir.join("tree")]);
    const options = ["--repo", dir.join("r")];
    await call([...options, "init", "--insecure"]);
    const pulled = await call([...options, "ostree", "pull-local", repo, "main"]);
    assert.equal(pulled.code, 0, pulled.stderr);
    const mountpoint = dir.join("mnt");
    Deno.mkdirSync(mountpoint);
    const mounted = await call([...options, "ostree", "mount", "main", mountpoint]);
    assert.equal(mounted.code, 0, mounted.stderr);
    const { stdout } = await runOk([
      "getfattr",
      "--absolute-names",
      "--match=-",
      "--dump",
      `${mountpoint}/dir/file`,
    ]);
    assert.match(stdout, /^user\.test="value"$/m);
    assert.match(stdout, /^security\.capability=/m);
    assert.equal(Deno.readTextFileSync(`${mountpoint}/dir/file`), Deno.readTextFileSync(file));
  },
});
