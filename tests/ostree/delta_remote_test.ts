import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { ComposefsError } from "../../lib/base/mod.ts";
import {
  deltaFromServer,
  type DeltaServer,
  LocalRepository,
  objectSizes,
  type OstreePullOptions,
  type OstreePullResult,
  parseChecksum,
  parseCommit,
  parseDeltaSuperblock,
  pullCommit,
  RemoteSource,
  type ServerDeltaOptions,
} from "../../lib/ostree/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { encodeDeltaSuperblock } from "../../lib/ostree/delta_superblock_write.ts";
import { directoryReply, type FaultReply, FaultServer } from "../helpers/fault_server.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { A, B, newRepository, unpack } from "./_remote.ts";

const A_TO_B =
  "/deltas/B8/Id9hLj7Nj1Qh7brs+NdipXhZ5pyTfJVJSp7e5Dp7I-knxUcLmEYKbpCKn4U5U13vFWbV4RrwA4criuHlc9mTk";

/** A server with deltas, what it was asked for, and how it answers instead. */
class Served implements AsyncDisposable {
  readonly paths: string[] = [];
  readonly answers = new Map<string, FaultReply>();
  readonly #server: FaultServer;

  constructor(dir: string) {
    this.#server = new FaultServer((request) => {
      const path = decodeURIComponent(request.path);
      this.paths.push(path);
      return this.answers.get(path) ?? directoryReply(dir, request);
    });
  }

  get url(): string {
    return this.#server.url;
  }

  /** How many requests were for objects. */
  get objects(): number {
    return this.paths.filter((path) => path.startsWith("/objects/")).length;
  }

  async pull(
    repository: Repository,
    reference: string,
    options: ServerDeltaOptions & { pull?: OstreePullOptions } = {},
  ): Promise<OstreePullResult> {
    this.paths.length = 0;
    using source = new RemoteSource(this.url, { backoff: 1, retries: 0 });
    const delta = deltaFromServer(source satisfies DeltaServer, options);
    return await pullCommit(repository, source, { reference, delta, ...options.pull });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}

Deno.test("deltaFromServer() brings commits by the deltas that the server lists", async (t) => {
  using dir = new TempDir();
  const remote = unpack(dir.join("remote"), "archive", "archive-deltas-overlay");
  using local = LocalRepository.open(remote);
  using plain = newRepository(dir.join("plain"));
  const expected = [
    await pullCommit(plain, local, { reference: A }),
    await pullCommit(plain, local, { reference: B }),
  ];
  for (const listed of ["summary", "delta-indexes"]) {
    await t.step(`listed in ${listed}`, async () => {
      await using server = new Served(remote);
      if (listed === "delta-indexes") {
        for (const path of ["/summary", "/summary.idx"]) server.answers.set(path, { status: 404 });
      }
      using repository = newRepository(dir.join(listed));
      const first = await server.pull(repository, A, { require: true });
      assert.deepEqual(first.stats.delta, { metadata: 13, files: 26, parts: 1 });
      assert.equal(first.stream, expected[0]!.stream);
      assert.ok(server.objects <= 2, "the commit and its detached metadata");
      const second = await server.pull(repository, B, { require: true });
      assert.deepEqual(second.stats.delta, { metadata: 6, files: 6, parts: 1 });
      assert.equal(second.stream, expected[1]!.stream);
      assert.ok(server.paths.includes(`${A_TO_B}/0`));
      assert.ok(server.objects <= 2);
    });
  }
});

Deno.test("deltaFromServer() lets objects be fetched when no delta can be used", async (t) => {
  using dir = new TempDir();
  const remote = unpack(dir.join("remote"), "archive", "archive-deltas-overlay");
  const superblock = Deno.readFileSync(`${remote}${A_TO_B}/superblock`);
  superblock[600]! ^= 1;
  const part = Deno.readFileSync(`${remote}${A_TO_B}/0`);
  part[600]! ^= 1;
  const cases: [string, Record<string, FaultReply>, RegExp][] = [
    ["no part", { [`${A_TO_B}/0`]: { status: 404 } }, /^delta part not found/],
    ["no superblock", { [`${A_TO_B}/superblock`]: { status: 404 } }, /^static delta not found/],
    [
      "changed superblock",
      { [`${A_TO_B}/superblock`]: { body: superblock } },
      /^Invalid checksum for static delta/,
    ],
    ["changed part", { [`${A_TO_B}/0`]: { body: part } }, /^delta part 0 checksum mismatch/],
    ["server error", { [`${A_TO_B}/0`]: { status: 500 } }, /500/],
    ["long part", { [`${A_TO_B}/0`]: { body: new Uint8Array(40_000) } }, /30737/],
  ];
  for (const [name, answers, message] of cases) {
    await t.step(name, async () => {
      await using server = new Served(remote);
      for (const [path, answer] of Object.entries(answers)) server.answers.set(path, answer);
      using repository = newRepository(dir.join(name));
      await server.pull(repository, A);
      await assert.rejects(server.pull(repository, B, { require: true }), ComposefsError);
      const warnings: string[] = [];
      const result = await server.pull(repository, B, {
        progress: (event) => void (event.type === "warning" && warnings.push(event.text)),
      });
      assert.equal(result.stats.delta, undefined);
      assert.equal(result.commit, B);
      assert.equal(warnings.length, 1);
      assert.match(warnings[0]!.replace(/^delta not used: /, ""), message);
    });
  }
});

Deno.test("deltaFromServer() takes no whole copy where there is something to build upon", async () => {
  using dir = new TempDir();
  const remote = unpack(dir.join("remote"), "archive", "archive-deltas-overlay");
  await using server = new Served(remote);
  server.answers.set("/summary", { status: 404 });
  server.answers.set("/summary.idx", { status: 404 });
  server.answers.set("/delta-indexes/kn/xUcLmEYKbpCKn4U5U13vFWbV4RrwA4criuHlc9mTk.index", {
    status: 404,
  });
  using repository = newRepository(dir.join("repo"));
  await server.pull(repository, A, { require: true });
  await assert.rejects(server.pull(repository, B, { require: true }), {
    message: `Static deltas required, but none found to ${B}`,
  });
  const second = await server.pull(repository, B);
  assert.equal(second.stats.delta, undefined);
  assert.equal(second.stats.files, 6);
});

Deno.test("deltaFromServer() fetches objects that a delta leaves out", async () => {
  using dir = new TempDir();
  const remote = unpack(dir.join("remote"), "fallback");
  await using server = new Served(remote);
  using repository = newRepository(dir.join("repo"));
  const result = await server.pull(repository, "fb", { require: true });
  assert.ok(result.stats.delta !== undefined);
  assert.equal(result.stats.files, 1);
  assert.equal(server.paths.filter((path) => path.endsWith(".filez")).length, 1);
});

Deno.test("deltaFromServer() is stopped by signatures that are refused", async () => {
  using dir = new TempDir();
  const remote = unpack(dir.join("remote"), "archive", "archive-deltas-overlay");
  await using server = new Served(remote);
  using repository = newRepository(dir.join("repo"));
  const verify = () => {
    throw new ComposefsError("CFS_POLICY", "not signed");
  };
  await assert.rejects(server.pull(repository, A, { verify }), { message: "not signed" });
});

testWith({
  name: "deltaFromServer() leaves a delta that is more than the objects",
  needs: [needTool("ostree")],
  async fn(t) {
    using dir = new TempDir();
    const remote = dir.join("remote");
    const ostree = async (command: string, ...args: string[]) =>
      (await runOk(["ostree", command, `--repo=${remote}`, ...args])).stdout.trim();
    await ostree("init", "--mode=archive");
    const commit = (...args: string[]) => ostree("commit", "-b", "main", ...args, dir.join("tree"));
    const noise = crypto.getRandomValues(new Uint8Array(60_000));
    dir.write("tree/large", noise);
    dir.write("tree/small", "one");
    const first = await commit();
    dir.write("tree/small", "two");
    const second = await commit("--generate-sizes");
    await ostree("static-delta", "generate", `--from=${first}`, `--to=${second}`);
    await ostree("summary", "--update");
    await using server = new Served(remote);
    using repository = newRepository(dir.join("repo"));
    await server.pull(repository, first);
    await t.step("sizes are read", () => {
      using local = LocalRepository.open(remote);
      const sizes = objectSizes(
        parseCommit(local.readMetadataNow("commit", parseChecksum(second))),
      )!;
      assert.equal(sizes.length, 4);
      for (const { checksum, packed } of sizes) {
        const path = `${remote}/objects/${checksum.slice(0, 2)}/${checksum.slice(2)}`;
        const found = ["filez", "dirtree", "dirmeta"].map((kind) => `${path}.${kind}`)
          .find((path) => existsSync(path))!;
        assert.equal(packed, Deno.statSync(found).size);
      }
    });
    await t.step("a small delta is taken", async () => {
      using other = newRepository(dir.join("other"));
      await server.pull(other, first);
      const result = await server.pull(other, second);
      assert.notEqual(result.stats.delta, undefined);
    });
    await t.step("a large one is not, unless it is required", async () => {
      // One that says so, at least.
      const { stdout } = await runOk(["sh", "-c", `echo ${remote}/deltas/*/*/superblock`]);
      const path = stdout.trim();
      const delta = parseDeltaSuperblock(Deno.readFileSync(path));
      const padded = encodeDeltaSuperblock({
        ...delta,
        detached: undefined,
        parts: delta.parts.map((part) => ({ ...part, inline: undefined, size: 90_000 })),
      });
      Deno.writeFileSync(path, padded);
      await ostree("static-delta", "reindex");
      await ostree("summary", "--update");
      const result = await server.pull(repository, second);
      assert.equal(result.stats.delta, undefined);
      using other = newRepository(dir.join("required"));
      await server.pull(other, first);
      const required = await server.pull(other, second, { require: true });
      assert.notEqual(required.stats.delta, undefined);
    });
  },
});
