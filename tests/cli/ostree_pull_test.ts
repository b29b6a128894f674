import "../helpers/libraries.ts";
import assert from "node:assert/strict";
import { directoryReply, FaultServer } from "../helpers/fault_server.ts";
import { TempDir } from "../helpers/temp.ts";
import { A, B, newRepository, unpack } from "../ostree/_remote.ts";
import { cacheHome } from "./_cache_home.ts";
import { call } from "./_call.ts";

Deno.test("ostree pull pulls from a server and prints what the reference prints", async (t) => {
  using temp = new TempDir();
  const dir = unpack(temp.join("remote"), "archive", "archive-deltas-overlay");
  await using server = new FaultServer((request) => directoryReply(dir, request));
  newRepository(temp.join("repo"))[Symbol.dispose]();
  using _cache = cacheHome(temp.join("cache"));
  const repo = `--repo=${temp.join("repo")}`;
  const pull = ["ostree", "pull", "--subset=x86_64", server.url];
  await t.step("a ref", async () => {
    const { code, stdout, stderr } = await call([repo, ...pull, "--no-delta", "test/stable"]);
    assert.equal(code, 0, stderr);
    assert.match(
      stdout,
      new RegExp(
        `^commit  ${B}\nverity  [0-9a-f]{64}\nimage   [0-9a-f]{64}\ntagged  test/stable\n` +
          "objects 14 metadata \\+ 27 files fetched\n$",
      ),
    );
    assert.equal(stderr, "warning: commit signature not verified\n");
    const agents = new Set(server.requests.map(({ headers }) => headers.get("user-agent")));
    assert.equal(agents.size, 1);
    assert.match([...agents][0]!, /^cfs\/\d/);
  });
  await t.step("it again, with its parent", async () => {
    const { code, stdout } = await call([repo, ...pull, "--no-delta", "--depth=1", "test/stable"]);
    assert.equal(code, 0);
    assert.match(stdout, /objects 0 metadata \+ 0 files fetched\n$/);
    const inspected = await call([repo, "ostree", "inspect", A]);
    assert.ok(inspected.stdout.startsWith(`commit  ${A}\n`));
  });
  await t.step("all refs", async () => {
    const { code, stdout } = await call([repo, ...pull, "--mirror", "--json"]);
    assert.equal(code, 0);
    const result = JSON.parse(stdout);
    assert.equal(result.commit, B);
    assert.equal(result.present, true);
  });
  await t.step("nothing is kept of what was finished", () => {
    assert.deepEqual([...Deno.readDirSync(temp.join("cache/cfs/ostree"))], []);
  });
  await t.step("refs are listed", async () => {
    const listed = await call(["ostree", "list-refs", "--subset=x86_64", server.url]);
    assert.equal(listed.code, 0, listed.stderr);
    assert.match(listed.stdout, new RegExp(`│ test/stable ┆ ${B} │`));
  });
});

Deno.test("ostree pull uses static deltas", async () => {
  using temp = new TempDir();
  using _cache = cacheHome(temp.join("cache"));
  const dir = unpack(temp.join("remote"), "archive", "archive-deltas-overlay");
  await using server = new FaultServer((request) => directoryReply(dir, request));
  newRepository(temp.join("repo"))[Symbol.dispose]();
  const pull = [`--repo=${temp.join("repo")}`, "ostree", "pull", "--subset=x86_64", server.url];
  assert.equal((await call([...pull, "--no-delta", A])).code, 0);
  const { code, stdout, stderr } = await call([...pull, "--require-delta", "test/stable"]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^objects 6 metadata \+ 6 files via 1 delta parts$/m);
});

Deno.test("ostree pull follows what is configured for a remote", async (t) => {
  using temp = new TempDir();
  using _cache = cacheHome(temp.join("cache"));
  const dir = unpack(temp.join("remote"), "archive");
  await using server = new FaultServer((request) => directoryReply(dir, request));
  newRepository(temp.join("repo"))[Symbol.dispose]();
  const ostree = [`--repo=${temp.join("repo")}`, "ostree"];
  const added = await call([...ostree, "remote", "add", "origin", server.url, "test/stable"]);
  assert.equal(added.code, 0, added.stderr);
  temp.write("repo/ostree-remotes/origin.cookies.txt", "127.0.0.1\tFALSE\t/\tFALSE\t0\ta\tb\n");
  await t.step("a commit without signatures is refused", async () => {
    const { code, stdout, stderr } = await call([...ostree, "pull", "origin"]);
    assert.equal(code, 1);
    assert.match(stderr, /GPG verification enabled, but no signatures found/);
    assert.equal(stdout, "");
    assert.ok(!server.requests.some(({ path }) => path.endsWith(".filez")));
    assert.match((await call([...ostree, "images"])).stdout, /^No ostree commits found/);
  });
  await t.step("unless it is said not to look", async () => {
    const { code, stdout, stderr } = await call([...ostree, "pull", "--no-verify", "origin"]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^tagged {2}test\/stable$/m);
    assert.ok(server.requests.every(({ headers }) => headers.get("cookie") === "a=b"));
  });
});

Deno.test("ostree pull says what is wrong", async (t) => {
  using temp = new TempDir();
  await using server = new FaultServer(() => ({ status: 404 }));
  newRepository(temp.join("repo"))[Symbol.dispose]();
  const cases: [args: string[], code: number, stderr: RegExp][] = [
    [[server.url, "nosuch"], 1, /HTTP status client error \(404 Not Found\) for url/],
    [["nonsense", "ref"], 1, /Remote "nonsense" not found/],
    [[server.url], 2, /OSTREE_REF is missing/],
    [[server.url, "--ref-as=x", "a", "b"], 2, /--ref-as names the tag of a single ref/],
    [[server.url, "--depth=many", "a"], 2, /expected a number, or -1 for all/],
    [[server.url, "--tls-ca-path=/nosuch", "a"], 1, /'\/nosuch', which is not there/],
    [[server.url, "--mirror"], 1, /^Error: no summary available from remote/],
  ];
  for (const [args, code, stderr] of cases) {
    await t.step(args.slice(1).join(" "), async () => {
      const result = await call([`--repo=${temp.join("repo")}`, "ostree", "pull", ...args]);
      assert.equal(result.code, code, result.stderr);
      assert.match(result.stderr, stderr);
      assert.equal(result.stdout, "");
    });
  }
});
