import assert from "node:assert/strict";
import { pullImage } from "../../lib/oci/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import "../helpers/libraries.ts";
import { ROOT, run, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { makeImage } from "./_image.ts";

const ROUNDS = 6;

function pull(path: string, image: string, tag: string) {
  const script = `${ROOT}tests/faults/_pull_child.ts`;
  const options = ["run", "-A", "--quiet", "--no-check"];
  return runOk([Deno.execPath(), ...options, script, path, image, tag]);
}

function collect(path: string) {
  const script = `${ROOT}tests/faults/_gc_child.ts`;
  return run([Deno.execPath(), "run", "-A", "--quiet", "--no-check", script, path]);
}

Deno.test("two pulls and a gc at once lose nothing", async () => {
  using dir = new TempDir();
  // The second image shares no layer with the first one; the third pull is of the first again.
  const images = [1, 2].map((seed) => makeImage(dir, { name: `image${seed}`, seed }));
  const expected: string[][] = [];
  for (const image of images) {
    const path = dir.join("expected");
    initRepository(path, { insecure: true });
    using repository = Repository.open(path);
    await pullImage(repository, image, { name: "tag" });
    repository.gc();
    expected.push([...repository.objects.list()]);
    Deno.removeSync(path, { recursive: true });
  }
  const union = [...new Set(expected.flat())].sort();
  for (let round = 0; round < ROUNDS; round++) {
    const path = dir.join(`r${round}`);
    initRepository(path, { insecure: true });
    const same = round % 2 === 0;
    const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    const results = await Promise.all([
      pull(path, images[0]!, "one"),
      wait(round * 20).then(() => pull(path, images[same ? 0 : 1]!, "two")),
      wait(round * 40).then(() => collect(path)),
      wait(150 + round * 40).then(() => collect(path)),
    ]);
    for (const result of results) assert.equal(result.code, 0, result.stderr);
    using repository = Repository.open(path);
    const report = await repository.fsck();
    assert.ok(report.ok, `round ${round}: ${report.errors.join("\n")}`);
    assert.deepEqual(repository.listRefs("streams").map(({ name }) => name), [
      "oci/one",
      "oci/two",
    ]);
    repository.gc();
    assert.deepEqual([...repository.objects.list()], same ? expected[0] : union, `round ${round}`);
    Deno.removeSync(path, { recursive: true });
  }
});

Deno.test("many writers of the same objects and names get along", async () => {
  using dir = new TempDir();
  const path = dir.join("r");
  initRepository(path, { insecure: true });
  const script = `${ROOT}tests/faults/_write_child.ts`;
  const options = ["run", "-A", "--quiet", "--no-check"];
  await Promise.all(
    Array.from({ length: 4 }, () => runOk([Deno.execPath(), ...options, script, path])),
  );
  using repository = Repository.open(path);
  const report = await repository.fsck();
  assert.ok(report.ok, report.errors.join("\n"));
  assert.deepEqual(report.warnings, []);
  assert.equal(repository.listStreams().length, 20);
  assert.equal(repository.listRefs("streams").length, 10);
});
