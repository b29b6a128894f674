import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { pullImage, type PullOptions } from "../../lib/oci/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { Child } from "../helpers/child.ts";
import { content, header } from "../helpers/make_tar.ts";
import { FaultProxy } from "../helpers/fault_proxy.ts";
import "../helpers/libraries.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TestRegistry } from "../helpers/registry.ts";
import { ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { makeImage } from "../oci/_oci.ts";

const CUTS = 200;
const KILLS = 25;
/** What may be fetched once more than was missing, in bytes. */
const ALLOWED = 2 * 1024 * 1024;
/** Sizes of the layers in bytes; nothing packs them. */
const LAYERS = [2_600_000, 2_400_000, 700_000] as const;

const REGISTRY = {
  tlsVerify: false,
  surroundings: { variable: () => undefined, uid: 0, root: "/nonexistent" },
  http: { retries: 0, backoff: 1 },
} as const;

const PULL: PullOptions = { name: "tag", jobs: 2, registry: REGISTRY };

function noisyLayer(size: number, rng: Rng): Uint8Array {
  const bytes = new Uint8Array(size);
  const words = new Uint32Array(bytes.buffer, 0, size >> 2);
  for (let i = 0; i < words.length; i++) words[i] = rng.next();
  const parts: Uint8Array[] = [header({ name: "usr/", type: "5", mode: 0o755 })];
  const step = size >> 3;
  for (let at = 0; at < size; at += step) {
    const file = bytes.subarray(at, Math.min(at + step, size));
    parts.push(header({ name: `usr/${size}-${at}`, size: file.length }));
    parts.push(content(file));
  }
  parts.push(new Uint8Array(1024));
  return new Uint8Array(Buffer.concat(parts));
}

/** A registry with an image that is worth going on with. */
async function serve(dir: TempDir): Promise<TestRegistry> {
  const rng = new Rng(7);
  const layers = LAYERS.map((size) => noisyLayer(size, rng));
  const registry = await TestRegistry.start();
  await registry.push(makeImage(dir.join("layout"), { layers, packing: "plain" }), "noise:v1", [
    "--preserve-digests",
  ]);
  return registry;
}

/** Everything that a repository holds. */
function contents(repository: Repository): unknown {
  return [[...repository.objects.list()], repository.listStreams()];
}

/** What a whole pull leaves, and how much it fetches. */
async function pullWhole(dir: TempDir, registry: TestRegistry) {
  initRepository(dir.join("whole"), { insecure: true });
  using repository = Repository.open(dir.join("whole"));
  await using proxy = new FaultProxy(registry.host);
  await pullImage(repository, `docker://${proxy.host}/noise:v1`, PULL);
  return { contents: contents(repository), fetched: proxy.sent };
}

/** Pulls what is left, and checks that nothing but that was fetched. */
async function finish(
  repository: Repository,
  options: { registry: TestRegistry; whole: { contents: unknown; fetched: number }; had: number },
): Promise<void> {
  const { registry, whole, had } = options;
  assert.ok((await repository.fsck({ jobs: 1 })).ok);
  await using proxy = new FaultProxy(registry.host);
  await pullImage(repository, `docker://${proxy.host}/noise:v1`, PULL);
  const missing = whole.fetched - had;
  assert.ok(proxy.sent <= missing + ALLOWED, `${proxy.sent} fetched, ${missing} missing`);
  repository.gc();
  assert.deepEqual(contents(repository), whole.contents);
  assert.deepEqual(
    [...Deno.readDirSync(`${repository.path}/`)].filter(({ name }) => name === "downloads"),
    [],
  );
}

testWith({
  name: `a pull cut off at ${CUTS} random points goes on where it was (SEED=${seed()})`,
  needs: [needTool("docker-registry"), needTool("skopeo")],
  async fn(t) {
    const rng = new Rng(seed());
    using dir = new TempDir();
    await using registry = await serve(dir);
    const whole = await pullWhole(dir, registry);
    let begun = 0;
    for (let round = 0; round < CUTS; round++) {
      const path = dir.join(`r${round}`);
      initRepository(path, { insecure: true });
      using repository = Repository.open(path);
      await using proxy = new FaultProxy(
        registry.host,
        // The first one of the blobs to get to its point ends the pull.
        ({ path }) => path.includes("/blobs/") ? { cut: rng.below(LAYERS[0]) } : {},
      );
      const reference = `docker://${proxy.host}/noise:v1`;
      await pullImage(repository, reference, PULL).then(() => {}, () => begun++);
      await finish(repository, { registry, whole, had: proxy.sent });
      Deno.removeSync(path, { recursive: true });
    }
    await t.step(`${begun} were cut off`, () => assert.ok(begun > CUTS / 2));
  },
});

testWith({
  name: `a pull killed at ${KILLS} random points goes on where it was (SEED=${seed()})`,
  needs: [needTool("docker-registry"), needTool("skopeo")],
  async fn(t) {
    const rng = new Rng(seed());
    using dir = new TempDir();
    await using registry = await serve(dir);
    const whole = await pullWhole(dir, registry);
    let held = 0;
    for (let round = 0; round < KILLS; round++) {
      const path = dir.join(`r${round}`);
      initRepository(path, { insecure: true });
      // Each layer up to a point of its own, so that there is time to kill.
      await using proxy = new FaultProxy(
        registry.host,
        ({ path }) => path.includes("/blobs/") ? { halt: 2000 + rng.below(LAYERS[0]) } : {},
      );
      const reference = `docker://${proxy.host}/noise:v1`;
      const child = Child.startModule(`${ROOT}tests/faults/_pull_child.ts`, [
        path,
        reference,
        "tag",
      ]);
      await child.said("ready");
      while (!proxy.requests.some(({ path }) => path.includes("/blobs/"))) await sleep(5);
      await sleep(rng.below(400));
      await child.kill();
      using repository = Repository.open(path);
      // What was sent may have been in sockets still, which are gone with the process.
      const had = heldBytes(path);
      if (had > 0) held++;
      await finish(repository, { registry, whole, had });
      Deno.removeSync(path, { recursive: true });
    }
    await t.step(`${held} had something to go on with`, () => assert.ok(held > 0));
  },
});

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Bytes that unfinished downloads have left. */
function heldBytes(path: string): number {
  try {
    return [...Deno.readDirSync(`${path}/downloads`)]
      .reduce((sum, { name }) => sum + Deno.statSync(`${path}/downloads/${name}`).size, 0);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}
