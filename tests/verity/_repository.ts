/** Secure repositories: what our code makes of real fs-verity, and what the reference makes of it. */
import assert from "node:assert/strict";
import { ALGORITHMS, objectPath, PolicyError } from "../../lib/base/mod.ts";
import { pullImage } from "../../lib/oci/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { AT_FDCWD, measureVerity, openAt } from "../../ffi/mod.ts";
import { ROOT, run, runOk } from "../helpers/run.ts";
import type { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { makeDiskStore } from "../suites/disk_store.ts";
import { testObjectStore } from "../suites/object_store.ts";
import { verityTest } from "./_verity_test.ts";

const algorithm = ALGORITHMS.sha256;

/** What the kernel measures of a file. */
function measured(path: string, by = algorithm): string {
  using fd = openAt(AT_FDCWD, path);
  return measureVerity(fd, by);
}

/** A secure repository. */
function makeSecure(dir: TempDir, name = "r"): string {
  initRepository(dir.join(name), { algorithm });
  return dir.join(name);
}

/** A stream with one external object and a reference to it. */
function writeSample(repository: Repository): void {
  const bytes = new Uint8Array(10_000).fill(7);
  const { id } = repository.objects.write(bytes);
  using writer = repository.newStream(1n);
  writer.addExternal(id, bytes.length);
  repository.writeStream("sample", writer.finish(), { ref: "sample" });
}

function cfsctl(path: string, ...args: string[]) {
  return runOk([tool("cfsctl"), "--repo", path, ...args]);
}

verityTest("secure object stores do all that object stores do", {
  tools: [],
  async fn(dir, t) {
    for (const algorithm of Object.values(ALGORITHMS)) {
      await testObjectStore(t, {
        algorithm,
        make: (algorithm) => makeDiskStore(algorithm, { dir: dir.path, secure: true }),
      });
    }
  },
});

verityTest("a secure repository has fs-verity on meta.json and on every object", {
  tools: ["fsverity"],
  async fn(dir) {
    for (const algorithm of Object.values(ALGORITHMS)) {
      const path = dir.join(algorithm.hash);
      assert.equal(initRepository(path, { algorithm }).secure, true);
      assert.match(measured(`${path}/meta.json`, algorithm), /^[0-9a-f]{64,128}$/);
      assert.equal(initRepository(path, { algorithm }).outcome, "existing");
      using repository = Repository.open(path, { requireVerity: true });
      assert.equal(repository.secure, true);
      for (const size of [0, 1, 4096, 4097, 3_000_000]) {
        const bytes = new Uint8Array(size).fill(size & 0xff);
        const { id } = repository.objects.write(bytes);
        using sink = repository.objects.begin();
        sink.write(new Uint8Array(size + 1));
        for (const object of [id, sink.finish().id]) {
          const file = `${path}/objects/${objectPath(object)}`;
          assert.equal(measured(file, algorithm), object);
          const { stdout } = await runOk([tool("fsverity"), "measure", file]);
          assert.equal(stdout.split(" ")[0], `${algorithm.hash}:${object}`);
        }
        assert.deepEqual(repository.objects.read(id), bytes);
      }
      const report = await repository.fsck();
      assert.ok(report.ok, report.errors.join("\n"));
    }
  },
});

verityTest("objects cannot be changed; replaced ones are refused and found", {
  tools: ["fsverity"],
  async fn(dir) {
    const path = makeSecure(dir);
    using repository = Repository.open(path);
    writeSample(repository);
    const [id] = repository.openStream("sample").objectRefs;
    const file = `${path}/objects/${objectPath(id!)}`;
    assert.throws(() => Deno.writeTextFileSync(file, "x", { append: true }), /not permitted/);
    assert.throws(() => Deno.truncateSync(file), /not permitted/);
    const bytes = Deno.readFileSync(file);
    // The right content without fs-verity.
    Deno.removeSync(file);
    Deno.writeFileSync(file, bytes);
    assert.throws(() => repository.objects.read(id!), PolicyError);
    const missing = await repository.fsck();
    assert.deepEqual(missing.errors, [
      `fsck: object-verity-missing: objects/${objectPath(id!)}`,
    ]);
    assert.deepEqual(missing.affected.map(({ user, refs }) => [user, ...refs]), [
      ["streams/sample", "streams/refs/sample"],
    ]);
    // With the checks turned off for one run, the content counts.
    {
      using lenient = Repository.open(path, { insecure: true });
      assert.equal(lenient.secure, false);
      assert.deepEqual(lenient.objects.read(id!), bytes);
      assert.ok((await lenient.fsck()).ok);
    }
    // Other content with fs-verity of its own.
    Deno.removeSync(file);
    Deno.writeFileSync(file, bytes.subarray(1));
    await runOk([tool("fsverity"), "enable", file]);
    assert.throws(() => repository.objects.read(id!), /digest mismatch/);
    assert.match((await repository.fsck()).errors[0]!, /object-digest-mismatch: .*: measured /);
    // Writing the content once more repairs it.
    assert.equal(repository.objects.write(bytes).outcome, "repaired");
    assert.equal(measured(file), id);
    assert.ok((await repository.fsck()).ok);
  },
});

verityTest("an insecure repository uses fs-verity where there is any, and needs none", {
  tools: [],
  async fn(dir) {
    const path = dir.join("r");
    initRepository(path, { insecure: true, algorithm });
    using repository = Repository.open(path);
    assert.equal(repository.secure, false);
    assert.throws(() => Repository.open(path, { requireVerity: true }), PolicyError);
    assert.equal(measured(`${path}/meta.json`), "missing");
    const { id } = repository.objects.write(new Uint8Array(5000));
    assert.equal(measured(`${path}/objects/${objectPath(id)}`), id);
    assert.ok((await repository.fsck()).ok);
  },
});

verityTest("an old repository with fs-verity on its objects becomes a secure one", {
  tools: [],
  fn(dir) {
    const path = makeSecure(dir);
    {
      using repository = Repository.open(path);
      writeSample(repository);
    }
    Deno.removeSync(`${path}/meta.json`);
    using repository = Repository.open(path);
    assert.equal(repository.secure, true);
    assert.match(measured(`${path}/meta.json`), /^[0-9a-f]{64}$/);
    assert.deepEqual(repository.listStreams(), ["sample"]);
  },
});

verityTest("a writer elsewhere (ETXTBSY) is got round by a copy", {
  tools: [],
  async fn(dir) {
    const path = makeSecure(dir);
    using repository = Repository.open(path);
    using sink = repository.objects.begin();
    sink.write(new Uint8Array(100_000).fill(1));
    const number = temporaryFile(path);
    // What a fork at the wrong moment does: another process has the file open for writing.
    const holder = new Deno.Command("sh", {
      args: ["-c", `exec 3<>/proc/${Deno.pid}/fd/${number} && echo held && exec sleep 1000`],
      stdout: "piped",
    }).spawn();
    try {
      const reader = holder.stdout.getReader();
      assert.equal(new TextDecoder().decode((await reader.read()).value), "held\n");
      await reader.cancel();
      const { id, outcome } = sink.finish();
      assert.equal(outcome, "new");
      assert.equal(measured(`${path}/objects/${objectPath(id)}`), id);
      assert.equal(repository.objects.read(id).length, 100_000);
    } finally {
      holder.kill("SIGKILL");
      await holder.status;
    }
    assert.ok((await repository.fsck()).ok);
  },
});

/** Number of our descriptor of an unnamed file in the repository. */
function temporaryFile(path: string): string {
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      const target = Deno.readLinkSync(`/proc/self/fd/${name}`);
      if (target.startsWith(`${path}/objects/`) && target.endsWith(" (deleted)")) return name;
    } catch (error) {
      // The descriptor of the listing itself is gone by now.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  throw new Error("There is no unnamed file");
}

verityTest("both programs find each other's secure repositories sound", {
  tools: ["cfsctl"],
  async fn(dir) {
    const ours = makeSecure(dir, "ours");
    {
      using repository = Repository.open(ours);
      writeSample(repository);
    }
    assert.match((await cfsctl(ours, "--require-verity", "fsck")).stdout, /^status: ok$/m);
    assert.match((await cfsctl(ours, "gc")).stdout, /^Objects: 0 removed/m);

    const theirs = dir.join("theirs");
    dir.write("tree/usr/big", "content ".repeat(2000));
    await runOk([tool("cfsctl"), "init", "--algorithm", algorithm.id, theirs]);
    const { stdout } = await cfsctl(theirs, "create-image", dir.join("tree"), "n");
    using repository = Repository.open(theirs, { requireVerity: true });
    assert.equal(`sha256:${repository.findImage("n")}`, stdout.trim());
    const report = await repository.fsck();
    assert.ok(report.ok, report.errors.join("\n"));
    writeSample(repository);
    assert.match((await cfsctl(theirs, "fsck")).stdout, /^status: ok$/m);
    assert.equal(repository.gc().objectsRemoved, 0);
    // An object that lost its fs-verity is an error for both.
    const [object] = repository.imageObjects("n");
    const file = `${theirs}/objects/${objectPath(object!)}`;
    const bytes = Deno.readFileSync(file);
    Deno.removeSync(file);
    Deno.writeFileSync(file, bytes);
    const line = `  - fsck: object-verity-missing: objects/${objectPath(object!)}\n`;
    const found = await run([tool("cfsctl"), "--repo", theirs, "fsck"]);
    assert.equal(found.code, 1);
    assert.ok(found.stdout.includes(line), found.stdout);
    assert.ok((await repository.fsck()).errors.includes(line.trim().slice("- ".length)));
  },
});

verityTest("a pull into a secure repository protects everything", {
  tools: ["cfsctl"],
  async fn(dir) {
    const path = makeSecure(dir);
    Deno.mkdirSync(dir.join("layout"));
    await runOk([
      "tar",
      "-xf",
      `${ROOT}fixtures/oci/basic/basic.oci.tar`,
      "-C",
      dir.join("layout"),
    ]);
    const { stdout } = await runOk(["find", dir.join("layout"), "-name", "oci-layout"]);
    const layout = stdout.trim().replace(/\/oci-layout$/, "");
    using repository = Repository.open(path);
    await pullImage(repository, `oci:${layout}`, { name: "tag" });
    let objects = 0;
    for (const id of repository.objects.list()) {
      assert.equal(measured(`${path}/objects/${objectPath(id)}`), id);
      objects++;
    }
    assert.ok(objects > 3);
    const report = await repository.fsck();
    assert.ok(report.ok, report.errors.join("\n"));
    assert.match((await cfsctl(path, "fsck")).stdout, /^status: ok$/m);
    await cfsctl(path, "oci", "fsck");
  },
});
