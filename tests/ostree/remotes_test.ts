import assert from "node:assert/strict";
import {
  keyPolicy,
  parseKeyfile,
  Remote,
  REMOTE_OPTIONS,
  remotePolicy,
  REMOTES_DIRECTORY,
  RemoteStore,
  SignKey,
  type TrustPlaces,
} from "../../lib/ostree/mod.ts";
import { formatKeyfile } from "../../lib/ostree/keyfile_write.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { ROOT, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";

loadNative();

const DIR = `${ROOT}fixtures/ostree/gpg`;
const K1 = "5BC30F247B73898596DE7CDB7104F1481B8C43CA";
const K2 = "17ACCCD097E18F3FB5C7B1BD2CA15C3799C697ED";
const KEY = Deno.readTextFileSync(`${DIR}/ed25519.pub`).trim();
const OTHER = Deno.readTextFileSync(`${DIR}/ed25519-other.pub`).trim();

function idOf(base64: string): string {
  return SignKey.fromBytes("ed25519", Uint8Array.fromBase64(base64)).id;
}

function remote(options: Record<string, string>, name = "origin"): Remote {
  return new Remote(name, new Map(Object.entries(options)));
}

function newRepository(dir: TempDir): Repository {
  const path = dir.join("repo");
  initRepository(path, { insecure: true });
  return Repository.open(path);
}

Deno.test("RemoteStore keeps remotes with their options and keys", () => {
  using dir = new TempDir();
  using repository = newRepository(dir);
  const store = new RemoteStore(repository.directory);
  assert.deepEqual(store.list(), []);
  assert.equal(store.has("origin"), false);
  assert.equal(store.keyring("origin"), undefined);
  assert.throws(() => store.get("origin"), {
    code: "CFS_NOT_FOUND",
    message: 'Remote "origin" not found',
  });
  assert.throws(() => store.delete("origin"), { code: "CFS_NOT_FOUND" });

  const options = {
    url: "https://example.invalid/repo",
    proxy: " with\\back\tslash ",
    branches: "a;b/c;",
    "gpg-verify": "false",
  };
  const keyring = Deno.readFileSync(`${DIR}/k1.gpg`);
  store.add(remote(options), { keyring });
  store.add(remote({ url: "file:///srv" }, "another.one"));
  assert.deepEqual(store.list().map(({ name }) => name), ["another.one", "origin"]);
  const found = store.get("origin");
  assert.deepEqual(Object.fromEntries(found.options), options);
  assert.equal(found.url, options.url);
  assert.equal(found.contentUrl, undefined);
  assert.deepEqual(found.branches, ["a", "b/c"]);
  assert.equal(found.flag("gpg-verify"), false);
  assert.equal(found.flag("http2"), undefined);
  assert.deepEqual(store.keyring("origin"), keyring);
  assert.equal(store.keyring("another.one"), undefined);

  assert.throws(() => store.add(remote({ url: "file:///x" })), {
    code: "CFS_CONFLICT",
    message: 'Remote configuration for "origin" already exists',
  });
  assert.equal(store.get("origin").url, options.url);
  store.add(remote({ url: "file:///x" }), { force: true });
  assert.equal(store.get("origin").url, "file:///x");
  assert.equal(store.keyring("origin"), undefined, "the keys go with the remote they were for");

  store.add(remote({ url: "file:///x" }), { force: true, keyring });
  store.delete("origin");
  assert.deepEqual(store.list().map(({ name }) => name), ["another.one"]);
  assert.equal(store.keyring("origin"), undefined);
  const left = [...Deno.readDirSync(`${repository.path}/${REMOTES_DIRECTORY}`)];
  assert.deepEqual(left.map(({ name }) => name), ["config"]);
});

Deno.test("RemoteStore leaves the repository clean for gc and fsck", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir);
  const store = new RemoteStore(repository.directory);
  store.add(remote({ url: "file:///x" }), { keyring: Deno.readFileSync(`${DIR}/k1.gpg`) });
  repository.gc();
  assert.deepEqual((await repository.fsck()).errors, []);
  assert.equal(store.get("origin").url, "file:///x");
});

testWith({
  name: "the reference does not mind a repository with remotes",
  needs: [needTool("cfsctl")],
  fn: async () => {
    using dir = new TempDir();
    const path = dir.join("repo");
    {
      using repository = newRepository(dir);
      new RemoteStore(repository.directory).add(remote({ url: "file:///x" }));
    }
    await runOk([tool("cfsctl"), "--insecure", "--repo", path, "fsck"]);
    await runOk([tool("cfsctl"), "--insecure", "--repo", path, "gc"]);
    using repository = Repository.open(path);
    assert.equal(new RemoteStore(repository.directory).get("origin").url, "file:///x");
  },
});

testWith({
  name: "RemoteStore writes what ostree reads",
  needs: [needTool("ostree")],
  fn: async () => {
    using dir = new TempDir();
    using repository = newRepository(dir);
    const store = new RemoteStore(repository.directory);
    store.add(remote({ url: "https://example.invalid/a b", "gpg-verify": "false" }));
    const config = dir.join("repository.conf");
    await runOk([tool("ostree"), `--repo=${dir.join("o")}`, "init", "--mode=archive"]);
    Deno.copyFileSync(`${repository.path}/${REMOTES_DIRECTORY}/config`, config);
    const text = Deno.readTextFileSync(config);
    Deno.writeTextFileSync(dir.join("o/config"), `\n${text}`, { append: true });
    const { stdout } = await runOk([
      tool("ostree"),
      `--repo=${dir.join("o")}`,
      "remote",
      "show-url",
      "origin",
    ]);
    assert.equal(stdout, "https://example.invalid/a b\n");
    // And the other way round.
    await runOk([
      tool("ostree"),
      `--repo=${dir.join("o")}`,
      "remote",
      "add",
      "--no-gpg-verify",
      "second",
      "https://example.invalid/2",
      "main",
      "next",
    ]);
    const theirs = parseKeyfile(Deno.readTextFileSync(dir.join("o/config")));
    const second = Remote.fromKeyfile(theirs, "second");
    second.check();
    assert.equal(second.url, "https://example.invalid/2");
    assert.deepEqual(second.branches, ["main", "next"]);
    assert.equal(second.flag("gpg-verify"), false);
  },
});

const refused: { options: Record<string, string>; message: RegExp }[] = [
  { options: { "gpg-verfy": "true" }, message: /^Unknown option 'gpg-verfy' of a remote$/ },
  { options: { "constructor": "true" }, message: /^Unknown option 'constructor' of a remote$/ },
  { options: { "gpg-verify": "yes" }, message: /'gpg-verify'.* is not a boolean: 'yes'$/ },
  { options: { "sign-verify": "ed25519;dummy" }, message: /^Unknown sign type 'dummy' in option/ },
  { options: { "sign-verify": ";" }, message: /^Option 'sign-verify' is empty$/ },
  { options: { url: "nowhere" }, message: /^Invalid url 'nowhere'$/ },
  { options: { url: "mirrorlist=nowhere" }, message: /^Invalid url 'mirrorlist=nowhere'$/ },
  { options: { proxy: "a\nurl=b" }, message: /^Invalid value of option 'proxy'$/ },
];

Deno.test("Remote.check() refuses options that would not do what they say", async (t) => {
  for (const { options, message } of refused) {
    await t.step(JSON.stringify(options), () => {
      assert.throws(() => remote(options).check(), { code: "CFS_FORMAT", message });
    });
  }
  assert.doesNotThrow(() => remote({ url: "metalink=https://a.invalid/m.xml" }).check());
});

Deno.test("Remote has names that are safe in paths, and says when it cannot be used", () => {
  for (const name of ["", ".", "..", "a/b", "-x", 'a"b', "a\n", "x".repeat(201), "ä"]) {
    assert.throws(() => remote({}, name), { code: "CFS_INVALID_NAME" }, name);
  }
  assert.throws(() => remote({}).url, { message: 'Remote "origin" has no url' });
  assert.throws(() => remote({ "unconfigured-state": "register first" }).url, {
    message: "remote unconfigured-state: register first",
  });
  assert.throws(() => remote({ "custom-backend": "x" }).url, /needs the backend 'x'/);
  assert.ok(REMOTE_OPTIONS.includes("sign-verify"));
});

Deno.test("formatKeyfile() writes what parseKeyfile() reads", () => {
  const values = ["", " ", "a ", " a", "\\", "\\s", "a\nb", "\t", "\r\n", "é", "a=b", "[x]", "#"];
  const group = new Map(values.map((value, index) => [`k${index}`, value]));
  const file = new Map([["core", new Map([["mode", "bare"]])], ['remote "x"', group]]);
  assert.deepEqual(parseKeyfile(formatKeyfile(file)), file);
});

/** Places below a directory, so that nothing on the machine matters. */
function placesIn(dir: TempDir): TrustPlaces {
  return {
    remoteKeyrings: [dir.join("remotes.d")],
    globalKeyrings: dir.join("trusted.gpg.d"),
    signKeys: [dir.join("etc"), dir.join("usr")],
  };
}

Deno.test("remotePolicy() takes GPG keys from where OSTree does", async (t) => {
  const k1 = Deno.readFileSync(`${DIR}/k1.gpg`);
  const k2 = Deno.readFileSync(`${DIR}/k2.gpg`);
  await t.step("defaults", async () => {
    using dir = new TempDir();
    const policy = remotePolicy(remote({}), { places: placesIn(dir) });
    assert.deepEqual([policy.gpg, policy.gpgSummary], [true, false]);
    assert.deepEqual([policy.sign, policy.signSummary], ["off", "off"]);
    assert.deepEqual(await policy.keyring?.fingerprints(), []);
  });
  await t.step("off", () => {
    using dir = new TempDir();
    const policy = remotePolicy(remote({ "gpg-verify": "false" }), { places: placesIn(dir) });
    assert.deepEqual([policy.gpg, policy.keyring], [false, undefined]);
  });
  await t.step("global keyrings, when there are no others", async () => {
    using dir = new TempDir();
    dir.write("trusted.gpg.d/k2.gpg", k2);
    dir.write("trusted.gpg.d/k1.asc", k1);
    dir.write("trusted.gpg.d/trustdb.gpg", "nonsense");
    dir.write("trusted.gpg.d/secring.gpg", "nonsense");
    const places = placesIn(dir);
    const plain = remotePolicy(remote({}), { places });
    assert.deepEqual(await plain.keyring?.fingerprints(), [K2]);
    const own = remotePolicy(remote({}), { places, keyring: k1 });
    assert.deepEqual(await own.keyring?.fingerprints(), [K1]);
    dir.write("remotes.d/origin.trustedkeys.gpg", k1);
    const system = remotePolicy(remote({}), { places });
    assert.deepEqual(await system.keyring?.fingerprints(), [K1]);
    const other = remotePolicy(remote({}, "other"), { places });
    assert.deepEqual(await other.keyring?.fingerprints(), [K2]);
  });
  await t.step("gpgkeypath: files and directories", async () => {
    using dir = new TempDir();
    dir.write("keys/a", k1);
    dir.write("b.gpg", k2);
    const path = `${dir.join("keys")};${dir.join("b.gpg")}`;
    const policy = remotePolicy(remote({ gpgkeypath: path }), { places: placesIn(dir) });
    assert.deepEqual(await policy.keyring?.fingerprints(), [K1, K2]);
    const missing = remote({ gpgkeypath: dir.join("none") });
    assert.throws(() => remotePolicy(missing, { places: placesIn(dir) }), {
      code: "CFS_NOT_FOUND",
      message: `Key file not found: ${dir.join("none")}`,
    });
  });
});

Deno.test("remotePolicy() takes ed25519 keys from options, files and the system", async (t) => {
  using dir = new TempDir();
  const places = placesIn(dir);
  const trusted = (options: Record<string, string>): string[] =>
    remotePolicy(remote({ "sign-verify": "ed25519", ...options }), { places })
      .signKeys.trusted.map(({ id }) => id);
  await t.step("none", () => assert.deepEqual(trusted({}), []));
  dir.write("etc/trusted.ed25519", `# comment\n\n${KEY}\n`);
  dir.write("usr/trusted.ed25519.d/other", `${OTHER}\n`);
  await t.step("system", () => assert.deepEqual(trusted({}), [idOf(KEY), idOf(OTHER)]));
  await t.step("inline", () => {
    assert.deepEqual(trusted({ "verification-ed25519-key": OTHER }), [idOf(OTHER)]);
  });
  await t.step("file", () => {
    const path = dir.write("k", `${OTHER}\n${KEY}`);
    assert.deepEqual(trusted({ "verification-ed25519-file": path }), [idOf(OTHER), idOf(KEY)]);
  });
  await t.step("a file with something else", () => {
    const path = dir.write("bad", "AAAA\n");
    assert.throws(() => trusted({ "verification-ed25519-file": path }), {
      code: "CFS_FORMAT",
      message: `${path}: Invalid ed25519 public key: expected 32 bytes, got 3 bytes`,
    });
  });
  await t.step("revoked", () => {
    dir.write("usr/revoked.ed25519", `${KEY}\n`);
    const policy = remotePolicy(remote({ "sign-verify": "true" }), { places });
    assert.deepEqual([...policy.signKeys.revoked], [idOf(KEY)]);
    assert.equal(policy.sign, "any");
  });
  await t.step("no keys are read when no signatures are asked for", () => {
    dir.write("etc/trusted.ed25519", "nonsense");
    assert.deepEqual(remotePolicy(remote({}), { places }).signKeys.trusted, []);
    assert.throws(() => trusted({}), { code: "CFS_FORMAT" });
  });
});

Deno.test("keyPolicy() takes keys inline, from files and from directories", async () => {
  using dir = new TempDir();
  dir.write("d/trusted.ed25519", KEY);
  dir.write("d/trusted.ed25519.d/x", OTHER);
  dir.write("d/revoked.ed25519.d/x", OTHER);
  const file = dir.write("file", `${KEY}\n${OTHER}\n`);
  const cases: [string, string[], string[]][] = [
    [`ed25519:${KEY}`, [KEY], []],
    [`ed25519:inline:${KEY}`, [KEY], []],
    [`ed25519:${file}`, [KEY, OTHER], []],
    [`ed25519:file:${file}`, [KEY, OTHER], []],
    [`ed25519:${dir.join("d")}`, [KEY, OTHER], [OTHER]],
  ];
  for (const [text, trusted, revoked] of cases) {
    const policy = keyPolicy({ signKeys: [text] });
    assert.deepEqual(policy.signKeys.trusted.map(({ id }) => id), trusted.map(idOf), text);
    assert.deepEqual([...policy.signKeys.revoked], revoked.map(idOf), text);
    assert.deepEqual([policy.gpg, policy.sign], [false, ["ed25519"]]);
  }
  const none = keyPolicy({});
  assert.deepEqual([none.gpg, none.sign], [false, "off"]);
  const both = keyPolicy({ gpgKeyrings: [`${DIR}/k1.asc`, `${DIR}/k2.gpg`] });
  assert.equal(both.gpg, true);
  assert.deepEqual(await both.keyring?.fingerprints(), [K1, K2]);
  for (const text of [KEY, `rsa:${KEY}`, "ed25519:inline:!", `ed25519:inline:${KEY}AAAA`]) {
    assert.throws(() => keyPolicy({ signKeys: [text] }), { code: "CFS_FORMAT" }, text);
  }
  assert.throws(() => keyPolicy({ signKeys: ["ed25519:/nonexistent"] }), {
    code: "CFS_NOT_FOUND",
  });
  assert.throws(() => keyPolicy({ gpgKeyrings: ["/nonexistent"] }), { code: "CFS_NOT_FOUND" });
});
