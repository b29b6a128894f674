import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { pullImage, pushImage } from "../../lib/oci/mod.ts";
import type { RegistryAccess } from "../../lib/transport/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { Child } from "../helpers/child.ts";
import "../helpers/libraries.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TestRegistry } from "../helpers/registry.ts";
import { ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { makeImage } from "./_image.ts";

/** Without the credentials and settings of whoever runs the tests. */
const ACCESS: RegistryAccess = {
  tlsVerify: false,
  surroundings: { variable: () => undefined, uid: 0, root: "/nothing" },
};

async function startPush(path: string, destination: string): Promise<Child> {
  const child = Child.startModule(`${ROOT}tests/faults/_push_child.ts`, [path, "tag", destination]);
  await child.said("ready");
  return child;
}

/** Milliseconds that an undisturbed push takes from `ready` to `done`. */
async function measure(path: string, destination: string): Promise<number> {
  const child = await startPush(path, destination);
  const started = performance.now();
  await child.said("done");
  const took = performance.now() - started;
  assert.ok(await child.end());
  return took;
}

/** Pushes and kills it after a while; whether it had ended by then. */
async function killPush(path: string, destination: string, after: number): Promise<boolean> {
  const child = await startPush(path, destination);
  await new Promise((resolve) => setTimeout(resolve, after));
  return await child.kill();
}

/** Every blob that has a name is what its name says; an index leads to blobs that are there. */
function assertSoundLayout(path: string): boolean {
  const blobs = new Set<string>();
  for (const { name } of entries(`${path}/blobs/sha256`)) {
    if (name.startsWith(".cfs-")) continue; // the next push removes it
    const bytes = Deno.readFileSync(`${path}/blobs/sha256/${name}`);
    assert.equal(createHash("sha256").update(bytes).digest("hex"), name);
    blobs.add(name);
  }
  if (!exists(`${path}/index.json`)) return false;
  const { manifests } = JSON.parse(Deno.readTextFileSync(`${path}/index.json`));
  for (const { digest } of manifests) {
    const hex = digest.replace("sha256:", "");
    assert.ok(blobs.has(hex));
    const manifest = JSON.parse(Deno.readTextFileSync(`${path}/blobs/sha256/${hex}`));
    for (const blob of [manifest.config, ...manifest.layers]) {
      assert.ok(blobs.has(blob.digest.replace("sha256:", "")));
    }
  }
  return true;
}

function entries(path: string): Deno.DirEntry[] {
  return exists(path) ? [...Deno.readDirSync(path)] : [];
}

/** Names in a layout that nothing goes by any more. */
function temporaries(path: string): string[] {
  const names = [path, `${path}/blobs/sha256`].filter((one) => isDirectory(one)).flatMap(entries);
  return names.map(({ name }) => name).filter((name) => name.startsWith(".cfs-"));
}

function isDirectory(path: string): boolean {
  return exists(path) && Deno.lstatSync(path).isDirectory;
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    if (error instanceof Deno.errors.NotADirectory) return false; // below an archive
    throw error;
  }
}

/** A repository with an image of some 20 MB. */
async function prepare(dir: TempDir): Promise<string> {
  const path = dir.join("repository");
  initRepository(path, { insecure: true });
  using repository = Repository.open(path);
  await pullImage(repository, makeImage(dir, { name: "image", seed: 1 }), { name: "tag" });
  return path;
}

/** Pulls what is there into a repository of its own; returns its digest. */
async function pulledDigest(destination: string, dir: TempDir): Promise<string> {
  const path = Deno.makeTempDirSync({ dir: dir.path });
  initRepository(`${path}/r`, { insecure: true });
  using repository = Repository.open(`${path}/r`);
  const options = { name: "t", registry: ACCESS, jobs: 1 };
  const { manifestDigest } = await pullImage(repository, destination, options);
  Deno.removeSync(path, { recursive: true });
  return manifestDigest.toString();
}

/** Pushes again, to the end; returns the digest of what was pushed. */
async function pushAgain(path: string, destination: string): Promise<string> {
  using repository = Repository.open(path);
  const report = await repository.fsck({ jobs: 1, metadataOnly: true });
  assert.ok(report.ok, report.errors.join("\n"));
  const options = { destination, access: ACCESS, jobs: 1 };
  return (await pushImage(repository, "tag", options)).manifestDigest.toString();
}

interface Place {
  readonly rounds: number;
  readonly needs: Parameters<typeof testWith>[0]["needs"];
  /** Checks what is visible; whether the image is. */
  readonly check: (path: string) => boolean;
}

const PLACES: Record<"oci" | "oci-archive", Place> = {
  "oci": { rounds: 50, needs: [], check: assertSoundLayout },
  // An archive is there or it is not; that it is whole shows when it is pulled.
  "oci-archive": { rounds: 25, needs: [], check: exists },
};

for (const [transport, { rounds, needs, check }] of Object.entries(PLACES)) {
  testWith({
    name: `a push to ${transport} killed at ${rounds} random points leaves nothing half ` +
      `(SEED=${seed()})`,
    needs,
    async fn(t) {
      const rng = new Rng(seed());
      using dir = new TempDir();
      const path = await prepare(dir);
      const whole = dir.join("whole");
      const duration = await measure(path, `${transport}:${whole}:v1`);
      const phases = { hidden: 0, visible: 0 };
      let digest: string | undefined;
      for (let round = 0; round < rounds; round++) {
        const out = dir.join(`out${round}`);
        const destination = `${transport}:${out}:v1`;
        const delay = duration * rng.below(1000) / 1000;
        await killPush(path, destination, delay);
        const visible = check(out);
        phases[visible ? "visible" : "hidden"]++;
        const before = visible && !exists(`${out}/index.json`)
          ? await pulledDigest(destination, dir)
          : undefined;
        const again = await pushAgain(path, destination);
        assert.equal(before ?? again, again);
        assert.equal(digest ?? again, again);
        digest = again;
        check(out);
        assert.deepEqual(temporaries(out), []);
        if (round % 10 === 0) assert.equal(await pulledDigest(destination, dir), again);
        Deno.removeSync(out, { recursive: true });
      }
      await t.step(`over ${duration.toFixed()} ms: ${JSON.stringify(phases)}`, () => {
        assert.ok(phases.hidden > 0, "no push was killed before its image was visible");
      });
    },
  });
}

testWith({
  name: `a push to a registry killed at 25 random points is done by the next one (SEED=${seed()})`,
  needs: [needTool("docker-registry")],
  async fn(t) {
    const rng = new Rng(seed());
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    const path = await prepare(dir);
    const name = (round: number) => `docker://${registry.host}/team/round${round}:v1`;
    const duration = await measure(path, name(1000));
    let killed = 0;
    for (let round = 0; round < 25; round++) {
      const delay = duration * rng.below(1000) / 1000;
      if (!await killPush(path, name(round), delay)) killed++;
      const again = await pushAgain(path, name(round));
      assert.equal(await pulledDigest(name(round), dir), again);
    }
    await t.step(`over ${duration.toFixed()} ms, ${killed} in time`, () => {
      assert.ok(killed > 0, "no push was killed in time");
    });
  },
});
