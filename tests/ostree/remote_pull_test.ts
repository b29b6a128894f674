import assert from "node:assert/strict";
import {
  type Algorithm,
  ComposefsError,
  DigestMismatchError,
  NotFoundError,
} from "../../lib/base/mod.ts";
import { HttpError } from "../../lib/http/mod.ts";
import {
  type Checksum,
  listCommits,
  listCommitTags,
  LocalRepository,
  type OstreePullResult,
  pullCommit,
  pullRemote,
  type RemotePullOptions,
  RemoteSource,
  type RemoteSourceOptions,
} from "../../lib/ostree/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import {
  directoryReply,
  type FaultReply,
  type FaultRequest,
  FaultServer,
  plainReply,
} from "../helpers/fault_server.ts";
import { TempDir } from "../helpers/temp.ts";
import {
  A,
  addCommit,
  assertNothingNamed,
  B,
  BOTH,
  type MemoryFile,
  type MemoryRemote,
  newRepository,
  noise,
  unpack,
} from "./_remote.ts";

const REF = "test/stable";

/** Pulls one reference. */
async function pull(
  repository: Repository,
  url: string,
  options: Partial<RemotePullOptions> & { reference?: string; source?: RemoteSourceOptions } = {},
): Promise<OstreePullResult> {
  const { reference = REF, source: more, ...rest } = options;
  using source = new RemoteSource(url, { backoff: 1, ...more });
  const [result] = await pullRemote(repository, source, { ...rest, references: [reference] });
  return result!;
}

/** What pulling the same from the directory comes to. */
async function pullLocal(
  dir: string,
  options: { path: string; algorithm: Algorithm; reference?: string },
): Promise<OstreePullResult> {
  using repository = newRepository(options.path, options.algorithm);
  using source = LocalRepository.open(dir);
  return await pullCommit(repository, source, { reference: options.reference ?? REF });
}

function ids({ commit, stream, image, tag }: OstreePullResult) {
  return { commit, stream, image, tag };
}

/** Serves a repository in memory. */
function memoryReply(remote: MemoryRemote, request: FaultRequest): FaultReply {
  const body = remote.get(decodeURIComponent(request.path));
  return body === undefined ? { status: 404 } : plainReply(request, body);
}

Deno.test("pullRemote() comes to what a local pull comes to", async (t) => {
  for (const algorithm of BOTH) {
    for (const [name, reference] of [["archive", REF], ["archive", A], ["buo-archive", "buo"]]) {
      await t.step(`${algorithm.hash} ${name} ${reference!.slice(0, 12)}`, async () => {
        using temp = new TempDir();
        const dir = unpack(temp.join("remote"), name!);
        await using server = new FaultServer((request) => directoryReply(dir, request));
        using repository = newRepository(temp.join("repo"), algorithm);
        const result = await pull(repository, server.url, { reference: reference! });
        const path = temp.join("local");
        const local = await pullLocal(dir, { path, algorithm, reference: reference! });
        assert.deepEqual(ids(result), ids(local));
        assert.equal(result.stats.metadata, local.stats.metadata);
        assert.equal(result.stats.files, local.stats.files);
        assert.ok(server.requests.every(({ path }) => !/%2F/i.test(path)));
      });
    }
  }
});

Deno.test("pullRemote() fetches only what no stored commit holds", async () => {
  using temp = new TempDir();
  const dir = unpack(temp.join("remote"), "archive");
  await using server = new FaultServer((request) => directoryReply(dir, request));
  using repository = newRepository(temp.join("repo"));
  const first = await pull(repository, server.url, { reference: A });
  assert.deepEqual([first.stats.metadata, first.stats.files], [13, 26]);
  const second = await pull(repository, server.url);
  assert.deepEqual([second.stats.metadata, second.stats.files], [6, 6]);
  const objects = server.requests.map(({ path }) => path).filter((path) =>
    /^\/objects\/.*\.(commit|dirtree|dirmeta|filez)$/.test(path)
  );
  assert.equal(objects.length, 13 + 26 + 6 + 6);
  assert.equal(new Set(objects).size, objects.length);
  const before = server.requests.length;
  const third = await pull(repository, server.url);
  assert.equal(third.present, true);
  assert.ok(!server.requests.slice(before).some(({ path }) => path.includes("/objects/")));
});

Deno.test("pullRemote() pulls parents as deep as it is told", async (t) => {
  const remote: MemoryRemote = new Map();
  let parent: Checksum | undefined;
  const commits: Checksum[] = [];
  for (let i = 0; i < 4; i++) {
    const files = [["same", noise(200)], [`file${i}`, noise(1000, i)]] as const;
    parent = addCommit(remote, files, { ref: "r", ...(parent === undefined ? {} : { parent }) });
    commits.push(parent);
  }
  for (const [depth, count] of [[0, 1], [2, 3], [-1, 4], [9, 4]] as const) {
    await t.step(String(depth), async () => {
      using temp = new TempDir();
      await using server = new FaultServer((request) => memoryReply(remote, request));
      using repository = newRepository(temp.join("repo"));
      await pull(repository, server.url, { reference: "r", depth });
      assert.deepEqual(listCommits(repository), commits.slice(-count).sort());
      assert.equal(listCommitTags(repository).length, 1);
    });
  }
  await t.step("until the server has no more", async () => {
    const short = new Map(remote);
    short.delete(`/objects/${commits[1]!.slice(0, 2)}/${commits[1]!.slice(2)}.commit`);
    using temp = new TempDir();
    await using server = new FaultServer((request) => memoryReply(short, request));
    using repository = newRepository(temp.join("repo"));
    const messages: string[] = [];
    const progress: RemotePullOptions["progress"] = (event) => {
      if (event.type === "message") messages.push(event.text);
    };
    await pull(repository, server.url, { reference: "r", depth: -1, progress });
    assert.deepEqual(listCommits(repository), commits.slice(2).sort());
    assert.deepEqual(messages, [`parent ${commits[1]} is not on the server`]);
  });
});

Deno.test("pullRemote() survives troubles that pass", async (t) => {
  const troubles: Record<string, (body: Uint8Array) => FaultReply> = {
    "503": () => ({ status: 503 }),
    "closed connections": () => ({ drop: true }),
    "cut bodies": (body) => ({ body, cut: body.length >> 1 }),
    "longer Content-Length": (body) => ({ body, length: body.length + 10 }),
    "halted bodies": (body) => ({ body, halt: body.length >> 1 }),
    "slowness": (body) => ({ body, delay: 20 }),
  };
  for (const [name, trouble] of Object.entries(troubles)) {
    await t.step(name, async () => {
      using temp = new TempDir();
      const dir = unpack(temp.join("remote"), "archive");
      await using server = new FaultServer(async (request) => {
        const reply = await directoryReply(dir, request);
        const troubled = request.seen === 0 && request.count % 3 === 0;
        return troubled && reply.body !== undefined ? trouble(reply.body) : reply;
      });
      using repository = newRepository(temp.join("repo"));
      const result = await pull(repository, server.url, { source: { stall: 100 } });
      const algorithm = BOTH[0]!;
      const local = await pullLocal(dir, { path: temp.join("local"), algorithm });
      assert.deepEqual(ids(result), ids(local));
    });
  }
});

Deno.test("pullRemote() registers nothing when an object is missing or wrong", async (t) => {
  const wrong = noise(300, 9);
  interface Case {
    reply: (body: Uint8Array) => FaultReply;
    check: (error: unknown, object: { id: string; path: string }) => void;
  }
  const isTyped = (error: unknown) => assert.ok(error instanceof ComposefsError, String(error));
  const cases: Record<string, Case> = {
    "404": {
      reply: () => ({ status: 404 }),
      check: (error, { id, path }) => {
        assert.ok(error instanceof NotFoundError);
        assert.equal(error.id, id);
        assert.ok(error.message.includes(id) && error.message.includes(path), error.message);
        assert.ok(error.cause instanceof HttpError);
        assert.equal(error.cause.status, 404);
      },
    },
    "503 for ever": {
      reply: () => ({ status: 503 }),
      check: (error, { path }) => {
        assert.ok(error instanceof HttpError);
        assert.equal(error.status, 503);
        assert.ok(error.url.endsWith(path));
      },
    },
    "truncated with a fitting length": {
      reply: (body) => ({ body: body.subarray(0, body.length - 6) }),
      check: isTyped,
    },
    "empty": { reply: () => ({}), check: isTyped },
    "another object": { reply: () => ({ body: wrong }), check: isTyped },
    "shorter Content-Length": { reply: (body) => ({ body, length: 5 }), check: isTyped },
  };
  for (const kind of ["filez", "dirtree", "dirmeta", "commit"]) {
    for (const [name, { reply, check }] of Object.entries(cases)) {
      await t.step(`${kind}: ${name}`, async () => {
        using temp = new TempDir();
        const dir = unpack(temp.join("remote"), "archive");
        let broken: string | undefined;
        await using server = new FaultServer(async (request) => {
          const good = await directoryReply(dir, request);
          if (request.path.endsWith("." + kind)) broken ??= request.path;
          return request.path === broken ? reply(good.body ?? wrong) : good;
        });
        using repository = newRepository(temp.join("repo"));
        const failure = await pull(repository, server.url, { source: { retries: 1 } })
          .then(() => undefined, (error) => error);
        const [, id] = /objects\/(.*)\./.exec(broken!)!;
        check(failure, { id: id!.replace("/", ""), path: broken! });
        assertNothingNamed(repository);
      });
    }
  }
  await t.step("a lie about the size", async () => {
    using temp = new TempDir();
    const dir = unpack(temp.join("remote"), "wrong-size-filez");
    await using server = new FaultServer((request) => directoryReply(dir, request));
    using repository = newRepository(temp.join("repo"));
    const pulled = pull(repository, server.url, { reference: "nolink" });
    await assert.rejects(pulled, /header says 200 bytes, content has 3/);
    assertNothingNamed(repository);
  });
  await t.step("a corrupted object is named", async () => {
    using temp = new TempDir();
    const dir = unpack(temp.join("remote"), "archive");
    await using server = new FaultServer(async (request) => {
      const reply = await directoryReply(dir, request);
      return request.path.endsWith(".commit") ? { body: wrong } : reply;
    });
    using repository = newRepository(temp.join("repo"));
    await assert.rejects(pull(repository, server.url), (error) => {
      assert.ok(error instanceof DigestMismatchError);
      assert.equal(error.expected, B);
      return true;
    });
  });
});

Deno.test("pullRemote() goes on where another pull was cut off, wherever that was", async (t) => {
  const remote: MemoryRemote = new Map();
  const files: MemoryFile[] = Array.from(
    { length: 60 },
    (_, i) => [`f${i}`, noise(i % 5 === 0 ? 40 : 2000 + 997 * i, i)] as const,
  );
  files.push(["large", noise(1024 * 1024, 99)]);
  addCommit(remote, files, { ref: "r" });
  const objects = [...remote].filter(([path]) => path.startsWith("/objects/"));
  const total = objects.reduce((sum, [, body]) => sum + body.length, 0);
  const seed = Math.floor(Math.random() * 2 ** 31);
  let state = seed;
  const random = (limit: number) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state % limit;
  };
  using temp = new TempDir();
  await using whole = new FaultServer((request) => memoryReply(remote, request));
  using reference = newRepository(temp.join("whole"));
  const wanted = ids(await pull(reference, whole.url, { reference: "r" }));
  for (let i = 0; i < 30; i++) {
    const cut = random(total);
    await t.step(`after ${cut} of ${total} bytes (seed ${seed})`, async () => {
      using dir = new TempDir();
      const journals = dir.join("journals");
      using repository = newRepository(dir.join("repo"));
      let given = 0;
      await using server = new FaultServer((request) => {
        const reply = memoryReply(remote, request);
        const length = reply.body?.length ?? 0;
        const left = Math.max(0, cut - given);
        given += length;
        return length > left ? { ...reply, cut: left } : reply;
      });
      const options = { reference: "r", journals };
      const broken = pull(repository, server.url, { ...options, source: { retries: 0 } });
      await assert.rejects(broken, HttpError);
      assertNothingNamed(repository);
      await using good = new FaultServer((request) => memoryReply(remote, request));
      assert.deepEqual(ids(await pull(repository, good.url, options)), wanted);
      const again = server.sent + good.sent - whole.sent;
      assert.ok(again <= 2 * 1024 * 1024, `${again} bytes were sent twice`);
      assert.deepEqual([...Deno.readDirSync(journals)], []);
    });
  }
});

Deno.test("pullRemote() asks for no more than the rest of a large object", async () => {
  const remote: MemoryRemote = new Map();
  addCommit(remote, [["large", noise(5 * 1024 * 1024)]], { ref: "r" });
  using temp = new TempDir();
  await using server = new FaultServer((request) => {
    const reply = memoryReply(remote, request);
    const cut = request.path.endsWith(".filez") && request.seen === 0;
    return cut ? { ...reply, cut: 3 * 1024 * 1024 } : reply;
  });
  using repository = newRepository(temp.join("repo"));
  await pull(repository, server.url, { reference: "r" });
  const ranges = server.requests.filter(({ path }) => path.endsWith(".filez"))
    .map(({ headers }) => headers.get("range"));
  assert.deepEqual(ranges, [null, `bytes=${3 * 1024 * 1024}-`]);
});

Deno.test("pullRemote() gives up when aborted", async () => {
  using temp = new TempDir();
  const dir = unpack(temp.join("remote"), "archive");
  await using server = new FaultServer(async (request) => {
    const reply = await directoryReply(dir, request);
    return request.path.endsWith(".filez") ? { ...reply, halt: 1 } : reply;
  });
  using repository = newRepository(temp.join("repo"));
  const signal = AbortSignal.timeout(200);
  await assert.rejects(pull(repository, server.url, { signal }), { name: "TimeoutError" });
  assertNothingNamed(repository);
});

Deno.test("pullRemote() keeps to the number of requests it was given", async () => {
  using temp = new TempDir();
  const dir = unpack(temp.join("remote"), "archive");
  await using server = new FaultServer(async (request) => ({
    ...await directoryReply(dir, request),
    delay: 5,
  }));
  using repository = newRepository(temp.join("repo"));
  await pull(repository, server.url, { source: { requests: 4 } });
  assert.equal(server.most, 4);
});
