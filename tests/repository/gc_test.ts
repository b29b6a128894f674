import assert from "node:assert/strict";
import { ALGORITHMS, ComposefsError, NotFoundError, type ObjectId } from "../../lib/base/mod.ts";
import { type GcResult, initRepository, Repository } from "../../lib/repository/mod.ts";
import { TempDir } from "../helpers/temp.ts";
import { callCfs, listTree, readTranscript, unpackRepository } from "./_fixtures.ts";

const IMAGE = "072778749ca1f91d0f315ef4763bcae886b098abc67aa875507b8c017f271d76";
const TAG = "streams/refs/oci/foo%2Fbar:1%252 x";

/** The repositories of the transcript by title. */
const SETUP: Record<string, (dir: TempDir) => Promise<void>> = {
  "refs removed": async (dir) => {
    const repo = await unpackRepository("img256", dir, "g");
    Deno.removeSync(`${repo}/images/refs`, { recursive: true });
  },
  "untagged oci image": async (dir) => {
    const repo = await unpackRepository("oci256", dir, "g");
    Deno.removeSync(`${repo}/streams/refs`, { recursive: true });
  },
  "tagged: stale objects only": async (dir) => {
    await unpackRepository("oci256", dir, "g");
  },
};

Deno.test("gc removes and counts what the reference did in its transcript", async (t) => {
  const rows = readTranscript("gc.txt");
  assert.equal(rows.length, 10);
  for (const title of Object.keys(SETUP)) {
    using dir = new TempDir();
    await SETUP[title]!(dir);
    for (const { args, stdout, code, after } of rows.filter((row) => row.title === title)) {
      await t.step(`${title}: ${args.slice(2).join(" ")}`, async () => {
        const called = await callCfs(["--repo", dir.join("g"), ...args.slice(2)]);
        if (args.includes("nonexist")) {
          // The reference ignores it; ours fails before anything is removed.
          assert.equal(called.code, 1);
          assert.match(called.stderr, /root not found: nonexist/);
          return;
        }
        assert.equal(called.code, code, called.stderr);

        assert.equal(called.stdout, stdout);
        if (after !== "") {
          const tree = ["g", ...listTree(dir.join("g")).map((path) => `g/${path}`)];
          assert.equal(tree.join("\n") + "\n", after);
        }
      });
    }
  }
});

function counts(result: GcResult): number[] {
  return [result.objectsRemoved, result.imagesPruned, result.streamsPruned];
}

/** An OCI repository whose tag was removed, so that nothing is live. */
async function untagged(dir: TempDir): Promise<string> {
  const repo = await unpackRepository("oci256", dir);
  Deno.removeSync(`${repo}/${TAG}`);
  return repo;
}

Deno.test("a dry run counts the links that would go, and changes nothing", async () => {
  using dir = new TempDir();
  using repository = Repository.open(await untagged(dir));
  const before = listTree(dir.path);
  assert.deepEqual(counts(repository.gc({ dryRun: true })), [9, 1, 3]);
  assert.deepEqual(listTree(dir.path), before);
  const { stdout, stderr } = await callCfs(["--repo", repository.path, "gc", "-n", "--json"]);
  assert.equal(stderr, "");
  const document = JSON.parse(stdout);
  assert.equal(document.dryRun ?? document.dry_run, true);
});

Deno.test("roots are entries of either category or references; all are kept whole", async () => {
  const manifest =
    "oci-manifest-sha256:7e748a6db7f48677397aaac4ea386f823ca4d5729ccff77b027bd44f87f979ae";
  const cases: [string, "oci256" | "img256", number[]][] = [
    [manifest, "oci256", [2, 0, 0]],
    ["refs/oci/foo%2Fbar:1%252 x", "oci256", [2, 0, 0]],
    ["oci/foo%2Fbar:1%252 x", "oci256", [2, 0, 0]],
    [IMAGE, "img256", [0, 0, 0]],
    [`sha256:${IMAGE}`, "img256", [0, 0, 0]],
    [`@sha256:${IMAGE}`, "img256", [0, 0, 0]],
    ["my/nested/name", "img256", [0, 0, 0]],
    ["refs/flat", "img256", [0, 0, 0]],
  ];
  for (const [root, name, expected] of cases) {
    using dir = new TempDir();
    const repo = await unpackRepository(name, dir);
    using repository = Repository.open(repo);
    assert.deepEqual(counts(repository.gc({ roots: [root] })), expected, root);
    assert.ok((await repository.fsck()).ok);
  }
  using dir = new TempDir();
  using repository = Repository.open(await untagged(dir));
  const before = listTree(dir.path);
  assert.throws(() => repository.gc({ roots: [manifest, "nope"] }), NotFoundError);
  assert.throws(() => repository.gc({ roots: [`sha512:${IMAGE}`] }), NotFoundError);
  assert.deepEqual(listTree(dir.path), before);
});

Deno.test("dangling references are reported and pruned", async () => {
  using dir = new TempDir();
  const repo = await unpackRepository("img256", dir);
  Deno.symlinkSync("../nothing", `${repo}/images/refs/gone`);
  Deno.symlinkSync("..", `${repo}/images/refs/up`);
  Deno.symlinkSync(`../objects/aa/${"0".repeat(62)}`, `${repo}/images/aa${"0".repeat(62)}`);
  Deno.symlinkSync(`../aa${"0".repeat(62)}`, `${repo}/images/refs/dangling`);
  using repository = Repository.open(repo);
  const result = repository.gc();
  assert.deepEqual(counts(result), [0, 4, 0]);
  assert.equal(result.warnings.length, 3);
  assert.match(result.warnings.join("\n"), /images\/refs\/gone leads nowhere \(nothing\)/);
  assert.ok((await repository.fsck()).ok);
});

Deno.test("unknown files are left with a warning, temporary ones of a crash are removed", async () => {
  using dir = new TempDir();
  const repo = await unpackRepository("img256", dir);
  const strays = ["objects/stray", "objects/22/short", "images/stray", "images/refs/file"];
  for (const path of strays) Deno.writeTextFileSync(`${repo}/${path}`, "x");
  Deno.symlinkSync("loop", `${repo}/images/loop`);
  Deno.mkdirSync(`${repo}/objects/.tmp-object-directory`);
  Deno.writeTextFileSync(`${repo}/objects/.tmp-object-abcdefghijkl`, "x");
  Deno.symlinkSync("x", `${repo}/.symlink-abcdefghijkl`);
  using repository = Repository.open(repo);
  const dry = repository.gc({ dryRun: true });
  assert.deepEqual(counts(dry), [0, 0, 0]);
  const result = repository.gc();
  assert.deepEqual(counts(result), [0, 0, 0]);
  assert.equal(result.temporariesRemoved, 2);
  const left = listTree(repo);
  for (const path of strays) assert.ok(left.includes(path), path);
  assert.ok(left.includes("images/loop -> loop"));
  assert.ok(left.includes("objects/.tmp-object-directory"));
  assert.ok(!left.some((path) => path.includes("abcdefghijkl")));
  const text = result.warnings.join("\n");
  for (const path of [...strays, "images/loop", "objects/.tmp-object-directory"]) {
    assert.ok(text.includes(path), `${text}\nlacks ${path}`);
  }
});

Deno.test("a file in the place of a directory of objects does not stop gc", async () => {
  using dir = new TempDir();
  const repo = await unpackRepository("img256", dir);
  Deno.removeSync(`${repo}/objects/07`, { recursive: true });
  Deno.writeTextFileSync(`${repo}/objects/07`, "");
  using repository = Repository.open(repo);
  assert.deepEqual(counts(repository.gc()), [2, 3, 0]);
});

Deno.test("a root that cannot be read stops gc and is named", async (t) => {
  const damage: [string, string, (repo: string) => void][] = [
    ["an image", "img256", (repo) => {
      const object = `${repo}/objects/${IMAGE.slice(0, 2)}/${IMAGE.slice(2)}`;
      Deno.writeTextFileSync(object, "garbage");
    }],
    ["a stream", "oci256", (repo) => {
      const text = Deno.readLinkSync(`${repo}/${TAG}`);
      const entry = `${repo}/streams/${text.slice(text.lastIndexOf("/") + 1)}`;
      Deno.writeTextFileSync(Deno.realPathSync(entry), "garbage");
    }],
  ];
  for (const [name, fixture, break_] of damage) {
    await t.step(name, async () => {
      using dir = new TempDir();
      const repo = await unpackRepository(fixture, dir);
      break_(repo);
      using repository = Repository.open(repo);
      const before = listTree(repo);
      assert.throws(() => repository.gc(), (error) => {
        assert.ok(error instanceof ComposefsError);
        assert.match(error.message, /Cannot read (images|streams)\/refs\/.*nothing was removed/);
        return true;
      });
      assert.deepEqual(listTree(repo), before);
      // The lock went back to shared: the repository can be used.
      assert.ok(repository.listRefs(fixture === "img256" ? "images" : "streams").length > 0);
    });
  }
});

Deno.test("references too deep to be read stop gc", async () => {
  using dir = new TempDir();
  const repo = await unpackRepository("img256", dir);
  Deno.removeSync(`${repo}/images/refs`, { recursive: true });
  Deno.mkdirSync(`${repo}/images/refs`);
  // Made from the inside, as its path is longer than the kernel takes at once.
  const depth = 40;
  const make = `for i in $(seq ${depth}); do mkdir ${"d".repeat(200)} && cd -P ${
    "d".repeat(200)
  } || exit 1; done; ln -s x ref`;
  const { success } = new Deno.Command("bash", { args: ["-c", make], cwd: `${repo}/images/refs` })
    .outputSync();
  assert.ok(success);
  using repository = Repository.open(repo);
  assert.throws(() => repository.gc(), /Cannot look for references in images\/refs\/d+/);
  assert.equal((await repository.fsck()).ok, false);
  new Deno.Command("rm", { args: ["-rf", `${repo}/images/refs`] }).outputSync();
  assert.deepEqual(counts(repository.gc()), [3, 1, 0]);
});

Deno.test("a reference at any depth that can be opened keeps its image", async () => {
  using dir = new TempDir();
  using repository = Repository.open(await unpackRepository("img256", dir));
  const deep = Array.from({ length: 300 }, () => "d").join("/");
  repository.setRef("images", deep, { entry: IMAGE });
  repository.removeRef("images", "flat");
  repository.removeRef("images", "my/nested/name");
  assert.deepEqual(counts(repository.gc()), [0, 0, 0]);
  assert.equal(repository.resolveRef("images", deep), IMAGE);
});

Deno.test("references whose names are not UTF-8 keep what they lead to", async () => {
  using dir = new TempDir();
  const repo = await unpackRepository("oci256", dir);
  const [entry] = Deno.readLinkSync(`${repo}/${TAG}`).split("/").slice(-1);
  Deno.removeSync(`${repo}/${TAG}`);
  const make = [
    `ln -s ../${entry} $'latin1-\\xe4'`,
    `mkdir $'folder-\\xe4' && ln -s ../../${entry} $'folder-\\xe4/ref'`,
  ];
  const expected = counts(await garbageOf("oci256"));
  for (const command of make) {
    const { success } = new Deno.Command("bash", {
      args: ["-c", command],
      cwd: `${repo}/streams/refs`,
    }).outputSync();
    assert.ok(success, command);
    using repository = Repository.open(repo);
    const result = repository.gc();
    assert.deepEqual(counts(result), command === make[0] ? expected : [0, 0, 0], command);
    assert.deepEqual(result.warnings, []);
    assert.deepEqual((await repository.fsck()).errors, []);
    new Deno.Command("bash", { args: ["-c", "rm -f latin1-*"], cwd: `${repo}/streams/refs` })
      .outputSync();
  }
});

/** What is garbage in a fixture as it is. */
async function garbageOf(name: string): Promise<GcResult> {
  using dir = new TempDir();
  using repository = Repository.open(await unpackRepository(name, dir));
  return repository.gc({ dryRun: true });
}

Deno.test("all that a stream names is kept: unnamed references, replaced names, images inside", () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true, algorithm: ALGORITHMS.sha256 });
  using repository = Repository.open(dir.join("r"));
  const object = (n: number): ObjectId => repository.objects.write(new Uint8Array(200).fill(n)).id;
  const write = (name: string, build: (writer: ReturnType<Repository["newStream"]>) => void) => {
    using writer = repository.newStream(1n);
    build(writer);
    return repository.writeStream(name, writer.finish());
  };
  const inner = write("inner", (writer) => writer.addExternal(object(1), 200));
  const shadowed = object(2);
  write("outer", (writer) => {
    writer.addNamedRef("x", shadowed);
    writer.addNamedRef("x", inner);
    writer.addObjectRef(object(3));
  });
  object(4);
  repository.setRef("streams", "tag", { entry: "outer" });
  assert.deepEqual(counts(repository.gc()), [1, 0, 0]);
  repository.removeRef("streams", "tag");
  repository.setRef("streams", "tag", { entry: "inner" });
  assert.deepEqual(counts(repository.gc()), [3, 0, 1]);
  assert.deepEqual(repository.listStreams(), ["inner"]);
});

Deno.test("what a stream needs is kept although its name leads to another object by now", () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true, algorithm: ALGORITHMS.sha256 });
  using repository = Repository.open(dir.join("r"));
  const write = (name: string, fill: number) => {
    using writer = repository.newStream(1n);
    writer.addExternal(repository.objects.write(new Uint8Array(200).fill(fill)).id, 200);
    return repository.writeStream(name, writer.finish());
  };
  const first = write("inner", 1);
  using writer = repository.newStream(1n);
  writer.addNamedRef("x", first);
  repository.writeStream("outer", writer.finish(), { ref: "tag" });
  assert.notEqual(write("inner", 2), first);
  // The second one is garbage, the first one is not, and neither is what it needs.
  assert.deepEqual(counts(repository.gc()), [2, 0, 1]);
  assert.equal(repository.objects.size(first) !== undefined, true);
  for (const id of repository.openStreamObject(first).objectRefs) {
    assert.equal(repository.objects.size(id), 200);
  }
});

Deno.test("objects inside an image that a stream names are kept", async () => {
  using dir = new TempDir();
  const repo = await unpackRepository("img256", dir);
  using repository = Repository.open(repo);
  using writer = repository.newStream(1n);
  writer.addNamedRef("composefs.image.v1", IMAGE as ObjectId);
  repository.writeStream("config", writer.finish(), { ref: "tag" });
  repository.removeRef("images", "flat");
  repository.removeRef("images", "my/nested/name");
  assert.deepEqual(counts(repository.gc()), [0, 0, 0]);
  // Also when the image has no entry, and when streams name each other in a circle.
  Deno.removeSync(`${repo}/images/${IMAGE}`);
  assert.deepEqual(counts(repository.gc()), [0, 0, 0]);
  repository.removeRef("streams", "tag");
  assert.deepEqual(counts(repository.gc()), [4, 0, 1]);
});

Deno.test("what a stream names but is not there is reported", () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true, algorithm: ALGORITHMS.sha256 });
  using repository = Repository.open(dir.join("r"));
  using writer = repository.newStream(1n);
  writer.addNamedRef("gone", "ab".repeat(32) as ObjectId);
  repository.writeStream("s", writer.finish(), { ref: "s" });
  const result = repository.gc();
  assert.deepEqual(counts(result), [0, 0, 0]);
  assert.match(result.warnings.join(), /object (ab){32}, named by stream object \w+, is missing/);
});

Deno.test("gcInTurns() removes the same, tells how far it is, and lets timers fire", async () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true });
  using repository = Repository.open(dir.join("r"));
  const count = 1000;
  for (let i = 0; i < count; i++) repository.objects.write(new TextEncoder().encode(`${i}`));
  const expected = repository.gc({ dryRun: true });
  const events: string[] = [];
  let fired = false;
  const timer = setTimeout(() => fired = true);
  const { dryRun, ...result } = await repository.gcInTurns({
    progress(event) {
      assert.ok("id" in event);
      const amount = event.type === "done" ? event.transferred : undefined;
      if (event.type !== "progress") events.push(`${event.id} ${event.type} ${amount}`);
      // As long as a slow disk would take.
      else for (const end = performance.now() + 60; performance.now() < end;);
    },
  });
  assert.ok(fired);
  clearTimeout(timer);
  assert.deepEqual(events, [
    "mark started undefined",
    "mark done 0",
    "objects started undefined",
    `objects done ${count}`,
  ]);
  assert.equal(dryRun, false);
  assert.deepEqual({ ...result, dryRun: true }, expected);
  assert.equal(result.objectsRemoved, count);
});

Deno.test("gcInTurns() gives the lock back when it fails", async () => {
  using dir = new TempDir();
  using repository = Repository.open(await untagged(dir));
  await assert.rejects(repository.gcInTurns({ roots: ["nope"] }), NotFoundError);
  using other = Repository.open(repository.path);
  assert.ok((await other.fsck()).ok);
});
