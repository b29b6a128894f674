import assert from "node:assert/strict";
import { initRepository } from "../../lib/repository/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { ROOT, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { call } from "./_call.ts";

loadNative();

const DIR = `${ROOT}fixtures/ostree/gpg`;
const K1 = "5BC30F247B73898596DE7CDB7104F1481B8C43CA";
const K2 = "17ACCCD097E18F3FB5C7B1BD2CA15C3799C697ED";
const KEY = Deno.readTextFileSync(`${DIR}/ed25519.pub`).trim();
const COMMIT = "83825bd88aec319ec2f2d3a872dd9ad56cc55e33f4fc4b48f180352bc8e50f07";

function newRepository(dir: TempDir): string[] {
  initRepository(dir.join("r"), { insecure: true });
  return ["--repo", dir.join("r"), "ostree"];
}

Deno.test("ostree remote adds, lists, shows and deletes", async () => {
  using dir = new TempDir();
  const ostree = newRepository(dir);
  const remote = async (...args: string[]): Promise<[number, string, string]> => {
    const { code, stdout, stderr } = await call([...ostree, "remote", ...args]);
    return [code, stdout, stderr];
  };
  assert.deepEqual(await remote("list"), [0, "", ""]);
  assert.deepEqual(
    await remote(
      "add",
      "origin",
      "https://example.invalid/repo",
      "main",
      "--gpg-import",
      `${DIR}/k1.asc`,
      "--gpg-import",
      `${DIR}/k2.gpg`,
      `--sign-verify=ed25519=inline:${KEY}`,
      "--set=http2=false",
    ),
    [0, 'Imported 2 GPG keys to remote "origin"\n', ""],
  );
  assert.deepEqual(await remote("add", "b", "file:///srv/b", "--no-gpg-verify"), [0, "", ""]);
  assert.deepEqual(await remote("list"), [0, "b\norigin\n", ""]);
  assert.deepEqual(
    await remote("list", "-u"),
    [0, "b       file:///srv/b\norigin  https://example.invalid/repo\n", ""],
  );
  assert.deepEqual(JSON.parse((await remote("list", "--json"))[1]), {
    remotes: [
      { name: "b", url: "file:///srv/b" },
      { name: "origin", url: "https://example.invalid/repo" },
    ],
  });
  assert.deepEqual(await remote("show", "origin"), [
    0,
    '[remote "origin"]\nurl=https://example.invalid/repo\nbranches=main;\n' +
    `sign-verify=ed25519\nverification-ed25519-key=${KEY}\nhttp2=false\n` +
    `# GPG key ${K1}\n# GPG key ${K2}\n`,
    "",
  ]);
  assert.deepEqual(JSON.parse((await remote("show", "b", "--json"))[1]), {
    name: "b",
    options: { url: "file:///srv/b", "gpg-verify": "false" },
    gpg_keys: [],
  });
  assert.match((await remote("add", "b", "file:///x"))[2], /Remote configuration for "b" already/);
  assert.deepEqual(await remote("add", "b", "file:///x", "--if-not-exists"), [0, "", ""]);
  assert.match((await remote("show", "b"))[1], /url=file:\/\/\/srv\/b\n/);
  assert.deepEqual(await remote("delete", "b"), [0, "", ""]);
  assert.match((await remote("delete", "b"))[2], /Remote "b" not found/);
  assert.deepEqual(await remote("delete", "--if-exists", "b"), [0, "", ""]);
  assert.deepEqual(await remote("list"), [0, "origin\n", ""]);
});

const wrong: { args: string[]; code: number; message: RegExp }[] = [
  { args: ["frobnicate"], code: 2, message: /frobnicate/ },
  { args: ["add"], code: 2, message: /NAME is needed/ },
  { args: ["add", "x"], code: 2, message: /NAME and URL are needed/ },
  { args: ["add", "../x", "file:///x"], code: 1, message: /Invalid remote name '\.\.\/x'/ },
  { args: ["add", "x", "nowhere"], code: 1, message: /Invalid url 'nowhere'/ },
  { args: ["add", "x", "file:///x", "--set=gpg-verfy=1"], code: 1, message: /Unknown option/ },
  { args: ["add", "x", "file:///x", "--set=x"], code: 1, message: /Missing '=' in 'x'/ },
  {
    args: ["add", "x", "file:///x", "--sign-verify=ed25519=inline:AAAA"],
    code: 1,
    message: /Invalid ed25519 public key: expected 32 bytes, got 3 bytes/,
  },
  {
    args: ["add", "x", "file:///x", `--sign-verify=rsa=inline:${KEY}`],
    code: 1,
    message: /Invalid --sign-verify 'rsa=inline:/,
  },
  {
    args: [
      "add",
      "x",
      "file:///x",
      `--sign-verify=ed25519=inline:${KEY}`,
      `--sign-verify=ed25519=inline:${KEY}`,
    ],
    code: 1,
    message: /More than one --sign-verify ed25519=inline:/,
  },
  {
    args: ["add", "x", "file:///x", "--gpg-import=/nonexistent"],
    code: 1,
    message: /Key file not found: \/nonexistent/,
  },
];

Deno.test("ostree remote refuses what would not work, and keeps nothing of it", async (t) => {
  using dir = new TempDir();
  const ostree = newRepository(dir);
  for (const { args, code, message } of wrong) {
    await t.step(args.join(" "), async () => {
      const result = await call([...ostree, "remote", ...args]);
      assert.equal(result.code, code, result.stderr);
      assert.match(result.stderr, message);
      assert.equal((await call([...ostree, "remote", "list"])).stdout, "");
    });
  }
});

Deno.test("ostree verify checks the signatures that came with a commit", async () => {
  using dir = new TempDir();
  const ostree = newRepository(dir);
  Deno.mkdirSync(dir.join("signed"));
  await runOk(["tar", "-xf", `${ROOT}fixtures/ostree/repos/signed.tar`, "-C", dir.join("signed")]);
  const pull = [...ostree, "pull-local", dir.join("signed"), "signed"];
  const refused = await call([...pull, `--sign-key=ed25519:${KEY}`]);
  assert.deepEqual([refused.code, refused.stdout], [1, ""]);
  assert.match(refused.stderr, /Signature verification enabled, but no signatures found/);
  assert.equal((await call([...ostree, "images"])).stdout.includes("signed"), false);
  const pulled = await call([...pull, `--gpg-keyring=${DIR}/k2.gpg`]);
  assert.equal(pulled.code, 0, pulled.stderr);

  const good = await call([...ostree, "verify", "--gpg-keyring", `${DIR}/k2.gpg`, "signed"]);
  assert.deepEqual([good.code, good.stderr], [0, ""]);
  assert.equal(
    good.stdout,
    `commit ${COMMIT}\n` +
      "  Signature made Sat Nov 21 07:37:24 2026 using RSA key ID 2CA15C3799C697ED\n" +
      '  Good signature from "cfs rsa <cfs-rsa@example.invalid>"\n',
  );
  const json = await call([
    ...ostree,
    "verify",
    "--gpg-keyring",
    `${DIR}/k2.gpg`,
    COMMIT,
    "--json",
  ]);
  assert.deepEqual(JSON.parse(json.stdout), {
    commit: COMMIT,
    valid: [{
      type: "gpg",
      key: K2,
      user_id: "cfs rsa <cfs-rsa@example.invalid>",
      created: "2026-11-21T07:37:24.000Z",
    }],
  });
  const bad = await call([...ostree, "verify", `--sign-key=ed25519:${KEY}`, "signed"]);
  assert.deepEqual([bad.code, bad.stdout], [1, ""]);
  assert.match(bad.stderr, /Signature verification enabled, but no signatures found/);

  const none = await call([...ostree, "verify", "signed"]);
  assert.equal(none.code, 2);
  assert.match(none.stderr, /one of --gpg-keyring, --sign-key and --remote is needed/);
  await call([...ostree, "remote", "add", "o", "file:///o", `--gpg-import=${DIR}/k2.gpg`]);
  assert.equal((await call([...ostree, "verify", "--remote=o", "signed"])).stdout, good.stdout);
});

Deno.test("ostree apply-delta takes a signed delta only from who is trusted", async () => {
  using dir = new TempDir();
  const ostree = newRepository(dir);
  const deltas = `${ROOT}fixtures/ostree/deltas`;
  const other = Deno.readTextFileSync(`${DIR}/ed25519-other.pub`).trim();
  const scratch = [...ostree, "apply-delta", `${deltas}/scratch/superblock`];
  const unsigned = await call([...scratch, `--sign-key=ed25519:${KEY}`]);
  assert.deepEqual([unsigned.code, unsigned.stdout], [1, ""]);
  assert.match(unsigned.stderr, /Signature verification enabled, but no signatures found/);
  assert.equal((await call(scratch)).code, 0);
  const signed = [...ostree, "apply-delta", `${deltas}/signed-inline.superblock`];
  const wrong = await call([...signed, `--sign-key=ed25519:${other}`]);
  assert.deepEqual([wrong.code, wrong.stdout], [1, ""]);
  assert.match(wrong.stderr, /Delta: ed25519: Signature couldn't be verified with: key '/);
  const gpg = await call([...signed, `--gpg-keyring=${DIR}/k2.gpg`]);
  assert.match(gpg.stderr, /GPG verification enabled, but no signatures found/);
  const right = await call([...signed, `--sign-key=ed25519:${KEY}`]);
  assert.equal(right.code, 0, right.stderr);
});
