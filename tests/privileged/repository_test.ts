import assert from "node:assert/strict";
import { ALGORITHMS, objectPath, PolicyError } from "../../lib/base/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { AT_FDCWD, ErrnoError, openDir, openTmpfile } from "../../ffi/mod.ts";
import { need, needRoot, needTool, testWith } from "../helpers/needs.ts";
import { run, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { listTree, unpackRepository } from "../repository/_fixtures.ts";
import { makeDiskStore } from "../suites/disk_store.ts";
import { testObjectStore } from "../suites/object_store.ts";

/** Mounts a directory read-only on itself; unmounted with the temporary directory. */
async function makeReadOnly(path: string): Promise<void> {
  await runOk(["mount", "--bind", path, path]);
  await runOk(["mount", "-o", "remount,bind,ro", path]);
}

testWith({
  name: "a repository on a read-only mount can be read and checked, not written",
  needs: [needRoot()],
  async fn() {
    using dir = new TempDir();
    const path = await unpackRepository("oci256", dir);
    await makeReadOnly(path);
    using repository = Repository.open(path);
    assert.ok((await repository.fsck()).ok);
    assert.equal(repository.gc({ dryRun: true }).objectsRemoved, 2);
    assert.equal(repository.listStreams().length, 3);
    using writer = repository.newStream(1n);
    const stream = writer.finish();
    const writes = [
      () => repository.gc(),
      () => repository.writeStream("s", stream),
      () => repository.writeImage(stream, { force: true }),
      () => repository.removeRef("streams", "oci/foo%2Fbar:1%252 x"),
      () => repository.assertWritable(),
    ];
    for (const write of writes) {
      assert.throws(write, (error) => {
        assert.ok(error instanceof PolicyError);
        assert.equal(error.message, "Repository is not writable: read-only file system");
        return true;
      });
    }
  },
});

testWith({
  name: "an old repository on a read-only mount is read without being upgraded",
  needs: [needRoot()],
  async fn() {
    using dir = new TempDir();
    const path = await unpackRepository("old256", dir);
    await makeReadOnly(path);
    const before = listTree(path);
    const notices: string[] = [];
    using repository = Repository.open(path, { notice: (text) => notices.push(text) });
    assert.equal(repository.listImages().length, 2);
    assert.deepEqual(repository.formats, [1]);
    const report = await repository.fsck();
    assert.deepEqual([report.ok, report.has_metadata], [true, false]);
    assert.deepEqual(notices, [
      `${path} has no meta.json; taken for a repository with fsverity-sha256-12, EROFS format 1`,
    ]);
    assert.deepEqual(listTree(path), before);
  },
});

testWith({
  name: "without the right to write, reading works and writing says why",
  needs: [needRoot(), needTool("setpriv")],
  async fn() {
    using dir = new TempDir();
    const path = await unpackRepository("old256", dir);
    Deno.chmodSync(dir.path, 0o755);
    Deno.chmodSync(path, 0o755);
    const program = `
      import { Repository } from ${
      JSON.stringify(new URL("../../lib/repository/mod.ts", import.meta.url).href)
    };
      using repository = Repository.open(${JSON.stringify(path)});
      console.log(repository.listImages().length);
      try { repository.gc(); } catch (error) { console.log(error.message, String(error.cause)); }
    `;
    // As another user: Deno reads its own cache through the file system, so it stays readable.
    const result = await run([
      tool("setpriv"),
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      Deno.execPath(),
      "eval",
      "--no-lock",
      program,
    ], { env: { DENO_DIR: dir.join("deno"), HOME: dir.path, DENO_NO_UPDATE_CHECK: "1" } });
    assert.match(
      result.stdout,
      /^2\nRepository is not writable .*Permission denied/,
      result.stderr,
    );
  },
});

/** Runs `body` on a file system that has no unnamed temporary files. */
async function withoutTmpfile(body: (path: string) => Promise<void>): Promise<void> {
  using dir = new TempDir();
  const mounted = dir.join("mounted");
  Deno.mkdirSync(dir.join("source"));
  Deno.mkdirSync(mounted);
  // OSTree's small FUSE file system knows nothing of O_TMPFILE nor of renameat2's flags.
  await runOk([tool("rofiles-fuse"), dir.join("source"), mounted]);
  using root = openDir(AT_FDCWD, mounted);
  assert.throws(() => openTmpfile(root), (error) => error instanceof ErrnoError);
  await body(mounted);
}

const FUSE = [
  needRoot(),
  needTool("rofiles-fuse"),
  needTool("fusermount"),
  need(exists("/dev/fuse"), "/dev/fuse"),
];

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

testWith({
  name: "object store on a file system without unnamed temporary files",
  needs: FUSE,
  async fn(t) {
    await withoutTmpfile((path) =>
      testObjectStore(t, {
        algorithm: ALGORITHMS.sha256,
        make: (algorithm) => makeDiskStore(algorithm, { dir: path }),
      })
    );
  },
});

testWith({
  name: "a repository on a file system without unnamed temporary files",
  needs: FUSE,
  async fn() {
    await withoutTmpfile(async (path) => {
      initRepository(`${path}/r`, { insecure: true });
      using repository = Repository.open(`${path}/r`);
      const { id } = repository.objects.write(new Uint8Array(5000));
      using writer = repository.newStream(1n);
      writer.addExternal(id, 5000);
      const stream = repository.writeStream("s", writer.finish(), { ref: "a/b" });
      assert.deepEqual(listTree(`${path}/r`), [
        "meta.json",
        "objects",
        ...[id, stream].map(objectPath).sort().flatMap((object) => [
          `objects/${object.slice(0, 2)}`,
          `objects/${object}`,
        ]),
        "streams",
        "streams/refs",
        "streams/refs/a",
        "streams/refs/a/b -> ../../s",
        `streams/s -> ../objects/${objectPath(stream)}`,
      ]);
      assert.ok((await repository.fsck()).ok);
      assert.equal(repository.gc().objectsRemoved, 0);
    });
  },
});
