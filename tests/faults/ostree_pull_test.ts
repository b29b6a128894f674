import assert from "node:assert/strict";
import { HttpError } from "../../lib/http/mod.ts";
import { type OstreePullResult, pullRemote, RemoteSource } from "../../lib/ostree/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { FaultServer, plainReply } from "../helpers/fault_server.ts";
import { ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import {
  addCommit,
  assertNothingNamed,
  type MemoryFile,
  type MemoryRemote,
  newRepository,
  noise,
} from "../ostree/_remote.ts";

const CUTS = 200;
const KILLS = 100;
/** What may be sent a second time, in bytes. */
const TWICE = 2 * 1024 * 1024;

/** A repository with many small files and some that are sent in many pieces. */
function makeRemote(): { remote: MemoryRemote; total: number; large: Set<string> } {
  const remote: MemoryRemote = new Map();
  const files = Array.from(
    { length: 150 },
    (_, i): MemoryFile => [`f${i}`, noise(i % 5 === 0 ? 40 : 100 + 213 * i, i)],
  );
  for (const [i, size] of [300_000, 500_000, 1_200_000, 2_500_000].entries()) {
    files.push([`large${i}`, noise(size, 1000 + i)]);
  }
  addCommit(remote, files, { ref: "r" });
  const large = [...remote].filter(([, body]) => body.length > 256 * 1024).map(([path]) => path);
  const total = [...remote.values()].reduce((sum, body) => sum + body.length, 0);
  return { remote, total, large: new Set(large) };
}

const { remote, total, large } = makeRemote();

async function pull(path: string, url: string, journals: string): Promise<OstreePullResult> {
  using repository = Repository.open(path);
  using source = new RemoteSource(url, { retries: 0 });
  return (await pullRemote(repository, source, { references: ["r"], journals }))[0]!;
}

/** A server that stops in the middle of a body, and says nothing more, once it has given so much. */
function cutServer(cut: number): FaultServer {
  let given = 0;
  return new FaultServer((request) => {
    const body = remote.get(request.path);
    if (given >= cut) return { drop: true };
    if (body === undefined) return { status: 404 };
    const reply = plainReply(request, body);
    const left = cut - given;
    const length = reply.body?.length ?? 0;
    given += length;
    return { ...reply, paced: true, ...(length > left ? { cut: left } : {}) };
  });
}

function goodServer(): FaultServer {
  return new FaultServer((request) => {
    const body = remote.get(request.path);
    return body === undefined ? { status: 404 } : plainReply(request, body);
  });
}

/** What a pull that nothing disturbs comes to. */
async function wholePull(dir: TempDir): Promise<{ result: OstreePullResult; sent: number }> {
  newRepository(dir.join("whole"))[Symbol.dispose]();
  await using server = goodServer();
  const result = await pull(dir.join("whole"), server.url, dir.join("journals"));
  return { result, sent: server.sent };
}

/** Pulls again what was cut off, and checks what that comes to; returns the bytes it took. */
async function recover(
  path: string,
  journals: string,
  wanted: OstreePullResult,
): Promise<{ sent: number; continued: number }> {
  using repository = Repository.open(path);
  const report = await repository.fsck({ jobs: 1 });
  assert.ok(report.ok, report.errors.join("\n"));
  await using server = goodServer();
  const result = await pull(path, server.url, journals);
  assert.deepEqual(
    [result.commit, result.stream, result.image, result.tag],
    [wanted.commit, wanted.stream, wanted.image, wanted.tag],
  );
  assert.deepEqual([...Deno.readDirSync(journals)], []);
  const continued = server.requests.filter(({ path, headers }) =>
    large.has(path) && headers.has("range")
  );
  return { sent: server.sent, continued: continued.length };
}

Deno.test(`a pull cut off at ${CUTS} random points goes on there (SEED=${seed()})`, async (t) => {
  const rng = new Rng(seed());
  using dir = new TempDir();
  const { result: wanted, sent } = await wholePull(dir);
  let most = 0;
  let continued = 0;
  for (let round = 0; round < CUTS; round++) {
    const [path, journals] = [dir.join(`r${round}`), dir.join(`j${round}`)];
    const cut = rng.below(total);
    try {
      newRepository(path)[Symbol.dispose]();
      await using server = cutServer(cut);
      await assert.rejects(pull(path, server.url, journals), HttpError);
      using repository = Repository.open(path);
      assertNothingNamed(repository);
      const second = await recover(path, journals, wanted);
      const twice = server.sent + second.sent - sent;
      assert.ok(twice <= TWICE, `${twice} bytes were sent twice`);
      most = Math.max(most, twice);
      continued += second.continued;
    } catch (cause) {
      throw new Error(`SEED=${seed()}, round ${round}, cut after ${cut} bytes`, { cause });
    }
    Deno.removeSync(path, { recursive: true });
  }
  await t.step(`at most ${most} bytes twice, ${continued} large objects continued`, () => {
    assert.ok(continued > CUTS / 4, "next to no large object was continued");
  });
});

Deno.test(`a pull killed at ${KILLS} random points goes on there (SEED=${seed()})`, async (t) => {
  const rng = new Rng(seed());
  using dir = new TempDir();
  const { result: wanted, sent } = await wholePull(dir);
  const script = `${ROOT}tests/faults/_ostree_pull_child.ts`;
  let most = 0;
  let continued = 0;
  for (let round = 0; round < KILLS; round++) {
    const [path, journals] = [dir.join(`r${round}`), dir.join(`j${round}`)];
    const counter = dir.join("received");
    Deno.writeFileSync(counter, new Uint8Array(8));
    const point = rng.below(total);
    try {
      newRepository(path)[Symbol.dispose]();
      let child: Deno.ChildProcess | undefined;
      const killed = Promise.withResolvers<void>();
      let given = 0;
      const kill = async () => {
        if (child === undefined) return;
        const victim = child;
        child = undefined;
        victim.kill("SIGKILL");
        await victim.status;
        killed.resolve();
      };
      await using server = new FaultServer(async (request) => {
        const body = remote.get(request.path);
        const reply = body === undefined ? { status: 404 } : plainReply(request, body);
        const length = body?.length ?? 0;
        const left = point - given;
        given += length;
        if (left <= 0) await kill();
        if (length <= left) return { ...reply, paced: true };
        // Some of it goes out before the end.
        setTimeout(kill, rng.below(20));
        return { ...reply, paced: true, halt: Math.max(0, left) };
      });
      child = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--quiet", "--no-check", script, server.url, path, journals, counter],
        stdout: "null",
        stderr: "null",
      }).spawn();
      await killed.promise;
      using repository = Repository.open(path);
      assertNothingNamed(repository);
      Deno.mkdirSync(journals, { recursive: true });
      const second = await recover(path, journals, wanted);
      const received = Number(
        new DataView(Deno.readFileSync(counter).buffer).getBigUint64(0, true),
      );
      const twice = received + second.sent - sent;
      assert.ok(twice <= TWICE, `${twice} bytes were fetched twice`);
      most = Math.max(most, twice);
      continued += second.continued;
    } catch (cause) {
      throw new Error(`SEED=${seed()}, round ${round}, killed after ${point} bytes`, { cause });
    }
    Deno.removeSync(path, { recursive: true });
  }
  await t.step(`at most ${most} bytes twice, ${continued} large objects continued`, () => {
    assert.ok(continued > KILLS / 10, "next to no large object was continued");
  });
});
