import assert from "node:assert/strict";
import { openImageRef, pullImage } from "../../lib/oci/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { Child } from "../helpers/child.ts";
import "../helpers/libraries.ts";
import { content, header } from "../helpers/make_tar.ts";
import { ROOT, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { operations, tarDiff, writeDelta } from "../oci/_delta_layout.ts";
import { AMD64, type JsonDescriptor, LayoutMaker } from "../oci/_oci.ts";

const ROUNDS = 100;
const LAYERS = 3;
const FILES = 150;
const END = new Uint8Array(1024);

/** Layouts of an old image, of a delta from it to a new one, and of the new one. */
interface Layouts {
  old: string;
  delta: string;
  fresh: string;
}

/** Makes images whose new layers hold files of the old ones and new files by turns. */
function makeLayouts(dir: TempDir): Layouts {
  const rng = new Rng(7);
  const random = () => Uint8Array.from({ length: 500 + rng.below(30_000) }, () => rng.next());
  const makers = ["old", "delta", "fresh"].map((name) => new LayoutMaker(dir.join(name)));
  const usr = header({ name: "usr/", type: "5", mode: 0o755 });
  const file = (name: string, data: Uint8Array) =>
    Buffer.concat([header({ name: `usr/${name}`, size: data.length }), content(data)]);
  const contents = Array.from({ length: LAYERS }, () => Array.from({ length: FILES }, random));
  const before = contents.map((files, i) =>
    Buffer.concat([usr, ...files.map((data, n) => file(`${i}-${n}`, data)), END])
  );
  const after: Buffer[] = [];
  const patches: Uint8Array[] = [];
  for (const [i, files] of contents.entries()) {
    const tar: Uint8Array[] = [usr];
    const text: Uint8Array[] = [operations(usr)];
    for (const [n, data] of files.entries()) {
      const fresh = n % 3 === 0 ? random() : undefined;
      const entry = file(`new-${i}-${n}`, fresh ?? data);
      tar.push(entry);
      if (fresh !== undefined) text.push(operations(entry));
      else {
        const end = 512 + data.length;
        text.push(
          operations(entry.subarray(0, 512), `usr/${i}-${n}`, data.length, entry.subarray(end)),
        );
      }
    }
    after.push(Buffer.concat([...tar, END]));
    patches.push(tarDiff(Buffer.concat([...text, operations(END)])));
  }
  const images = makers.map((maker): [JsonDescriptor, JsonDescriptor] => [
    maker.image({ layers: before, platform: AMD64 }),
    maker.image({ layers: after, platform: AMD64 }),
  ]);
  const [old, fresh] = images[1]!;
  return {
    old: makers[0]!.index([images[0]![0]]),
    delta: makers[1]!.index([writeDelta(makers[1]!, { old, fresh, layers: patches })]),
    fresh: makers[2]!.index([images[2]![1]]),
  };
}

/** Starts applying in a process of its own, and waits until everything is loaded. */
async function start(path: string, delta: string): Promise<Child> {
  const child = Child.startModule(`${ROOT}tests/faults/_pull_child.ts`, [path, delta, "new"]);
  await child.said("ready");
  return child;
}

function state(repository: Repository): unknown {
  return [[...repository.objects.list()], repository.listStreams()];
}

Deno.test(`applying a delta, killed at ${ROUNDS} random points (SEED=${seed()})`, async (t) => {
  const rng = new Rng(seed());
  using dir = new TempDir();
  const { old, delta, fresh } = makeLayouts(dir);
  const options = { platform: AMD64, jobs: 2 };
  const base = dir.join("base");
  initRepository(base, { insecure: true });
  let objects = 0;
  {
    using repository = Repository.open(base);
    await pullImage(repository, old, { name: "old", ...options });
    objects = [...repository.objects.list()].length;
  }
  const direct = dir.join("direct");
  await runOk(["cp", "-a", base, direct]);
  using whole = Repository.open(direct);
  const { manifestDigest } = await pullImage(whole, fresh, { name: "new", ...options });
  const expected = state(whole);
  let duration = 0;
  {
    const path = dir.join("measured");
    await runOk(["cp", "-a", base, path]);
    const child = await start(path, delta);
    const started = performance.now();
    await child.said("done");
    duration = performance.now() - started;
    assert.ok(await child.end());
  }
  const phases = { before: 0, during: 0, after: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const path = dir.join(`r${round}`);
    await runOk(["cp", "-a", base, path]);
    const child = await start(path, delta);
    const delay = duration * rng.below(1000) / 1000;
    await new Promise((resolve) => setTimeout(resolve, delay));
    await child.kill();
    using repository = Repository.open(path);
    const where = `SEED=${seed()}, round ${round}, killed after ${delay} ms`;
    const report = await repository.fsck({ jobs: 1 });
    assert.ok(report.ok, `${where}: ${report.errors.join("\n")}`);
    openImageRef(repository, "old");
    if (repository.resolveRef("streams", "oci/new") !== undefined) phases.after++;
    else phases[[...repository.objects.list()].length > objects ? "during" : "before"]++;
    const result = await pullImage(repository, delta, { name: "new", ...options });
    assert.ok(result.manifestDigest.equals(manifestDigest));
    repository.gc();
    assert.deepEqual(state(repository), expected, where);
    Deno.removeSync(path, { recursive: true });
  }
  await t.step(`over ${duration.toFixed()} ms: ${JSON.stringify(phases)}`, () => {
    assert.ok(phases.during > 0, "none was killed in the middle");
  });
});
