import assert from "node:assert/strict";
import { pullImage } from "../../lib/oci/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { Child } from "../helpers/child.ts";
import "../helpers/libraries.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { ROOT, run, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { makeImage } from "./_image.ts";

const ROUNDS = 200;

/** The command that pulls in a process of its own. */
function child(path: string, image: string): string[] {
  const script = `${ROOT}tests/faults/_pull_child.ts`;
  return [Deno.execPath(), "run", "-A", "--quiet", "--no-check", script, path, image, "tag"];
}

/** What a repository must hold after a pull. */
interface Whole {
  readonly objects: readonly string[];
  readonly streams: readonly string[];
}

function contents(repository: Repository): Whole {
  return { objects: [...repository.objects.list()], streams: repository.listStreams() };
}

/** What a whole pull of the image leaves. */
async function pullWhole(dir: TempDir, image: string): Promise<Whole> {
  const path = dir.join("whole");
  initRepository(path, { insecure: true });
  using repository = Repository.open(path);
  await pullImage(repository, image, { name: "tag" });
  // The pull's own garbage, if there is any, is not wanted either.
  repository.gc();
  return contents(repository);
}

/**
 * Checks a repository after a crash: nothing is wrong with it, the pull works, and garbage
 * collection leaves exactly what the pull needs.
 */
async function checkRecovery(path: string, image: string, whole: Whole): Promise<string> {
  using repository = Repository.open(path);
  const report = await repository.fsck({ jobs: 1 });
  assert.ok(report.ok, report.errors.join("\n"));
  const tagged = repository.listRefs("streams").length;
  const before = contents(repository);
  await pullImage(repository, image, { name: "tag" });
  repository.gc();
  assert.deepEqual(contents(repository), whole);
  const after = await repository.fsck({ jobs: 1 });
  assert.ok(after.ok, after.errors.join("\n"));
  assert.deepEqual(after.warnings, []);
  if (tagged > 0) return "tagged";
  if (before.streams.length > 0) return "named";
  return before.objects.length > 0 ? "stored" : "empty";
}

/** Starts a pull and waits until everything is loaded. */
async function startPull(path: string, image: string): Promise<Child> {
  const running = Child.start(child(path, image) as [string, ...string[]]);
  await running.said("ready");
  return running;
}

/** Milliseconds that an undisturbed pull takes from `ready` to `done`; of three the middle one. */
async function measure(dir: TempDir, image: string): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 3; i++) {
    const path = dir.join(`measure${i}`);
    initRepository(path, { insecure: true });
    const pull = await startPull(path, image);
    const started = performance.now();
    await pull.said("done");
    times.push(performance.now() - started);
    assert.ok(await pull.end());
    Deno.removeSync(path, { recursive: true });
  }
  return times.sort((a, b) => a - b)[1]!;
}

const KILLED = `a pull killed at ${ROUNDS} random points leaves a sound repository`;

Deno.test(`${KILLED} (SEED=${seed()})`, async (t) => {
  const rng = new Rng(seed());
  using dir = new TempDir();
  const image = makeImage(dir, { name: "image", seed: 1 });
  const whole = await pullWhole(dir, image);
  const duration = await measure(dir, image);
  const phases: Record<string, number> = { empty: 0, stored: 0, named: 0, tagged: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const path = dir.join(`r${round}`);
    initRepository(path, { insecure: true });
    const pull = await startPull(path, image);
    const delay = duration * rng.below(1000) / 1000;
    await new Promise((resolve) => setTimeout(resolve, delay));
    await pull.kill();
    try {
      phases[await checkRecovery(path, image, whole)]!++;
    } catch (cause) {
      throw new Error(`SEED=${seed()}, round ${round}, killed after ${delay} ms`, { cause });
    }
    Deno.removeSync(path, { recursive: true });
  }
  await t.step(`over ${duration.toFixed()} ms: ${JSON.stringify(phases)}`, () => {
    assert.ok(phases.stored! > 0, "no pull was killed while it stored objects");
  });
});

/** The calls that make or change names, or make them durable; most of them few in a small pull. */
const CALLS = ["linkat", "symlinkat", "syncfs", "mkdirat", "/^renameat2?$"] as const;

const SMALL = `${ROOT}fixtures/oci/sources/img.oci.tar`;

/** The small image as a layout. */
async function unpackSmall(dir: TempDir): Promise<string> {
  Deno.mkdirSync(dir.join("layout"));
  await runOk(["tar", "-xf", SMALL, "-C", dir.join("layout")]);
  const index = await findLayout(dir.join("layout"));
  return `oci:${index}`;
}

async function findLayout(dir: string): Promise<string> {
  const { stdout } = await runOk(["find", dir, "-name", "oci-layout"]);
  return stdout.trim().replace(/\/oci-layout$/, "");
}

/** A repository where the tag leads to something else, so that the pull has to replace it. */
function prepare(path: string): void {
  initRepository(path, { insecure: true });
  using repository = Repository.open(path);
  using writer = repository.newStream(1n);
  repository.writeStream("old", writer.finish(), { ref: "oci/tag" });
}

/** Runs the pull with the Nth call (of each thread) disturbed. */
function disturbed(path: string, image: string, inject: string) {
  const call = inject.slice(0, inject.indexOf(":"));
  const strace = [tool("strace"), "-f", "-qqq", "-o", "/dev/null"];
  // Faster, but strace then forgets to send signals.
  if (!inject.includes("signal=")) strace.push("--seccomp-bpf");
  return run([...strace, "-e", `trace=${call}`, "-e", `inject=${inject}`, ...child(path, image)]);
}

testWith({
  name:
    "a pull killed at each call that makes a name or makes it durable leaves a sound repository",
  needs: [needTool("strace")],
  async fn(t) {
    using dir = new TempDir();
    const image = await unpackSmall(dir);
    const whole = await pullWhole(dir, image);
    for (const call of CALLS) {
      await t.step(call, async () => {
        let killed = 0;
        for (let n = 1; n < 200; n++) {
          const path = dir.join(`r${n}`);
          prepare(path);
          const result = await disturbed(path, image, `${call}:signal=KILL:when=${n}`);
          await checkRecovery(path, image, whole);
          Deno.removeSync(path, { recursive: true });
          if (result.code === 0) break;
          killed++;
        }
        assert.ok(killed > 0, `no pull was killed at a ${call}`);
      });
    }
  },
});

testWith({
  name: "a pull whose calls fail says which, and leaves a sound repository",
  needs: [needTool("strace")],
  async fn(t) {
    using dir = new TempDir();
    const image = await unpackSmall(dir);
    const whole = await pullWhole(dir, image);
    const errors = [
      ["linkat", "ENOSPC", /No space left on device \(os error 28\)/],
      ["symlinkat", "ENOSPC", /No space left on device \(os error 28\)/],
      ["mkdirat", "ENOSPC", /No space left on device \(os error 28\)/],
      ["/^renameat2?$", "ENOSPC", /No space left on device \(os error 28\)/],
      ["syncfs", "EIO", /Input\/output error \(os error 5\)/],
    ] as const;
    for (const [call, errno, message] of errors) {
      await t.step(`${call}: ${errno}`, async () => {
        let failed = 0;
        for (let n = 1; n < 200; n++) {
          const path = dir.join(`r${n}`);
          prepare(path);
          const result = await disturbed(path, image, `${call}:error=${errno}:when=${n}`);
          if (result.code !== 0) assert.match(result.stderr, message);
          await checkRecovery(path, image, whole);
          Deno.removeSync(path, { recursive: true });
          if (result.code === 0) break;
          failed++;
        }
        assert.ok(failed > 0, `no ${call} failed`);
      });
    }
  },
});
