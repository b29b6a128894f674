/**
 * The tests that need real fs-verity. `verity_test.ts` runs this file in the virtual machine, all
 * in one boot; on a machine whose kernel has fs-verity, set `CFS_VERITY_DIR` to a directory on a
 * file system with it and run this file directly. Without that variable there is nothing to run.
 */
import assert from "node:assert/strict";
import { run, runOk } from "../helpers/run.ts";
import { tool } from "../helpers/tool.ts";
import { verityTest } from "./_verity_test.ts";
import "./_repository.ts";
import "./_mount.ts";
import "./_out.ts";

verityTest("the kernel measures what fsverity(1) computes, and the file cannot be changed", {
  tools: ["fsverity"],
  async fn(dir) {
    const path = dir.write("file", "x".repeat(10_000));
    await runOk([tool("fsverity"), "enable", path]);
    const measured = (await runOk([tool("fsverity"), "measure", path])).stdout;
    const computed = (await runOk([tool("fsverity"), "digest", path])).stdout;
    assert.match(measured, /^sha256:[0-9a-f]{64} /);
    assert.equal(measured, computed);
    await assert.rejects(Deno.writeTextFile(path, "y"), /not permitted|PermissionDenied/);
  },
});

verityTest("the reference makes a secure repository, mounts from it and protects its objects", {
  tools: ["cfsctl"],
  async fn(dir) {
    const repo = dir.join("repo");
    const cfsctl = (...args: string[]) => runOk([tool("cfsctl"), "--repo", repo, ...args]);
    dir.write("tree/usr/big", "content ".repeat(100));
    await cfsctl("init");
    const { stdout } = await cfsctl("create-image", dir.join("tree"), "refname");
    assert.match(stdout, /[0-9a-f]{64}/);
    Deno.mkdirSync(dir.join("mnt"));
    await cfsctl("mount", "refs/refname", dir.join("mnt"));
    assert.equal(await Deno.readTextFile(dir.join("mnt/usr/big")), "content ".repeat(100));
    const mounts = await Deno.readTextFile("/proc/self/mountinfo");
    assert.match(mounts, /verity=require/);
    const { stdout: objects } = await runOk(["find", `${repo}/objects`, "-type", "f"]);
    const object = objects.split("\n")[0]!;
    const append = await run(["sh", "-c", 'echo x >>"$0"', object]);
    assert.notEqual(append.code, 0);
  },
});
