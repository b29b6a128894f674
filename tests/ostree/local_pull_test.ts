import assert from "node:assert/strict";
import { parseObjectId } from "../../lib/base/mod.ts";
import { formatDumpfile } from "../../lib/dumpfile/mod.ts";
import {
  type Checksum,
  commitTree,
  findCommit,
  listCommits,
  listCommitTags,
  LocalRepository,
  openCommit,
  readDetachedMetadata,
  tagCommit,
} from "../../lib/ostree/mod.ts";
import { encodeCommitStream } from "../../lib/ostree/stored_commit.ts";
import type { CommitEntry } from "../../lib/ostree/mod.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import {
  COMMITS,
  expected,
  failure,
  FIXTURES,
  newRepository,
  pullFrom,
  SOURCES,
  UNPACKING,
  unpackRepository,
} from "./_local.ts";

/** The word of a line in an expected output. */
function field(text: string, name: string): string {
  return new RegExp(`^${name} +(\\S.*)$`, "m").exec(text)![1]!;
}

testWith({
  name: "Commits of every kind of repository are stored as the reference stores them",
  needs: UNPACKING,
  fn: async (t) => {
    using dir = new TempDir();
    for (const { name, repo } of SOURCES) {
      for (const hash of ["sha256", "sha512"] as const) {
        await t.step(`${name} from ${repo}, ${hash}`, async () => {
          const path = await unpackRepository(dir, repo);
          using repository = newRepository(dir, hash);
          const result = await pullFrom(repository, path, { reference: COMMITS[name] ?? name });
          const text = expected(`${name}.${hash}.pull.txt`);
          assert.equal(result.commit, field(text, "commit"));
          assert.equal(result.tag, COMMITS[name] === undefined ? name : undefined);
          const { stats } = result;
          assert.equal(
            `${stats.metadata} metadata + ${stats.files} files fetched`,
            field(text, "objects"),
          );
          const stored = openCommit(repository, result.commit);
          assert.equal(stored.image, result.image);
          assert.equal(stored.stream, result.stream);
          if (hash === "sha256") {
            assert.equal(result.image, expected(`${name}.sha256.image-id.corrected.txt`).trim());
          }
          const tree = commitTree(result.commit, (checksum) => stored.chunk.get(checksum));
          const dump = [...formatDumpfile(tree)].join("");
          assert.equal(dump, expected(`${name}.${hash}.dump.corrected.txt`));

          // With the reference's image the stream has the reference's bytes.
          const entries = new Map<Checksum, CommitEntry>();
          for (const id of stored.chunk.ids()) entries.set(id, stored.chunk.get(id)!);
          const image = parseObjectId(field(text, "image"), hash);
          for (const [suffix, named] of [["", image], [".before-image", undefined]] as const) {
            const golden = Deno.readFileSync(
              `${FIXTURES}splitstreams/${name}.${hash}${suffix}.splitstream`,
            );
            const bytes = encodeCommitStream(repository, result.commit, {
              entries,
              image: named,
              commitMeta: undefined,
            });
            assert.deepEqual(bytes, golden);
          }
          // The contents are the reference's objects, but for the image and the streams of commits.
          const own = [...repository.objects.list()].map((id) =>
            `objects/${id.slice(0, 2)}/${id.slice(2)}`
          );
          const theirs = new Set(expected(`${name}.${hash}.objects.txt`).trim().split("\n"));
          const link = expected(`${name}.${hash}.stream-link.txt`).trim().replace("../", "");
          assert.ok(theirs.has(link));
          const extra = own.filter((object) => !theirs.has(object));
          // Ours alone: the right image and its stream, and kept signatures.
          assert.ok(extra.length <= 2, extra.join("\n"));
          if (["buo", "fb"].includes(name)) {
            assert.deepEqual(extra, []);
            assert.equal(`objects/${result.stream.slice(0, 2)}/${result.stream.slice(2)}`, link);
          }
        });
      }
    }
  },
});

Deno.test("A tag's commit is a base: only what is new is fetched", async () => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "archive");
  using repository = newRepository(dir, "sha512");
  await pullFrom(repository, path, { reference: COMMITS.commitA!, tag: "t" });
  const result = await pullFrom(repository, path, { reference: "test/stable" });
  assert.equal(result.stats.metadata, 6);
  assert.equal(result.stats.files, 6);
  assert.equal(result.stats.inherited, 8 + 21);
  using alone = newRepository(dir, "sha512");
  const whole = await pullFrom(alone, path, { reference: "test/stable" });
  assert.equal(whole.stream, result.stream);
});

Deno.test("Any stored commit helps, the one with --base-name must be there", async () => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "archive");
  using repository = newRepository(dir);
  await pullFrom(repository, path, { reference: COMMITS.commitB!, tag: "newer" });
  const base = { reference: COMMITS.commitA!, tag: "older", baseName: "newer" };
  const result = await pullFrom(repository, path, base);
  assert.equal(result.stats.inherited, 8 + 21);
  const missing = { reference: "test/stable", baseName: "nosuch" };
  using empty = newRepository(dir);
  assert.match(
    await failure(() => pullFrom(empty, path, missing)),
    /Opening stream 'refs\/ostree\/nosuch'/,
  );
});

Deno.test("A commit that is there gets its tag and nothing is fetched", async () => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "archive");
  using repository = newRepository(dir);
  const first = await pullFrom(repository, path, { reference: COMMITS.commitB! });
  assert.deepEqual(listCommitTags(repository), []);
  const again = await pullFrom(repository, path, { reference: "test/stable" });
  assert.ok(again.present);
  assert.equal(again.stream, first.stream);
  assert.equal(again.stats.metadata + again.stats.files, 0);
  assert.deepEqual(listCommitTags(repository), [{ name: "test/stable", commit: first.commit }]);
  const untagged = await pullFrom(repository, path, { reference: "test/stable", tag: null });
  assert.equal(untagged.tag, undefined);
});

Deno.test("What goes through workers is the same", async () => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "archive");
  const streams: string[] = [];
  for (const jobs of [1, 2]) {
    using repository = newRepository(dir);
    using source = LocalRepository.open(path);
    const { objects, algorithm, secure } = repository;
    const target = { objects: { dir: objects.makeDirectory().number, algorithm, secure } };
    const arrived: string[] = [];
    const files = fileObjects(source);
    {
      await using running = source.importFiles({
        target,
        jobs,
        arrived: (file) => arrived.push(`${file.checksum} ${file.object?.id} ${file.data}`),
      });
      // Enough for a pool to be worth it.
      for (let i = 0; i < 12; i++) for (const file of files) await running.add(file);
      await running.drain();
    }
    assert.equal(arrived.length, 12 * files.length);
    streams.push([...new Set(arrived)].sort().join("\n"));
  }
  assert.equal(streams[0], streams[1]);
});

Deno.test("Whoever drains is told why what came from a worker was not taken", async () => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "archive");
  using repository = newRepository(dir);
  using source = LocalRepository.open(path);
  const { objects, algorithm, secure } = repository;
  const target = { objects: { dir: objects.makeDirectory().number, algorithm, secure } };
  const files = fileObjects(source);
  let refused = 0;
  await using running = source.importFiles({
    target,
    jobs: 2,
    arrived: () => {
      refused++;
      throw new Error("Not wanted");
    },
  });
  for (let i = 0; i < 20; i++) for (const file of files) await running.add(file);
  // The worker has the first word: this thread only listens until then.
  for (let i = 0; i < 30_000 && refused === 0; i++) await pause();
  await assert.rejects(running.drain(), { message: "Not wanted" });
  assert.equal(refused, 1);
});

Deno.test("A pull that is given up wakes the threads that wait for more", async () => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "archive");
  using repository = newRepository(dir);
  using source = LocalRepository.open(path);
  const { objects, algorithm, secure } = repository;
  const target = { objects: { dir: objects.makeDirectory().number, algorithm, secure } };
  const files = fileObjects(source);
  const abort = new AbortController();
  let arrived = 0;
  {
    await using running = source.importFiles({
      target,
      jobs: 3,
      signal: abort.signal,
      arrived: () => arrived++,
    });
    let asked = 0;
    for (; asked < 500;) for (const file of files) await running.add((asked++, file));
    // All are taken by workers, which wait for the next then.
    for (let i = 0; i < 30_000 && arrived < asked; i++) await pause();
    assert.equal(arrived, asked);
    abort.abort(new Error("Enough"));
    await assert.rejects(running.drain(), { message: "Enough" });
  }
});

Deno.test("A pull can be given up while it imports what its queue cannot hold", async () => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "archive");
  using repository = newRepository(dir);
  using source = LocalRepository.open(path);
  const { objects, algorithm, secure } = repository;
  const target = { objects: { dir: objects.makeDirectory().number, algorithm, secure } };
  const files = fileObjects(source);
  const abort = new AbortController();
  let arrived = 0;
  await using running = source.importFiles({
    target,
    jobs: 1,
    signal: abort.signal,
    arrived: () => arrived++,
  });
  let waited: Promise<void> | undefined;
  for (let i = 0; i < 100_000 && waited === undefined; i++) {
    waited = running.add(files[i % files.length]!);
  }
  assert.ok(waited !== undefined, "the queue holds everything");
  await waited;
  assert.ok(arrived > 0);
  setTimeout(() => abort.abort(new Error("Enough")), 1);
  const more = async () => {
    for (let i = 0; i < 10_000; i++) await running.add(files[i % files.length]!);
  };
  await assert.rejects(more(), { message: "Enough" });
});

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

/** All file objects of an archive repository. */
function fileObjects(source: LocalRepository): Checksum[] {
  const out: Checksum[] = [];
  const { dir } = source.places[0]!;
  const objects = `/proc/self/fd/${dir}`;
  for (const { name } of Deno.readDirSync(objects)) {
    for (const file of Deno.readDirSync(`${objects}/${name}`)) {
      const [rest, extension] = file.name.split(".");
      if (extension === "filez") out.push(name + rest as Checksum);
    }
  }
  assert.ok(out.length > 20);
  return out;
}

Deno.test("Detached metadata is kept", async () => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "signed");
  using repository = newRepository(dir);
  const { commit } = await pullFrom(repository, path, { reference: "signed" });
  const kept = readDetachedMetadata(repository, openCommit(repository, commit));
  assert.deepEqual(kept, Deno.readFileSync(`${FIXTURES}gpg/commitmeta.bin`));
  assert.equal(repository.listStreams().length, 2);
});

Deno.test("A size that lies is refused and nothing is registered", async () => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "wrong-size-filez");
  using repository = newRepository(dir);
  const text = await failure(() => pullFrom(repository, path, { reference: "nolink" }));
  assert.match(text, /file object [0-9a-f]{64}: header says 200 bytes, content has 3/);
  assert.deepEqual(repository.listStreams(), []);
  assert.deepEqual(repository.listRefs("streams"), []);
});

/** Refs of the malformed repository: what is said of each; undefined for the sound ones. */
const MALFORMED: Readonly<Record<string, RegExp | undefined>> = {
  "deep": undefined,
  "ok": undefined,
  "device-mode": /mode 8630; not a valid file type/,
  "dirmeta-not-dir": /Invalid directory metadata mode 33261; not a directory/,
  "dot-dir": /Invalid self-referential filename '\.'/,
  "dotdot-file": /Invalid path uplink filename '\.\.'/,
  "dup-file": /duplicate filename 'x'/,
  "dup-file-dir": /duplicate filename 'x'/,
  "empty-name": /Invalid empty filename/,
  "missing-tree": /No such dirtree object (03){32}/,
  "non-normal": /Not normal form/,
  "short-checksum": /Invalid checksum of length 31 expected 32/,
  "slash-file": /Invalid \/ in filename a\/b/,
  "unsorted": /not in order/,
  "xattr-dup": /Invalid xattrs: duplicate name/,
  "xattr-no-nul": /Invalid xattr name: missing NUL/,
  "xattr-unsorted": /Invalid xattrs: not sorted/,
};

Deno.test("Malformed trees are refused with the object named", async (t) => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "malformed-trees");
  const refs = [...Deno.readDirSync(`${path}/refs/heads`)].map(({ name }) => name).sort();
  assert.deepEqual(refs, Object.keys(MALFORMED).sort());
  const listed = expected("malformed-trees.reference.txt").matchAll(/^== (.*)$/gm);
  assert.deepEqual([...listed].map(([, name]) => name).sort(), refs);
  for (const reference of refs) {
    await t.step(reference, async () => {
      using repository = newRepository(dir, "sha512");
      const wanted = MALFORMED[reference];
      if (wanted === undefined) {
        const { image } = await pullFrom(repository, path, { reference });
        const section = expected("malformed-trees.reference.txt").split(`== ${reference}\n`)[1]!;
        assert.equal(image, field(section, "image"));
        return;
      }
      const text = await failure(() => pullFrom(repository, path, { reference }));
      assert.match(text, wanted);
      assert.match(text, /[0-9a-f]{64}/);
      assert.deepEqual(repository.listStreams(), []);
      assert.deepEqual(repository.listImages(), []);
      assert.deepEqual(repository.listRefs("streams"), []);
    });
  }
});

Deno.test("Every damaged object is found", async (t) => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "fallback");
  for (const extension of ["commit", "dirtree", "dirmeta", "filez"]) {
    await t.step(extension, async () => {
      using copy = new TempDir();
      const target = copy.join("r");
      const { code } = await new Deno.Command("cp", { args: ["-a", path, target] }).output();
      assert.equal(code, 0);
      for (const { name } of Deno.readDirSync(`${target}/objects`)) {
        for (const file of Deno.readDirSync(`${target}/objects/${name}`)) {
          if (!file.name.endsWith(`.${extension}`)) continue;
          const object = `${target}/objects/${name}/${file.name}`;
          const bytes = Deno.readFileSync(object);
          bytes[11]! ^= 1; // in headers the size or an owner, elsewhere content
          Deno.removeSync(object);
          Deno.writeFileSync(object, bytes);
        }
      }
      using repository = newRepository(dir);
      await failure(() => pullFrom(repository, target, { reference: "fb" }));
      assert.deepEqual(repository.listStreams(), []);
    });
  }
});

Deno.test("Names of commits in local repositories", async (t) => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "archive");
  const { commitA, commitB } = COMMITS;
  Deno.mkdirSync(`${path}/refs/remotes/origin/os`, { recursive: true });
  Deno.writeTextFileSync(`${path}/refs/remotes/origin/os/x`, `${commitA}\n`);
  Deno.symlinkSync("test/stable", `${path}/refs/heads/alias`);
  Deno.symlinkSync("/etc/hostname", `${path}/refs/heads/outside`);
  Deno.writeTextFileSync(`${path}/refs/heads/short`, "abc\n");
  using source = LocalRepository.open(path);
  const found: [string, string, string | undefined][] = [
    ["test/stable", commitB!, "test/stable"],
    ["heads/test/stable", commitB!, "heads/test/stable"],
    ["remotes/origin/os/x", commitA!, "remotes/origin/os/x"],
    ["origin:os/x", commitA!, "origin:os/x"],
    ["alias", commitB!, "alias"],
    [commitA!, commitA!, undefined],
    ["07c21", commitA!, undefined],
    ["9", commitB!, undefined],
    ["test/stable^", commitA!, undefined],
    ["927c^", commitA!, undefined],
  ];
  for (const [reference, commit, ref] of found) {
    await t.step(reference, async () => {
      assert.deepEqual(await source.resolve(reference), { commit, ref });
    });
  }
  const refused: [string, RegExp][] = [
    ["nosuch", /Refspec 'nosuch' not found/],
    ["../config", /Invalid refspec/],
    ["/etc/passwd", /Invalid refspec/],
    ["a//b", /Invalid refspec/],
    ["", /Invalid refspec/],
    ["test", /not found/],
    ["short", /Invalid checksum/],
    ["outside", /not found/],
    ["07c21^", /has no parent/],
    ["0000", /not found/],
  ];
  for (const [reference, message] of refused) {
    await t.step(`not ${reference}`, async () => {
      assert.match(await failure(() => source.resolve(reference)), message);
    });
  }
  await t.step("all of them", () => {
    const names = source.listRefs().map(({ name }) => name);
    assert.deepEqual(names, ["alias", "origin:os/x", "test/stable"]);
  });
});

Deno.test("Partial and deleted commits are refused before anything is fetched", async () => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "archive");
  const commit = COMMITS.commitB!;
  Deno.mkdirSync(`${path}/state`, { recursive: true });
  Deno.writeTextFileSync(`${path}/state/${commit}.commitpartial`, "");
  using repository = newRepository(dir);
  assert.match(
    await failure(() => pullFrom(repository, path, { reference: commit })),
    new RegExp(`commit ${commit} is partial in .* \\(state/${commit}.commitpartial\\)`),
  );
  Deno.removeSync(`${path}/state/${commit}.commitpartial`);
  const object = `${path}/objects/${commit.slice(0, 2)}/${commit.slice(2)}`;
  Deno.renameSync(`${object}.commit`, `${object}.tombstone-commit`);
  assert.match(
    await failure(() => pullFrom(repository, path, { reference: "test/stable" })),
    new RegExp(`commit ${commit} was deleted \\(tombstone\\)`),
  );
  assert.deepEqual([...repository.objects.list()], []);
});

testWith({
  name: "A commit that ostree deleted is told from one that was never there",
  needs: [needTool("ostree")],
  fn: async () => {
    using dir = new TempDir();
    const path = await unpackRepository(dir, "archive");
    const commit = COMMITS.commitB!;
    const ostree = (...args: string[]) => runOk(["ostree", `--repo=${path}`, ...args]);
    await ostree("config", "set", "core.tombstone-commits", "true");
    await ostree("refs", "--delete", "test");
    await ostree("prune", `--delete-commit=${commit}`);
    using repository = newRepository(dir);
    assert.match(
      await failure(() => pullFrom(repository, path, { reference: commit })),
      new RegExp(`commit ${commit} was deleted \\(tombstone\\)`),
    );
    // A parent repository may have it all the same, or not.
    const parent = await unpackRepository(dir, "bare");
    Deno.writeTextFileSync(`${path}/config`, `parent=${parent}\n`, { append: true });
    await pullFrom(repository, path, { reference: commit });
    using other = newRepository(dir);
    Deno.removeSync(`${parent}/objects/${commit.slice(0, 2)}/${commit.slice(2)}.commit`);
    assert.match(await failure(() => pullFrom(other, path, { reference: commit })), /tombstone/);
  },
});

Deno.test("Refs of remotes and mirrors are bound by their own names", async (t) => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "archive");
  const places = { "refs/remotes/org/test": "stable", "refs/remotes/org/other": "name" };
  for (const [at, name] of Object.entries({ ...places, "refs/mirrors/org.x/test": "stable" })) {
    Deno.mkdirSync(`${path}/${at}`, { recursive: true });
    Deno.writeTextFileSync(`${path}/${at}/${name}`, `${COMMITS.commitB}\n`);
  }
  const cases: Record<string, boolean> = {
    "test/stable": true,
    "heads/test/stable": true,
    "org:test/stable": true,
    "remotes/org/test/stable": true,
    "mirrors/org.x/test/stable": true,
    "org:other/name": false,
  };
  for (const [reference, fits] of Object.entries(cases)) {
    await t.step(reference, async () => {
      using repository = newRepository(dir);
      const warnings: string[] = [];
      await pullFrom(repository, path, {
        reference,
        progress: (event) => void (event.type === "warning" && warnings.push(event.text)),
      });
      assert.equal(warnings.length, fits ? 0 : 1, warnings.join());
    });
  }
});

Deno.test("Objects that are missing are looked for in the parent repository", async () => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "archive");
  const child = dir.join("child");
  Deno.mkdirSync(`${child}/objects`, { recursive: true });
  Deno.mkdirSync(`${child}/refs/heads`, { recursive: true });
  const config = `[core]\nrepo_version=1\nmode=bare-user\nparent=${path}\n`;
  Deno.writeTextFileSync(`${child}/config`, config);
  Deno.writeTextFileSync(`${child}/refs/heads/x`, COMMITS.commitB!);
  using repository = newRepository(dir);
  const { stats, image } = await pullFrom(repository, child, { reference: "x" });
  assert.equal(stats.files, 27);
  assert.equal(image, expected("commitB.sha256.image-id.corrected.txt").trim());
  Deno.writeTextFileSync(`${child}/config`, `[core]\nmode=bare\nparent=${child}\n`);
  assert.match(await failure(() => LocalRepository.open(child)), /More than 16 parent/);
});

Deno.test("Repositories that are none", async (t) => {
  using dir = new TempDir();
  const cases: [string, string | undefined, RegExp][] = [
    ["no config", undefined, /ostree repository not found/],
    ["an unknown mode", "[core]\nmode=strange\n", /Invalid mode 'strange'/],
    ["a newer version", "[core]\nrepo_version=2\nmode=bare\n", /Invalid repository version 2/],
    ["a broken config", "mode\n", /not a key-value pair/],
  ];
  for (const [name, config, message] of cases) {
    await t.step(name, async () => {
      const path = dir.join(name.replaceAll(" ", "-"));
      Deno.mkdirSync(`${path}/objects`, { recursive: true });
      if (config !== undefined) Deno.writeTextFileSync(`${path}/config`, config);
      assert.match(await failure(() => LocalRepository.open(path)), message);
    });
  }
});

Deno.test("Names of stored commits", async () => {
  using dir = new TempDir();
  const path = await unpackRepository(dir, "archive");
  using repository = newRepository(dir);
  assert.match(
    await failure(() => findCommit(repository, "ffff")),
    /^ostree commit prefix 'ffff' not found in repository$/,
  );
  await pullFrom(repository, path, { reference: COMMITS.commitA! });
  await pullFrom(repository, path, { reference: "test/stable" });
  assert.deepEqual(listCommits(repository), Object.values(COMMITS).sort());
  for (const name of ["a%2Fb", "%25", "%252F", "x y", "ü/ö", "a/b/c"]) {
    tagCommit(repository, COMMITS.commitA as Checksum, name);
    assert.equal(findCommit(repository, name), COMMITS.commitA);
  }
  const names = listCommitTags(repository).map(({ name }) => name);
  assert.deepEqual(names, ["%25", "%252F", "a%2Fb", "a/b/c", "test/stable", "x y", "ü/ö"]);
  const link = Deno.readLinkSync(`${repository.path}/streams/refs/ostree/a%252Fb`);
  assert.equal(link, `../../ostree-commit-${COMMITS.commitA}`);
  for (const name of ["", ".", "..", "x\0y", "n".repeat(300)]) {
    assert.notEqual(
      await failure(() => tagCommit(repository, COMMITS.commitA as Checksum, name)),
      "",
    );
  }
  assert.match(await failure(() => findCommit(repository, "nope")), /is not a known ostree ref/);
  assert.match(
    await failure(() => findCommit(repository, "0".repeat(64))),
    /^ostree commit 0{64} not found in repository$/,
  );
});
