import assert from "node:assert/strict";
import {
  type Checksum,
  commitTree,
  createCommitImage,
  LocalRepository,
  openCommit,
  pullCommit,
} from "../../lib/ostree/mod.ts";
import { storedImageId } from "../../lib/ostree/commit_tree.ts";
import { Repository } from "../../lib/repository/mod.ts";
import { TempDir } from "../helpers/temp.ts";
import { newRepository, unpack } from "./_remote.ts";

/** A repository whose images are written in both formats. */
function newBothRepository(path: string): Repository {
  newRepository(path)[Symbol.dispose]();
  setFormats(path, { default: 1, extra: [2] });
  return Repository.open(path);
}

function setFormats(path: string, formats: { default: number; extra?: number[] }): void {
  const file = `${path}/meta.json`;
  const meta = JSON.parse(Deno.readTextFileSync(file));
  Deno.writeTextFileSync(file, JSON.stringify({ ...meta, erofs_formats: formats }));
}

function wantedImages(repository: Repository, commit: Checksum): string[] {
  const { chunk } = openCommit(repository, commit);
  const tree = commitTree(commit, (id) => chunk.get(id));
  return ([1, 2] as const).map((version) => storedImageId(repository, tree, version));
}

Deno.test("a commit gets its image in each format of the repository", async (t) => {
  using dir = new TempDir();
  using source = LocalRepository.open(unpack(dir.join("remote"), "archive"));
  using repository = newBothRepository(dir.join("repo"));
  const { commit, image } = await pullCommit(repository, source, { reference: "test/stable" });
  const [one, two] = wantedImages(repository, commit);
  await t.step("pulled", () => {
    assert.equal(image, one);
    const stored = openCommit(repository, commit);
    assert.equal(stored.image, one);
    assert.deepEqual([...stored.moreImages], [[2, two]]);
    for (const id of [one, two]) assert.ok(repository.hasImage(id as typeof image));
  });
  await t.step("kept by gc", () => {
    repository.gc();
    for (const id of [one, two]) assert.ok(repository.hasImage(id as typeof image));
  });
});

Deno.test("createCommitImage() makes the images of formats that came later", async () => {
  using dir = new TempDir();
  using source = LocalRepository.open(unpack(dir.join("remote"), "archive"));
  const path = dir.join("repo");
  let commit: Checksum;
  {
    using repository = newRepository(path);
    ({ commit } = await pullCommit(repository, source, { reference: "test/stable" }));
    assert.deepEqual([...openCommit(repository, commit).moreImages], []);
  }
  setFormats(path, { default: 1, extra: [2] });
  using repository = Repository.open(path);
  const [one, two] = wantedImages(repository, commit);
  assert.deepEqual(createCommitImage(repository, commit), { image: one, replaced: undefined });
  const stored = openCommit(repository, commit);
  assert.deepEqual([...stored.moreImages], [[2, two]]);
  createCommitImage(repository, commit);
  assert.equal(openCommit(repository, commit).stream, stored.stream);
});
