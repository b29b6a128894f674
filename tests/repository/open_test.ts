import assert from "node:assert/strict";
import { ConflictError, NotFoundError, PolicyError } from "../../lib/base/mod.ts";
import { formatMetadata, initRepository, Repository } from "../../lib/repository/mod.ts";
import { cfsCommand, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { listTree, unpackRepository } from "./_fixtures.ts";

Deno.test("a repository from before meta.json gets one at its first use, and says so", async () => {
  using dir = new TempDir();
  const path = await unpackRepository("old256", dir);
  const notices: string[] = [];
  const before = listTree(path);
  assert.throws(() => Repository.open(path, { noUpgrade: true }), (error) => {
    assert.ok(error instanceof NotFoundError);
    assert.match(error.message, /meta\.json not found in .*old256; this repository must be init/);
    return true;
  });
  assert.deepEqual(listTree(path), before);
  {
    using repository = Repository.open(path, { notice: (text) => notices.push(text) });
    assert.equal(repository.algorithm.id, "fsverity-sha256-12");
    assert.deepEqual(repository.formats, [1]);
    assert.equal(repository.secure, false);
    assert.equal(repository.listImages().length, 2);
    assert.ok((await repository.fsck()).has_metadata);
    assert.equal(
      Deno.readTextFileSync(`${path}/meta.json`),
      formatMetadata(repository.metadata),
    );
  }
  assert.deepEqual(notices, [
    `${path} had no meta.json; written for fsverity-sha256-12, EROFS format 1`,
  ]);
  using _again = Repository.open(path, { noUpgrade: true, notice: (text) => notices.push(text) });
  assert.equal(notices.length, 1);
});

Deno.test("the first object decides, whatever else lies around", async (t) => {
  const prepare: [string, (path: string) => void][] = [
    ["a file with a name of two characters", (path) => {
      Deno.mkdirSync(`${path}/objects`, { recursive: true });
      Deno.writeTextFileSync(`${path}/objects/00`, "");
    }],
    ["files of other lengths", (path) => {
      Deno.mkdirSync(`${path}/objects/00`, { recursive: true });
      Deno.writeTextFileSync(`${path}/objects/00/short`, "");
    }],
    ["directories of other lengths", (path) => {
      Deno.mkdirSync(`${path}/objects/000`, { recursive: true });
      Deno.writeTextFileSync(`${path}/objects/000/${"0".repeat(62)}`, "");
    }],
  ];
  for (const [name, make] of prepare) {
    await t.step(name, () => {
      using dir = new TempDir();
      const path = dir.join("r");
      make(path);
      assert.throws(() => Repository.open(path), (error) => {
        assert.ok(error instanceof NotFoundError);
        assert.equal(
          error.message,
          `no meta.json in ${path}; tried to infer algorithm from objects`,
        );
        assert.equal(
          (error.cause as Error).message,
          "no objects found in repository — cannot infer metadata",
        );
        return true;
      });
      Deno.mkdirSync(`${path}/objects/ff`);
      Deno.writeTextFileSync(`${path}/objects/ff/${"f".repeat(126)}`, "");
      using repository = Repository.open(path);
      assert.equal(repository.algorithm.id, "fsverity-sha512-12");
    });
  }
});

Deno.test("options that contradict the repository are refused", () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true });
  const path = dir.join("r");
  assert.throws(() => Repository.open(path, { hash: "sha256" }), ConflictError);
  assert.throws(() => Repository.open(path, { requireVerity: true }), PolicyError);
  assert.throws(() => Repository.open(dir.join("missing")), /opening repository .*missing/);
  dir.write("file", "");
  assert.throws(() => Repository.open(dir.join("file")), /opening repository/);
  using repository = Repository.open(path, { hash: "sha512", insecure: true });
  assert.ok(repository.available > 0);
});

Deno.test("gc waits for others, gc -n, reading and writing do not", async () => {
  using dir = new TempDir();
  const path = await unpackRepository("oci256", dir);
  const holder = new Deno.Command(Deno.execPath(), {
    args: cfsCommand(["--repo", path, "transaction"]).slice(1),
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    await until(() => lockHolders(path) === 1);
    {
      using repository = Repository.open(path);
      assert.equal(repository.gc({ dryRun: true }).objectsRemoved, 2);
      using writer = repository.newStream(1n);
      repository.writeStream("new", writer.finish(), { ref: "new" });
    }
    const gc = runOk(cfsCommand(["--repo", path, "gc"]));
    let done = false;
    gc.then(() => done = true, () => done = true);
    await until(() => waitsForLock(path));
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(done, false);
    holder.kill("SIGTERM");
    assert.match((await gc).stdout, /^Objects: 2 removed \(608 bytes\)$/m);
  } finally {
    stop(holder);
    await holder.status;
  }
});

function stop(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    // It has ended already.
    if (!(error instanceof TypeError)) throw error;
  }
}

/** Lines of /proc/locks about a directory. */
function locks(path: string): string[] {
  const inode = Deno.statSync(path).ino;
  return Deno.readTextFileSync("/proc/locks").split("\n").filter((line) =>
    line.includes("FLOCK") && line.includes(`:${inode} `)
  );
}

function lockHolders(path: string): number {
  return locks(path).filter((line) => !line.includes("->")).length;
}

function waitsForLock(path: string): boolean {
  return locks(path).some((line) => line.includes("->") && line.includes("WRITE"));
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    assert.ok(tries < 300, "waited too long");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

Deno.test("gc does its preparation under the exclusive lock", () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true });
  using repository = Repository.open(dir.join("r"));
  let lock: string[] = [];
  repository.gc({
    staleRefs: () => {
      lock = locks(dir.join("r"));
      return [];
    },
  });
  assert.equal(lock.length, 1);
  assert.match(lock[0]!, /WRITE/);
  assert.match(locks(dir.join("r"))[0]!, /READ/);
});
