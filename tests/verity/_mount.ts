/** Mounts of secure repositories: fs-verity is required, and damage on the disk is noticed. */
import assert from "node:assert/strict";
import { ALGORITHMS, objectPath } from "../../lib/base/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { cfsOk, run, runOk } from "../helpers/run.ts";
import { tool } from "../helpers/tool.ts";
import { verityTest } from "./_verity_test.ts";

/** The block device that a directory is on. */
async function deviceOf(path: string): Promise<string> {
  const { stdout } = await runOk(["stat", "-c", "%d", path]);
  const number = Number(stdout);
  const target = `${Math.floor(number / 256)}:${number % 256}`;
  const line = Deno.readTextFileSync("/proc/self/mountinfo").split("\n")
    .map((text) => text.split(" ")).find((words) => words[2] === target);
  return line!.at(-2)!;
}

/** Changes a file's first bytes below the file system, where the kernel does not see it. */
async function corrupt(path: string): Promise<void> {
  await runOk(["sync"]);
  const { stdout } = await runOk([tool("filefrag"), "-b4096", "-v", path]);
  const block = /^\s*0:\s+0\.\.\s*\d+:\s+(\d+)\.\./m.exec(stdout)?.[1];
  assert.ok(block !== undefined, stdout);
  const device = await deviceOf(path);
  await runOk(
    ["dd", `of=${device}`, "bs=4096", `seek=${block}`, "conv=notrunc,fsync", "status=none"],
    { stdin: "damaged!" },
  );
  Deno.writeTextFileSync("/proc/sys/vm/drop_caches", "3");
}

const CONTENT = "content ".repeat(3000);

verityTest("a mounted image of a secure repository reads right, and damage is an error", {
  tools: ["cfsctl", "filefrag"],
  async fn(dir) {
    const path = dir.join("r");
    initRepository(path, { algorithm: ALGORITHMS.sha256 });
    dir.write("tree/usr/file", CONTENT);
    dir.write("tree/usr/other", "other ".repeat(3000));
    await runOk([tool("cfsctl"), "--repo", path, "create-image", dir.join("tree"), "n"]);
    Deno.mkdirSync(dir.join("mnt"));
    await cfsOk(["--repo", path, "mount", "n", dir.join("mnt")], { timeout: 120_000 });
    assert.match(Deno.readTextFileSync("/proc/self/mountinfo"), /verity=require/);
    assert.equal(Deno.readTextFileSync(dir.join("mnt/usr/file")), CONTENT);
    assert.equal(Deno.readTextFileSync(dir.join("mnt/usr/other")).length, 18_000);

    using repository = Repository.open(path);
    const image = repository.readImage(repository.findImage("n"));
    assert.ok(image !== undefined);
    const object = repository.imageObjects("n").find((id) =>
      Deno.readTextFileSync(`${path}/objects/${objectPath(id)}`) === CONTENT
    )!;
    await corrupt(`${path}/objects/${objectPath(object)}`);
    const read = await run(["cat", dir.join("mnt/usr/file")]);
    assert.equal(read.code, 1);
    assert.match(read.stderr, /Input\/output error/);
    assert.equal(Deno.readTextFileSync(dir.join("mnt/usr/other")).length, 18_000);
    // Reading the object itself fails as well, with the call that failed.
    assert.throws(() => repository.objects.read(object), /Input\/output error \(os error 5\)/);
    await runOk(["umount", dir.join("mnt")]);
  },
});

verityTest("an object without fs-verity cannot be read through a mount", {
  tools: ["cfsctl"],
  async fn(dir) {
    const path = dir.join("r");
    initRepository(path, { algorithm: ALGORITHMS.sha256 });
    dir.write("tree/usr/file", CONTENT);
    await runOk([tool("cfsctl"), "--repo", path, "create-image", dir.join("tree"), "n"]);
    using repository = Repository.open(path);
    const [object] = repository.imageObjects("n");
    const file = `${path}/objects/${objectPath(object!)}`;
    Deno.removeSync(file);
    Deno.writeTextFileSync(file, CONTENT);
    Deno.mkdirSync(dir.join("mnt"));
    await cfsOk(["--repo", path, "mount", "n", dir.join("mnt")], { timeout: 120_000 });
    const read = await run(["cat", dir.join("mnt/usr/file")]);
    assert.equal(read.code, 1);
    assert.match(read.stderr, /Input\/output error/);
    await runOk(["umount", dir.join("mnt")]);
  },
});
