import "../helpers/libraries.ts";
import assert from "node:assert/strict";
import { dirname } from "node:path/posix";
import { pathToFileURL } from "node:url";
import { journalsOf } from "../../cli/ostree_journals.ts";
import { chosenPolicy, verifyHooks } from "../../cli/ostree_verify.ts";
import { PolicyError } from "../../lib/base/mod.ts";
import { openDeltaEnvelope, pruneJournals } from "../../lib/ostree/mod.ts";
import { directoryReply, FaultServer } from "../helpers/fault_server.ts";
import { ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { A, B, newRepository, unpack } from "../ostree/_remote.ts";
import { cacheHome } from "./_cache_home.ts";
import { call } from "./_call.ts";

const GPG = `${ROOT}fixtures/ostree/gpg`;
const SIGNED = "83825bd88aec319ec2f2d3a872dd9ad56cc55e33f4fc4b48f180352bc8e50f07";

Deno.test("ostree pull takes file URLs, also as a remote's", async (t) => {
  using dir = new TempDir();
  using _cache = cacheHome(dir.join("cache"));
  const remote = unpack(dir.join("a remote"), "archive");
  const { href } = pathToFileURL(remote);
  const verity = (text: string) => /^verity .*$/m.exec(text)![0];
  newRepository(dir.join("local"))[Symbol.dispose]();
  const local = await call([
    `--repo=${dir.join("local")}`,
    ...["ostree", "pull-local", remote, "test/stable"],
  ]);
  await t.step("a ref", async () => {
    newRepository(dir.join("one"))[Symbol.dispose]();
    const { code, stdout, stderr } = await call([
      `--repo=${dir.join("one")}`,
      ...["ostree", "pull", href, "test/stable", "--depth=1"],
    ]);
    assert.equal(code, 0, stderr);
    assert.equal(verity(stdout), verity(local.stdout));
    const parent = await call([`--repo=${dir.join("one")}`, "ostree", "inspect", A]);
    assert.equal(parent.code, 0);
  });
  await t.step("all refs of a remote, as one document", async () => {
    newRepository(dir.join("two"))[Symbol.dispose]();
    const repo = `--repo=${dir.join("two")}`;
    const added = await call([repo, "ostree", "remote", "add", "--no-gpg-verify", "o", href]);
    assert.equal(added.code, 0, added.stderr);
    const { code, stdout } = await call([repo, "ostree", "pull", "o", "--mirror", "--json", A]);
    assert.equal(code, 0);
    const results = JSON.parse(stdout);
    assert.equal(results.length, 2);
    assert.ok(results.some(({ commit }: { commit: string }) => commit === B));
  });
  await t.step("nothing there", async () => {
    const args = ["ostree", "pull", `${href}/nosuch`, "x"];
    const { code, stderr } = await call([`--repo=${dir.join("one")}`, ...args]);
    assert.equal(code, 1);
    assert.match(stderr, /nosuch/);
  });
});

Deno.test("ostree pull takes remotes of an ostree config", async (t) => {
  using dir = new TempDir();
  using _cache = cacheHome(dir.join("cache"));
  const remote = unpack(dir.join("remote"), "signed");
  await using server = new FaultServer((request) => directoryReply(remote, request));
  const config = dir.write("etc/config", `[remote "o"]\nurl=${server.url}\ngpg-verify=true\n`);
  newRepository(dir.join("repo"))[Symbol.dispose]();
  const pull = (...args: string[]) =>
    call([`--repo=${dir.join("repo")}`, "ostree", "pull", "--remote-config", config, ...args]);
  await t.step("no keys", async () => {
    const { code, stderr } = await pull("o", SIGNED);
    assert.equal(code, 1);
    assert.match(stderr, /public key not found/);
  });
  await t.step("keys in OSTREE_GPG_HOME", async () => {
    dir.write("home/k2.gpg", Deno.readFileSync(`${GPG}/k2.gpg`));
    Deno.env.set("OSTREE_GPG_HOME", dir.join("home"));
    try {
      const { code, stderr } = await pull("o", SIGNED);
      assert.equal(code, 0, stderr);
    } finally {
      Deno.env.delete("OSTREE_GPG_HOME");
    }
  });
  await t.step("keys beside the config", async () => {
    dir.write("etc/o.trustedkeys.gpg", Deno.readFileSync(`${GPG}/k2.gpg`));
    for (const args of [["o"], ["--remote", "o", server.url], ["--remote=o", "o"]]) {
      const { code, stderr } = await pull(...args, SIGNED);
      assert.equal(code, 0, stderr);
    }
  });
  for (
    const [name, args, code, message] of [
      ["no such remote", ["p", SIGNED], 1, /Remote "p" not found/],
      ["no remote", [server.url, SIGNED], 2, /--remote-config needs --remote/],
      ["two remotes", ["--remote=p", "o", SIGNED], 2, /--remote names the remote/],
    ] as const
  ) {
    await t.step(name, async () => {
      const result = await pull(...args);
      assert.equal(result.code, code);
      assert.match(result.stderr, message);
    });
  }
  await t.step("no such config", async () => {
    const args = ["ostree", "pull", "--remote-config", dir.join("no"), "o", SIGNED];
    const { code, stderr } = await call([`--repo=${dir.join("repo")}`, ...args]);
    assert.equal(code, 1);
    assert.match(stderr, /No such config/);
  });
});

Deno.test("ostree pull knows ostree's names of options", async (t) => {
  using dir = new TempDir();
  using _cache = cacheHome(dir.join("cache"));
  const remote = unpack(dir.join("remote"), "archive");
  await using server = new FaultServer((request) => directoryReply(remote, request));
  newRepository(dir.join("repo"))[Symbol.dispose]();
  const pull = (...args: string[]) =>
    call([`--repo=${dir.join("repo")}`, "ostree", "pull", server.url, "test/stable", ...args]);
  await t.step("--require-static-deltas", async () => {
    const { code, stderr } = await pull("--require-static-deltas");
    assert.equal(code, 1);
    assert.match(stderr, /Static deltas required, but none found/);
  });
  await t.step("--sign-keyfile", async () => {
    const { code, stderr } = await pull("--sign-keyfile", `${GPG}/ed25519.pub`);
    assert.equal(code, 1);
    assert.match(stderr, /no signatures found/);
  });
});

Deno.test("verifyHooks() checks signatures over static deltas", async () => {
  const bytes = Deno.readFileSync(`${ROOT}fixtures/ostree/deltas/signed-inline.superblock`);
  const envelope = openDeltaEnvelope(bytes);
  const hook = (key: string) =>
    verifyHooks(chosenPolicy({ signKeyfile: [`${GPG}/${key}`] })).verifyDelta!;
  await hook("ed25519.pub")(envelope);
  await assert.rejects(hook("ed25519-other.pub")(envelope), PolicyError);
  const changed = envelope.superblock.slice();
  changed[40]! ^= 1;
  await assert.rejects(hook("ed25519.pub")({ ...envelope, superblock: changed }), PolicyError);
  // Most deltas are not signed: their commits are.
  await hook("ed25519.pub")({ ...envelope, signatures: undefined });
  assert.equal(verifyHooks(chosenPolicy({})).verifyDelta, undefined);
});

Deno.test("pruneJournals() removes what nobody took up", () => {
  using dir = new TempDir();
  const id = "a".repeat(64);
  const names = [`${id}.journal`, `${id}.journal.${id}.part`, "other", `${id}.journal.x.part`];
  for (const name of names) dir.write(name, "x");
  assert.equal(pruneJournals(dir.path), 0);
  const day = 24 * 3600 * 1000;
  assert.equal(pruneJournals(dir.path, { now: Date.now() + 29 * day }), 0);
  assert.equal(pruneJournals(dir.path, { now: Date.now() + 31 * day }), 2);
  const left = [...Deno.readDirSync(dir.path)].map(({ name }) => name).sort();
  assert.deepEqual(left, names.slice(2).sort());
  assert.equal(pruneJournals(dir.join("nosuch")), 0);
  Deno.mkdirSync(dir.join("empty"));
  assert.equal(pruneJournals(dir.join("empty")), 0);
  assert.throws(() => Deno.statSync(dir.join("empty")), Deno.errors.NotFound);
});

Deno.test("gc removes old journals, but not in a dry run", async () => {
  using dir = new TempDir();
  using _cache = cacheHome(dir.join("cache"));
  using repository = newRepository(dir.join("repo"));
  const journals = journalsOf(repository)!;
  assert.ok(journals.startsWith(dir.join("cache")));
  const path = `${journals}/${"b".repeat(64)}.journal`;
  Deno.mkdirSync(journals, { recursive: true });
  Deno.writeTextFileSync(path, "cfsjrnl1");
  Deno.utimeSync(path, 1, 1);
  const exists = () => [...Deno.readDirSync(dirname(journals))].length > 0;
  assert.equal((await call([`--repo=${dir.join("repo")}`, "gc", "-n"])).code, 0);
  assert.ok(exists());
  repository[Symbol.dispose]();
  assert.equal((await call([`--repo=${dir.join("repo")}`, "gc"])).code, 0);
  assert.ok(!exists());
});
