import assert from "node:assert/strict";
import {
  checkStoredCommit,
  type Checksum,
  commitImage,
  createCommitImage,
  diffCommits,
  type DiffSide,
  exportCommit,
  metadataValue,
  openCommit,
  storeCommit,
} from "../../lib/ostree/mod.ts";
import type { CommitEntry } from "../../lib/ostree/mod.ts";
import { parseDumpfile } from "../../lib/dumpfile/mod.ts";
import { writeImage } from "../../lib/erofs/mod.ts";
import type { ObjectId } from "../../lib/base/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { run, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import {
  COMMITS,
  failure,
  newRepository,
  pullFrom,
  UNPACKING,
  unpackRepository,
} from "./_local.ts";

const HASHES = ["sha256", "sha512"] as const;
const commitA = COMMITS.commitA as Checksum;
const commitB = COMMITS.commitB as Checksum;

Deno.test("A commit of an image has the trees of the commit that the image is of", async (t) => {
  using dir = new TempDir();
  const archive = await unpackRepository(dir, "archive");
  for (const hash of HASHES) {
    await t.step(hash, async () => {
      using repository = newRepository(dir, hash);
      const { image } = await pullFrom(repository, archive, { reference: commitB });
      const options = {
        reference: "mine",
        subject: "Subject",
        body: "Body",
        parent: commitB,
        timestamp: 1700000000n,
        metadata: [["version", "1"]] as const,
      };
      const made = commitImage(repository, image, options);
      assert.equal(made.image, image);
      const { commit } = openCommit(repository, made.commit);
      const source = openCommit(repository, commitB).commit;
      assert.equal(commit.rootTree, source.rootTree);
      assert.equal(commit.rootMeta, source.rootMeta);
      assert.equal(commit.subject, "Subject");
      assert.equal(commit.body, "Body");
      assert.equal(commit.parent, commitB);
      assert.equal(commit.timestamp, 1700000000n);
      assert.deepEqual(metadataValue(commit.metadata, "ostree.ref-binding", "as"), ["mine"]);
      assert.equal(metadataValue(commit.metadata, "version", "s"), "1");
      assert.deepEqual(commitImage(repository, image, options), made);
      assert.deepEqual((await checkStoredCommit(repository, made.commit)).errors, []);
      const twice = { ...options, metadata: [["a", "1"], ["a", "2"]] as const };
      assert.match(await failure(() => commitImage(repository, image, twice)), /given twice/);
    });
  }
});

function storeDump(repository: Repository, text: string): ObjectId {
  const tree = parseDumpfile(new TextEncoder().encode(text));
  return repository.writeImage(writeImage(tree, { hash: repository.algorithm.hash, version: 1 }));
}

Deno.test("Labels get their NUL, and what OSTree cannot hold is refused", async (t) => {
  using dir = new TempDir();
  using repository = newRepository(dir);
  const root = "/ 0 40755 2 0 0 0 0.0 - - -";
  await t.step("a label", async () => {
    const label = "security.selinux=system_u:object_r:usr_t:s0";
    const image = storeDump(repository, `${root} ${label}\n/f 1 100644 1 0 0 0 0.0 - x -\n`);
    const { commit } = commitImage(repository, image, { timestamp: 0n });
    const { chunk, commit: { rootMeta } } = openCommit(repository, commit);
    const text = new TextDecoder().decode(chunk.get(rootMeta)!.data);
    assert.ok(text.includes("security.selinux\0system_u:object_r:usr_t:s0\0"));
    assert.deepEqual((await checkStoredCommit(repository, commit)).errors, []);
  });
  const cases: [string, string, RegExp][] = [
    ["a fifo", "/d 0 40755 2 0 0 0 0.0 - - -\n/d/p 0 10644 1 0 0 0 0.0 - - -", /^\/d\/p is a fifo/],
    ["a whiteout", "/w 0 20644 1 0 0 0 0.0 - - -", /^\/w is a char/],
    ["a name that is not UTF-8", "/\\xff 0 100644 1 0 0 0 0.0 - - -", /non-UTF8 filename: \\xff/],
    ["a target that is not UTF-8", "/l 1 120777 1 0 0 0 0.0 \\xff - -", /non-UTF8 link target/],
    [
      "content that is not there",
      `/f 5000 100644 1 0 0 0 0.0 ab/${"0".repeat(62)} - ${"ab" + "0".repeat(62)}`,
      /does not have the 5000 bytes/,
    ],
  ];
  for (const [name, line, message] of cases) {
    await t.step(name, async () => {
      const image = storeDump(repository, `${root}\n${line}\n`);
      const before = repository.listStreams();
      const text = await failure(() => commitImage(repository, image, { timestamp: 0n }));
      assert.match(text, message);
      assert.deepEqual(repository.listStreams(), before);
    });
  }
});

Deno.test("Differences are listed as ostree lists them", async () => {
  using dir = new TempDir();
  const archive = await unpackRepository(dir, "archive");
  using repository = newRepository(dir);
  const side = (checksum: Checksum): DiffSide => {
    const { chunk, commit } = openCommit(repository, checksum);
    return {
      lookup: (id) => chunk.get(id),
      root: { tree: commit.rootTree, meta: commit.rootMeta },
    };
  };
  for (const reference of [commitA, commitB]) await pullFrom(repository, archive, { reference });
  assert.deepEqual(diffCommits(side(commitA), side(commitB)), {
    modified: ["/link", "/bin/app", "/bin/app-hardlink", "/etc/config", "/size/4096"],
    removed: ["/one"],
    added: ["/new", "/new/file", "/new/incompressible"],
  });
  assert.deepEqual(diffCommits(side(commitA), side(commitA)), {
    modified: [],
    removed: [],
    added: [],
  });
});

Deno.test("The image of a commit that an older reference stored is made anew", async () => {
  using dir = new TempDir();
  const archive = await unpackRepository(dir, "archive");
  using repository = newRepository(dir);
  const { image } = await pullFrom(repository, archive, { reference: "test/stable" });
  const { chunk } = openCommit(repository, commitB);
  const entries = new Map<Checksum, CommitEntry>();
  for (const id of chunk.ids()) entries.set(id, chunk.get(id)!);
  const wrong = storeDump(repository, "/ 0 40755 2 0 0 0 0.0 - - -\n");
  storeCommit(repository, commitB, { entries, image: wrong, detached: undefined });
  assert.match(
    (await checkStoredCommit(repository, commitB)).errors.join("\n"),
    new RegExp(`is ${wrong}, its files make ${image}`),
  );
  assert.deepEqual(createCommitImage(repository, commitB), { image, replaced: wrong });
  assert.deepEqual(createCommitImage(repository, commitB), { image, replaced: undefined });
  assert.deepEqual((await checkStoredCommit(repository, commitB)).errors, []);
});

Deno.test("fsck finds damaged, missing and wrong objects", async (t) => {
  using dir = new TempDir();
  const archive = await unpackRepository(dir, "archive");
  const cases: [string, (repository: Repository) => void, RegExp][] = [
    [
      "a damaged content",
      (repository) => damageLargest(repository, false),
      /Corrupted file object/,
    ],
    ["a missing content", (repository) => damageLargest(repository, true), /object not found/],
    ["a missing image", (repository) => {
      const { image } = openCommit(repository, commitB);
      Deno.removeSync(`${repository.path}/images/${image}`);
    }, /image [0-9a-f]+ of commit .* is missing/],
    ["a missing dirmeta", (repository) => {
      const { chunk, commit } = openCommit(repository, commitB);
      const entries = new Map<Checksum, CommitEntry>();
      for (const id of chunk.ids()) if (id !== commit.rootMeta) entries.set(id, chunk.get(id)!);
      storeCommit(repository, commitB, { entries, image: undefined, detached: undefined });
    }, /dirmeta object [0-9a-f]{64} \(\/\): missing/],
  ];
  for (const [name, damage, message] of cases) {
    await t.step(name, async () => {
      using repository = newRepository(dir);
      await pullFrom(repository, archive, { reference: commitB });
      const sound = await checkStoredCommit(repository, commitB);
      assert.deepEqual(sound, { commit: commitB, objects: 41, errors: [], warnings: [] });
      damage(repository);
      const { errors } = await checkStoredCommit(repository, commitB);
      assert.match(errors.join("\n"), message);
      const onWorkers = await checkStoredCommit(repository, commitB, { jobs: 2 });
      assert.deepEqual(onWorkers.errors, errors);
    });
  }
});

/** Damages the largest object, which is a file's content. */
function damageLargest(repository: Repository, remove: boolean): void {
  const { objects } = repository;
  const ids = [...objects.list()].sort((a, b) => objects.size(b)! - objects.size(a)!);
  const path = `${repository.path}/objects/${ids[0]!.slice(0, 2)}/${ids[0]!.slice(2)}`;
  const bytes = Deno.readFileSync(path);
  Deno.removeSync(path);
  if (remove) return;
  bytes[100]! ^= 1;
  Deno.writeFileSync(path, bytes);
}

/** Modes of repositories, and a commit that each can hold. */
const MODES = [
  { mode: "archive", name: "commitB", repo: "archive" },
  { mode: "bare", name: "commitB", repo: "archive" },
  { mode: "bare-user", name: "commitB", repo: "archive" },
  { mode: "bare-split-xattrs", name: "commitB", repo: "archive" },
  { mode: "bare-user-only", name: "buo", repo: "buo-archive" },
  { mode: "bare-user", name: "signed", repo: "signed" },
] as const;

testWith({
  name: "Commits go out to every mode and come back unchanged, and ostree accepts them",
  needs: [...UNPACKING, needTool("ostree")],
  fn: async (t) => {
    using dir = new TempDir();
    for (const { mode, name, repo } of MODES) {
      for (const hash of HASHES) {
        await t.step(`${name} to ${mode}, ${hash}`, async () => {
          const source = await unpackRepository(dir, repo);
          using repository = newRepository(dir, hash);
          const reference = COMMITS[name] ?? name;
          const pulled = await pullFrom(repository, source, { reference });
          const path = dir.join(`out-${mode}-${name}-${hash}`);
          // This ostree reads split attributes but does not make such repositories.
          const made = mode === "bare-split-xattrs" ? "bare" : mode;
          await runOk(["ostree", "init", `--repo=${path}`, `--mode=${made}`]);
          if (made !== mode) {
            const config = Deno.readTextFileSync(`${path}/config`);
            Deno.writeTextFileSync(`${path}/config`, config.replace("mode=bare", `mode=${mode}`));
          }
          const options = { path, reference: "a/ref", jobs: hash === "sha256" ? 2 : 1 };
          const first = await exportCommit(repository, pulled.commit, options);
          assert.equal(first.present, 0);
          const again = await exportCommit(repository, pulled.commit, { ...options, jobs: 2 });
          assert.deepEqual(again, { written: 0, present: first.written, cloned: 0 });
          const fsck = await runOk(["ostree", "fsck", `--repo=${path}`]);
          assert.match(fsck.stdout + fsck.stderr, /no errors found/);
          const parsed = await runOk(["ostree", "rev-parse", `--repo=${path}`, "a/ref"]);
          assert.equal(parsed.stdout.trim(), pulled.commit);
          const back = newRepository(dir, hash);
          using _back = back;
          const result = await pullFrom(back, path, { reference: pulled.commit });
          assert.equal(result.stream, pulled.stream);
          assert.equal(result.image, pulled.image);
          assert.deepEqual([...Deno.readDirSync(`${path}/tmp`)].filter((e) => e.isFile), []);
        });
      }
    }
  },
});

testWith({
  name: "What bare-user-only cannot hold is not exported to it",
  needs: [needTool("ostree")],
  fn: async () => {
    using dir = new TempDir();
    const archive = await unpackRepository(dir, "archive");
    using repository = newRepository(dir);
    await pullFrom(repository, archive, { reference: commitB });
    const path = dir.join("out");
    await runOk(["ostree", "init", `--repo=${path}`, "--mode=bare-user-only"]);
    const text = await failure(() => exportCommit(repository, commitB, { path }));
    assert.match(text, /^cannot export to bare-user-only: \/\S+ has /);
    const found = await run(["find", `${path}/objects`, "-type", "f"]);
    assert.equal(found.stdout, "");
    const bad = { path, reference: "../x" };
    assert.match(await failure(() => exportCommit(repository, commitB, bad)), /Invalid refspec/);
  },
});

testWith({
  name: "ostree checks out what was committed from an image",
  needs: [...UNPACKING, needTool("ostree")],
  fn: async () => {
    using dir = new TempDir();
    const archive = await unpackRepository(dir, "archive");
    using repository = newRepository(dir);
    const { image } = await pullFrom(repository, archive, { reference: commitB });
    const { commit } = commitImage(repository, image, { reference: "new", timestamp: 1n });
    const path = dir.join("bare");
    await runOk(["ostree", "init", `--repo=${path}`, "--mode=bare"]);
    await exportCommit(repository, commit, { path, reference: "new" });
    await exportCommit(repository, commitB, { path, reference: "old" });
    assert.equal((await runOk(["ostree", `--repo=${path}`, "diff", "old", "new"])).stdout, "");
    await runOk(["ostree", `--repo=${path}`, "checkout", "new", dir.join("out")]);
    assert.equal(Deno.readTextFileSync(dir.join("out", "etc", "config")), "version=2\n");
  },
});
