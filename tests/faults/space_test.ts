import assert from "node:assert/strict";
import { pullImage } from "../../lib/oci/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { ErrnoError, isErrno } from "../../ffi/mod.ts";
import "../helpers/libraries.ts";
import { LoopFs } from "../helpers/loop_fs.ts";
import { needFileSystem, needRoot, needTool, testWith } from "../helpers/needs.ts";
import { TempDir } from "../helpers/temp.ts";
import { listTree } from "../repository/_fixtures.ts";
import { makeImage } from "./_image.ts";

const needs = [needRoot(), needTool("mkfs.ext4"), needFileSystem("ext4")];

/** The system call's error at the end of a chain of causes. */
function innermostErrno(error: unknown): ErrnoError {
  let at = error;
  while (at instanceof Error && at.cause !== undefined) at = at.cause;
  assert.ok(at instanceof ErrnoError, `no ErrnoError: ${(at as Error)?.stack}`);
  return at;
}

/** Asserts that nothing has a name that was not named before. */
function assertNothingNamed(path: string): void {
  const named = listTree(path).filter((name) => /^(streams|images)\/./.test(name));
  assert.deepEqual(named.filter((name) => name.includes(" -> ")), []);
}

testWith({
  name: "a pull onto a full file system says so, names nothing, and works when there is room",
  needs,
  async fn() {
    using dir = new TempDir();
    const image = makeImage(dir, { name: "image", seed: 1 });
    using fs = new LoopFs("ext4", { sizeMiB: 40 });
    const path = fs.join("r");
    initRepository(path, { insecure: true });
    const filler = fs.join("filler");
    // Room for nothing, for part of the first layer, for more, for nearly all of it.
    for (const roomMiB of [0, 2, 6, 10, 14]) {
      using repository = Repository.open(path);
      Deno.writeFileSync(filler, new Uint8Array(repository.available - 65_536 - roomMiB * 2 ** 20));
      await assert.rejects(pullImage(repository, image, { name: "tag" }), (error) => {
        assert.ok(innermostErrno(error).is("ENOSPC"), String(error));
        return true;
      });
      assertNothingNamed(path);
      const report = await repository.fsck();
      assert.ok(report.ok, report.errors.join("\n"));
      Deno.removeSync(filler);
      // What was stored is garbage: no name leads to it.
      const stored = [...repository.objects.list()].length;
      assert.equal(repository.gc().objectsRemoved, stored);
      if (roomMiB > 2) assert.ok(stored > 0, `${roomMiB} MiB were room for nothing`);
      assert.deepEqual([...repository.objects.list()], []);
    }
    using repository = Repository.open(path);
    await pullImage(repository, image, { name: "tag" });
    const report = await repository.fsck();
    assert.ok(report.ok, report.errors.join("\n"));
    assert.equal(repository.gc().objectsRemoved, 0);
  },
});

testWith({
  name: "gc works on a full file system",
  needs,
  async fn() {
    using fs = new LoopFs("ext4", { sizeMiB: 8 });
    const path = fs.join("r");
    initRepository(path, { insecure: true });
    using repository = Repository.open(path);
    let seed = 0;
    assert.throws(() => {
      for (;;) repository.objects.write(new Uint8Array(100_000).fill(seed++).fill(seed >> 8, 0, 1));
    }, (error) => isErrno(error, "ENOSPC"));
    assert.ok(seed > 10);
    assert.ok((await repository.fsck()).ok);
    assert.equal(repository.gc().objectsRemoved, seed - 1);
    repository.objects.write(new Uint8Array(1_000_000));
  },
});

testWith({
  name: "a stream that does not fit is not named, one that fits is",
  needs,
  fn() {
    using fs = new LoopFs("ext4", { sizeMiB: 4 });
    const path = fs.join("r");
    initRepository(path, { insecure: true });
    using repository = Repository.open(path);
    const random = new Uint8Array(8_000_000);
    for (let at = 0; at < random.length; at += 65_536) {
      crypto.getRandomValues(random.subarray(at, Math.min(at + 65_536, random.length)));
    }
    using big = repository.newStream(1n);
    big.addInline(random);
    const bytes = big.finish();
    assert.throws(
      () => repository.writeStream("big", bytes, { ref: "big" }),
      (error) => innermostErrno(error).is("ENOSPC"),
    );
    assertNothingNamed(path);
    assert.deepEqual([...repository.objects.list()], []);
    using small = repository.newStream(1n);
    repository.writeStream("small", small.finish(), { ref: "small" });
    assert.deepEqual(repository.listStreams(), ["small"]);
  },
});
