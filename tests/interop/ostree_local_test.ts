/** Local pulls next to the reference's, in both directions over the same repository. */
import assert from "node:assert/strict";
import {
  checkStoredCommit,
  type Checksum,
  createCommitImage,
  exportCommit,
  findCommit,
  openCommit,
} from "../../lib/ostree/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { findTool } from "../helpers/tool.ts";
import {
  COMMITS,
  expected,
  failure,
  newRepository,
  pullFrom,
  UNPACKING,
  unpackRepository,
} from "../ostree/_local.ts";

const HASHES = ["sha256", "sha512"] as const;
const commitB = COMMITS.commitB as Checksum;

async function cfsctl(repository: Repository, ...args: string[]): Promise<string> {
  const program = findTool("cfsctl")!;
  const command = [program, "--insecure", "--repo", repository.path, ...args];
  return (await runOk(command)).stdout;
}

testWith({
  name: "cfsctl works with the commits that we store",
  needs: [...UNPACKING, needTool("cfsctl"), needTool("ostree")],
  fn: async (t) => {
    using dir = new TempDir();
    for (const hash of HASHES) {
      for (const [name, repo] of [["commitB", "bare"], ["buo", "buo"], ["signed", "signed"]]) {
        await t.step(`${name}, ${hash}`, async () => {
          const path = await unpackRepository(dir, repo!);
          using repository = newRepository(dir, hash);
          const reference = COMMITS[name!] ?? name!;
          const { commit, image } = await pullFrom(repository, path, { reference, tag: "ours" });
          const list = await cfsctl(repository, "ostree", "images");
          assert.ok(list.includes(`│ ours ┆ ${commit} │`), list);
          const shown = await cfsctl(repository, "ostree", "inspect", "ours");
          assert.equal(shown, expected(`${name}.${hash}.inspect.txt`));
          assert.equal((await cfsctl(repository, "ostree", "compute-id", "ours")).trim(), image);
          const again = await cfsctl(repository, "ostree", "pull-local", path, reference);
          assert.match(again, /objects 0 metadata \+ 0 files fetched/);
          assert.deepEqual((await checkStoredCommit(repository, commit)).errors, []);
          const fsck = await cfsctl(repository, "fsck");
          assert.match(fsck, /ok|No errors|consistent/i);
          const out = dir.join(`out-${name}-${hash}`);
          await runOk(["ostree", "init", `--repo=${out}`, "--mode=bare-user"]);
          await cfsctl(repository, "ostree", "export", "ours", out, "--reference", "r");
          await runOk(["ostree", "fsck", `--repo=${out}`]);
        });
      }
    }
  },
});

testWith({
  name: "We work with the commits that cfsctl stores",
  needs: [...UNPACKING, needTool("cfsctl"), needTool("ostree")],
  fn: async (t) => {
    using dir = new TempDir();
    for (const hash of HASHES) {
      await t.step(`pulled, ${hash}`, async () => {
        const path = await unpackRepository(dir, "archive");
        using repository = newRepository(dir, hash);
        await cfsctl(repository, "ostree", "pull-local", path, COMMITS.commitA!);
        // Its commit serves as base; its image has attributes with broken names.
        const { stats } = await pullFrom(repository, path, { reference: "test/stable" });
        assert.equal(`${stats.metadata} ${stats.files}`, "6 6");
        const commitA = findCommit(repository, "07c2");
        assert.match(
          (await checkStoredCommit(repository, commitA)).errors.join("\n"),
          /its files make/,
        );
        const { image, replaced } = createCommitImage(repository, commitA);
        assert.ok(replaced !== undefined && replaced !== image);
        if (hash === "sha256") {
          assert.equal(image, expected("commitA.sha256.image-id.corrected.txt").trim());
        }
        assert.deepEqual((await checkStoredCommit(repository, commitA)).errors, []);
      });
      await t.step(`made of an image, ${hash}`, async () => {
        const path = await unpackRepository(dir, "archive");
        using repository = newRepository(dir, hash);
        const { image } = await pullFrom(repository, path, { reference: commitB });
        await cfsctl(repository, "ostree", "commit", image, "--reference", "theirs");
        const commit = findCommit(repository, "theirs");
        const { chunk } = openCommit(repository, commit);
        assert.equal(chunk.commit, commit);
        // Names of attributes lack their NUL there, but everything can be read and verified.
        assert.deepEqual((await checkStoredCommit(repository, commit)).errors, []);
        // No repository of ostree could hold it.
        const out = dir.join(`theirs-${hash}`);
        await runOk(["ostree", "init", `--repo=${out}`, "--mode=bare"]);
        const text = await failure(() => exportCommit(repository, commit, { path: out }));
        assert.match(text, /^Exporting .* missing NUL terminator$/);
      });
      await t.step(`without attributes, ${hash}: the same repository, byte for byte`, async () => {
        const path = await unpackRepository(dir, "buo");
        using ours = newRepository(dir, hash);
        using theirs = newRepository(dir, hash);
        const result = await pullFrom(ours, path, { reference: "buo" });
        const text = await cfsctl(theirs, "ostree", "pull-local", path, "buo");
        assert.match(text, new RegExp(`^image {3}${result.image}$`, "m"));
        theirs.gc(); // drops the stream from before the image
        assert.deepEqual([...ours.objects.list()], [...theirs.objects.list()]);
        assert.deepEqual(ours.listStreams(), theirs.listStreams());
        assert.deepEqual(ours.listRefs("streams"), theirs.listRefs("streams"));
        const out = dir.join(`buo-out-${hash}`);
        await runOk(["ostree", "init", `--repo=${out}`, "--mode=archive"]);
        await exportCommit(theirs, result.commit, { path: out });
        await runOk(["ostree", "fsck", `--repo=${out}`]);
      });
    }
  },
});
