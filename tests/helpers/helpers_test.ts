import assert from "node:assert/strict";
import { LoopFs } from "./loop_fs.ts";
import { needRoot, needTool, testWith } from "./needs.ts";
import { run, runOk } from "./run.ts";
import { unpack } from "./tar.ts";
import { mountsBelow, TempDir } from "./temp.ts";
import { findTool, present } from "./tool.ts";

Deno.test("run() gives output, exit code and measurements", async () => {
  const result = await run(["sh", "-c", 'cat; echo "$GREETING" >&2; exit 3'], {
    stdin: "in",
    env: { GREETING: "hello" },
  });
  assert.deepEqual([result.code, result.stdout, result.stderr, result.timedOut], [
    3,
    "in",
    "hello\n",
    false,
  ]);
});

Deno.test("run() survives a process that does not read its input", async () => {
  const result = await run(["true"], { stdin: new Uint8Array(1 << 20) });
  assert.equal(result.code, 0);
});

Deno.test("run() ends a process and its children when the time is up", async () => {
  const result = await run(["sh", "-c", "sleep 20; echo late"], { timeout: 200 });
  assert.ok(result.timedOut);
  assert.notEqual(result.code, 0);
  assert.ok(result.wall < 5000);
  await assert.rejects(runOk(["sleep", "20"], { timeout: 100 }), /ran out of time/);
});

testWith({
  name: "run() measures peak memory",
  needs: [needTool("time"), needTool("dd")],
  async fn() {
    const result = await run(["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"], {
      rss: true,
    });
    assert.ok(result.rssKiB! > 64 * 1024 && result.rssKiB! < 128 * 1024, `${result.rssKiB}`);
    assert.equal((await run(["false"], { rss: true })).code, 1);
  },
});

Deno.test("findTool() finds what is there and only that", () => {
  assert.ok(present("sh"));
  assert.equal(findTool("cfs-no-such-program"), undefined);
});

testWith({
  name: "findTool() gives the reference's other personalities",
  needs: [needTool("cfsctl")],
  async fn() {
    const { stdout } = await runOk([findTool("mkcomposefs")!, "--help"]);
    assert.match(stdout, /--from-file/);
  },
});

Deno.test("TempDir is removed with what is in it", () => {
  let path: string;
  {
    using dir = new TempDir();
    path = dir.path;
    assert.equal(Deno.readTextFileSync(dir.write("a/b", "text")), "text");
  }
  assert.throws(() => Deno.statSync(path), Deno.errors.NotFound);
});

Deno.test("unpack() restores what an archive holds", async () => {
  using dir = new TempDir();
  dir.write("in/file", "text");
  Deno.chmodSync(dir.join("in/file"), 0o640);
  Deno.symlinkSync("file", dir.join("in/link"));
  Deno.mkdirSync(dir.join("out"));
  await runOk(["tar", "-C", dir.join("in"), "-czf", dir.join("a.tar.gz"), "."]);
  await unpack(dir.join("a.tar.gz"), dir.join("out"));
  assert.equal(Deno.readLinkSync(dir.join("out/link")), "file");
  assert.equal(Deno.statSync(dir.join("out/file")).mode! & 0o777, 0o640);
});

for (const type of ["xfs", "ext4", "ext4-verity", "btrfs"] as const) {
  testWith({
    name: `LoopFs mounts ${type} and takes it down`,
    needs: [needRoot(), needTool(`mkfs.${type.replace("-verity", "")}`)],
    async fn() {
      let path: string;
      {
        using fs = new LoopFs(type);
        path = fs.path;
        assert.deepEqual(mountsBelow(path), [path]);
        Deno.writeTextFileSync(fs.join("a"), "text");
        const reflink = await run(["cp", "--reflink=always", fs.join("a"), fs.join("b")]);
        assert.equal(reflink.code === 0, type === "xfs" || type === "btrfs", reflink.stderr);
      }
      assert.deepEqual(mountsBelow(path), []);
      assert.throws(() => Deno.statSync(path), Deno.errors.NotFound);
    },
  });
}
