/** What a check has found damaged of a commit is healed by the next pull. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { type ObjectId, objectPath, type ProgressEvent } from "../../lib/base/mod.ts";
import {
  checkStoredCommit,
  openCommit,
  type OstreePullOptions,
  Suspects,
} from "../../lib/ostree/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { testWith } from "../helpers/needs.ts";
import { TempDir } from "../helpers/temp.ts";
import { listTree } from "../repository/_fixtures.ts";
import { COMMITS, newRepository, pullFrom, UNPACKING, unpackRepository } from "./_local.ts";

const [A, B] = [COMMITS.commitA!, COMMITS.commitB!];

function list(repository: Repository): string | undefined {
  const path = `${repository.path}/cfs-damage`;
  return existsSync(path) ? Deno.readTextFileSync(path) : undefined;
}

function flip(repository: Repository, id: ObjectId): void {
  const path = `${repository.path}/objects/${objectPath(id)}`;
  const bytes = Deno.readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  Deno.removeSync(path);
  Deno.writeFileSync(path, bytes);
}

async function pull(repository: Repository, path: string, options: OstreePullOptions = {}) {
  const warnings: string[] = [];
  const result = await pullFrom(repository, path, {
    reference: B,
    tag: "t",
    progress(event: ProgressEvent) {
      if (event.type === "warning") warnings.push(event.text);
    },
    ...options,
  });
  return { ...result, warnings };
}

/** The objects of a commit: contents of files, and the image. */
function objectsOf(repository: Repository, commit = B): ObjectId[] {
  const { chunk, image } = openCommit(repository, commit as never);
  const out = new Set<ObjectId>([image!]);
  for (let i = 0; i < chunk.count; i++) {
    const { external } = chunk.entry(i);
    if (external !== undefined) out.add(external);
  }
  return [...out];
}

/** How many files of a commit have an object as their content. */
function users(repository: Repository, id: ObjectId): number {
  const { chunk } = openCommit(repository, B as never);
  let count = 0;
  for (let i = 0; i < chunk.count; i++) if (chunk.entry(i).external === id) count++;
  return count;
}

testWith({
  name: "a commit that is pulled once more is healed of what either check has found",
  needs: UNPACKING,
  async fn(t) {
    using dir = new TempDir();
    for (const repo of ["archive", "bare"] as const) {
      const path = await unpackRepository(dir, repo);
      using repository = newRepository(dir);
      await pull(repository, path);
      const before = listTree(repository.path);
      const checks = {
        fsck: () => repository.fsck({ jobs: 1 }),
        "ostree fsck": () => checkStoredCommit(repository, B as never, { jobs: 1 }),
      };
      for (const [name, check] of Object.entries(checks)) {
        for (const id of objectsOf(repository)) {
          await t.step(`${repo}, ${name}, ${id.slice(0, 8)}`, async () => {
            const bytes = repository.objects.read(id);
            flip(repository, id);
            assert.equal((await pull(repository, path)).present, true);
            await check();
            assert.equal(list(repository), `cfs-damage 1\n${id}\n`);
            const healed = await pull(repository, path);
            assert.equal(healed.warnings[0], "1 object of the commit found damaged; made anew");
            assert.equal(healed.present, false);
            // What is sound is not fetched.
            assert.equal(healed.stats.files, users(repository, id));
            assert.deepEqual(repository.objects.read(id), bytes);
            assert.equal(list(repository), undefined);
            assert.deepEqual(listTree(repository.path), before);
            assert.equal((await pull(repository, path)).present, true);
          });
        }
      }
      assert.equal((await repository.fsck({ jobs: 1 })).ok, true);
    }
  },
});

testWith({
  name: "looking for damage in all of a commit can be given up",
  needs: UNPACKING,
  async fn() {
    using dir = new TempDir();
    const path = await unpackRepository(dir, "archive");
    using repository = newRepository(dir);
    await pull(repository, path);
    Deno.writeTextFileSync(`${repository.path}/cfs-damage`, "nonsense");
    const commit = openCommit(repository, B as never);
    // What any object takes: it is hashed, and more than a turn's time goes by.
    const slow = Object.create(repository, {
      objects: {
        value: {
          isSound(id: ObjectId): boolean {
            for (const until = performance.now() + 60; performance.now() < until;);
            return repository.objects.isSound(id);
          },
        },
      },
      knownDamage: { value: () => repository.knownDamage() },
    });
    const abort = new AbortController();
    setTimeout(() => abort.abort(new Error("Enough")), 1);
    await assert.rejects(new Suspects(slow).count(commit, abort.signal), { message: "Enough" });
  },
});

testWith({
  name: "so can looking for it in the commit that another one is based on",
  needs: UNPACKING,
  async fn() {
    using dir = new TempDir();
    const path = await unpackRepository(dir, "archive");
    using repository = newRepository(dir);
    await pull(repository, path, { reference: A } as OstreePullOptions);
    Deno.writeTextFileSync(`${repository.path}/cfs-damage`, "nonsense");
    const { objects } = repository;
    const isSound = objects.isSound.bind(objects);
    let looks = 0;
    objects.isSound = (id) => {
      looks++;
      for (const until = performance.now() + 60; performance.now() < until;);
      return isSound(id);
    };
    const abort = new AbortController();
    setTimeout(() => abort.abort(new Error("Enough")), 1);
    await assert.rejects(pull(repository, path, { signal: abort.signal }), { message: "Enough" });
    assert.ok(looks > 0);
  },
});

testWith({
  name: "another commit fetches the files that are damaged in the one that it is based on",
  needs: UNPACKING,
  async fn() {
    using dir = new TempDir();
    const path = await unpackRepository(dir, "archive");
    using repository = newRepository(dir);
    await pull(repository, path, { reference: A } as OstreePullOptions);
    using fresh = newRepository(dir);
    await pull(fresh, path);
    const shared = objectsOf(fresh).filter((id) => repository.objects.size(id) !== undefined);
    assert.ok(shared.length > 0);
    for (const id of shared) flip(repository, id);
    await repository.fsck({ jobs: 1 });
    await pull(repository, path);
    for (const id of objectsOf(repository)) assert.ok(repository.objects.isSound(id), id);
    assert.equal((await repository.fsck({ jobs: 1 })).ok, true);
    assert.equal(list(repository), undefined);
  },
});

testWith({
  name: "a commit is healed where anything may be damaged, and a list of what is healed is no harm",
  needs: UNPACKING,
  async fn() {
    using dir = new TempDir();
    const path = await unpackRepository(dir, "archive");
    using repository = newRepository(dir);
    await pull(repository, path);
    const [id] = objectsOf(repository);
    flip(repository, id!);
    Deno.writeTextFileSync(`${repository.path}/cfs-damage`, "nonsense");
    assert.equal((await pull(repository, path)).present, false);
    assert.equal((await repository.fsck({ jobs: 1 })).ok, true);
    assert.equal(list(repository), undefined);
    repository.noteDamage({ damaged: [id!] });
    assert.equal((await pull(repository, path)).present, true);
    assert.equal(list(repository), undefined);
    repository.noteDamage({ damaged: [id!] });
    await checkStoredCommit(repository, B as never, { jobs: 1 });
    assert.equal(list(repository), undefined);
  },
});
