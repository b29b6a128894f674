import assert from "node:assert/strict";
import { PolicyError } from "../../lib/base/mod.ts";
import {
  GpgKeyring,
  LocalRepository,
  NO_VERIFICATION,
  parseMetadata,
  verifyCommit,
  type VerifyPolicy,
  verifySummary,
} from "../../lib/ostree/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";

loadNative();

const DAY = 24 * 3600 * 1000;

/** A home of GnuPG of its own, whose agent ends with it. */
class GpgHome implements Disposable {
  readonly dir = new TempDir({ prefix: "gpg-" });

  constructor() {
    Deno.chmodSync(this.dir.path, 0o700);
  }

  async gpg(...args: string[]): Promise<Uint8Array<ArrayBuffer>> {
    const command = [tool("gpg"), "--homedir", this.dir.path, "--batch", "--yes", "--quiet"];
    return (await runOk([...command, "--pinentry-mode", "loopback", "--passphrase", "", ...args]))
      .stdoutBytes;
  }

  /** Makes a key that signs; its fingerprint. */
  async newKey(name: string, options: { algorithm: string; expire?: string }): Promise<string> {
    const { algorithm, expire = "never" } = options;
    await this.gpg("--quick-generate-key", name, algorithm, "sign", expire);
    return await this.fingerprint(name);
  }

  async fingerprint(name: string): Promise<string> {
    const listing = await this.gpg("--with-colons", "--list-keys", name);
    const text = new TextDecoder().decode(listing);
    return /^fpr:+([0-9A-F]{40}):/m.exec(text)![1]!;
  }

  async sign(data: Uint8Array, ...args: string[]): Promise<Uint8Array> {
    const path = this.dir.write("data", data);
    return await this.gpg(...args, "--detach-sign", "--output", "-", path);
  }

  async keyring(...args: string[]): Promise<GpgKeyring> {
    return new GpgKeyring([{ name: "exported", bytes: await this.gpg("--export", ...args) }]);
  }

  [Symbol.dispose](): void {
    new Deno.Command("gpgconf", {
      args: ["--homedir", this.dir.path, "--kill", "all"],
      stdout: "null",
      stderr: "null",
    }).outputSync();
    this.dir[Symbol.dispose]();
  }
}

const data = new TextEncoder().encode("what is signed\n");
const needs = [needTool("gpg"), needTool("gpgconf")];

const algorithms = ["rsa2048", "rsa3072", "ed25519", "nistp256", "nistp384"];

testWith({
  name: "GpgKeyring checks signatures by every usual kind of key",
  needs,
  fn: async (t) => {
    using home = new GpgHome();
    for (const algorithm of algorithms) {
      await t.step(algorithm, async () => {
        const name = `${algorithm}@example.invalid`;
        const fingerprint = await home.newKey(name, { algorithm });
        const signature = await home.sign(data, "-u", name);
        const keyring = await home.keyring(name);
        const [good] = await keyring.verify(data, [signature]);
        assert.deepEqual([good?.status, good?.fingerprint], ["good", fingerprint]);
        const [bad] = await keyring.verify(data.subarray(1), [signature]);
        assert.equal(bad?.status, "bad");
      });
    }
  },
});

testWith({
  name: "GpgKeyring refuses expired, revoked and weak signatures as gpg does",
  needs,
  fn: async (t) => {
    using home = new GpgHome();
    const name = "signer@example.invalid";
    const fingerprint = await home.newKey(name, { algorithm: "rsa2048", expire: "10d" });
    const plain = await home.sign(data, "-u", name);
    const status = async (
      signature: Uint8Array,
      options: { days?: number; keyring?: GpgKeyring } = {},
    ): Promise<string | undefined> => {
      const keyring = options.keyring ?? await home.keyring(name);
      const now = new Date(Date.now() + (options.days ?? 0) * DAY);
      return (await keyring.verify(data, [signature], { now }))[0]?.status;
    };
    await t.step("a key that expires", async () => {
      assert.equal(await status(plain, { days: 9 }), "good");
      assert.equal(await status(plain, { days: 11 }), "expired-key");
    });
    await t.step("a signature that expires", async () => {
      const short = await home.sign(data, "-u", name, "--default-sig-expire", "2d");
      assert.equal(await status(short, { days: 1 }), "good");
      assert.equal(await status(short, { days: 3 }), "expired-signature");
    });
    await t.step("weak hashes", async () => {
      const weak = await home.sign(data, "-u", name, "--digest-algo", "SHA1");
      const [verdict] = await (await home.keyring(name)).verify(data, [weak]);
      assert.equal(verdict?.status, "weak");
      assert.match(verdict!.lines.join("\n"), /insecure hash algorithm SHA1/);
    });
    await t.step("a text signature", async () => {
      assert.equal(await status(await home.sign(data, "-u", name, "--textmode")), "unsupported");
    });
    await t.step("an armored signature is none in a commit", async () => {
      assert.equal(await status(await home.sign(data, "-u", name, "--armor")), "malformed");
    });
    await t.step("an older copy of the key beside one that lasts longer", async () => {
      const old = await home.gpg("--export", name);
      // So that the key's only self-signature is younger than the signature.
      await new Promise((done) => setTimeout(done, 1100));
      await home.gpg("--quick-set-expire", fingerprint, "100d");
      const fresh = await home.gpg("--export", name);
      const both = new GpgKeyring([old, fresh].map((bytes) => ({ name: "x", bytes })));
      assert.equal(await status(plain, { days: 20, keyring: both }), "good");
    });
    await t.step("an older copy of the key beside one that lasts shorter", async () => {
      const old = await home.gpg("--export", name);
      await new Promise((done) => setTimeout(done, 1100));
      await home.gpg("--quick-set-expire", fingerprint, "10d");
      const fresh = await home.gpg("--export", name);
      for (const files of [[old, fresh], [fresh, old]]) {
        const both = new GpgKeyring(files.map((bytes) => ({ name: "x", bytes })));
        assert.equal(await status(plain, { days: 9, keyring: both }), "good");
        assert.equal(await status(plain, { days: 20, keyring: both }), "expired-key");
      }
    });
    await t.step("a signature by a subkey", async () => {
      await home.gpg("--quick-add-key", fingerprint, "ed25519", "sign", "5d");
      const signature = await home.sign(data, "-u", name);
      const [verdict] = await (await home.keyring(name)).verify(data, [signature]);
      assert.deepEqual([verdict?.status, verdict?.fingerprint], ["good", fingerprint]);
      assert.notEqual(verdict!.keyId, fingerprint.slice(-16));
      assert.match(
        verdict!.lines.join("\n"),
        new RegExp(`Primary key ID ${fingerprint.slice(-16)}`),
      );
      assert.equal(await status(signature, { days: 6 }), "expired-key");
    });
    await t.step("a revoked key", async () => {
      const path = `${home.dir.path}/openpgp-revocs.d/${fingerprint}.rev`;
      const text = Deno.readTextFileSync(path).replace(":-----BEGIN", "-----BEGIN");
      const old = await home.gpg("--export", name);
      await home.gpg("--import", home.dir.write("revoke", text));
      const revoked = await home.gpg("--export", name);
      // An older copy beside it takes nothing back.
      for (const files of [[old, revoked], [revoked, old]]) {
        const both = new GpgKeyring(files.map((bytes) => ({ name: "x", bytes })));
        assert.equal(await status(plain, { keyring: both }), "revoked-key");
        assert.deepEqual(await both.fingerprints(), [fingerprint]);
      }
      const [verdict] = await (await home.keyring(name)).verify(data, [plain]);
      assert.equal(verdict?.status, "revoked-key");
      assert.match(verdict!.lines.join("\n"), /\nSignature from "signer@.*"\nKey revoked$/);
    });
  },
});

testWith({
  name: "verifyCommit() and verifySummary() take what ostree signs",
  needs: [...needs, needTool("ostree")],
  fn: async () => {
    using home = new GpgHome();
    using dir = new TempDir();
    const fingerprint = await home.newKey("O Stree <ostree@example.invalid>", {
      algorithm: "ed25519",
    });
    await home.newKey("other@example.invalid", { algorithm: "rsa2048" });
    const repo = dir.join("repo");
    const ostree = async (...args: string[]): Promise<string> =>
      (await runOk([tool("ostree"), `--repo=${repo}`, ...args])).stdout.trim();
    dir.write("tree/file", "content\n");
    await ostree("init", "--mode=archive");
    const sign = [`--gpg-sign=${fingerprint}`, `--gpg-homedir=${home.dir.path}`];
    const id = await ostree("commit", "-b", "main", ...sign, dir.join("tree"));
    await ostree("summary", "-u", ...sign);
    await ostree("gpg-sign", `--gpg-homedir=${home.dir.path}`, id, "other@example.invalid");

    const policyOf = async (name: string): Promise<VerifyPolicy> => {
      const keyring = await home.keyring(name);
      return { ...NO_VERIFICATION, gpg: true, gpgSummary: true, keyring };
    };
    const policy = await policyOf("ostree@example.invalid");
    using source = LocalRepository.open(repo);
    const { commit } = await source.resolve("main");
    assert.equal(commit, id);
    const bytes = await source.readMetadata("commit", commit);
    const detached = await source.readDetached(commit);
    assert.equal(parseMetadata(detached!).length, 1);
    const one = await verifyCommit(bytes, detached, { policy });
    assert.deepEqual(one.valid.map(({ key }) => key), [fingerprint]);
    const both = { ...policy, keyring: await home.keyring() };
    assert.equal((await verifyCommit(bytes, detached, { policy: both })).valid.length, 2);

    const summary = Deno.readFileSync(`${repo}/summary`);
    const signature = Deno.readFileSync(`${repo}/summary.sig`);
    assert.equal((await verifySummary(summary, signature, { policy })).valid.length, 1);
    const other = await policyOf("other@example.invalid");
    await assert.rejects(verifySummary(summary, signature, { policy: other }), PolicyError);

    // The same words as ostree, whose own lines come from a remote with the same key.
    const key = dir.write("key.asc", await home.gpg("--armor", "--export", fingerprint));
    await ostree("remote", "add", `--gpg-import=${key}`, "self", `file://${repo}`);
    const shown = await runOk(
      [tool("ostree"), `--repo=${repo}`, "show", "--gpg-verify-remote=self", id],
      { env: { TZ: "UTC", LC_ALL: "C" } },
    );
    for (const line of one.valid[0]!.lines) assert.ok(shown.stdout.includes(line), line);
    const imported = Deno.readFileSync(`${repo}/self.trustedkeys.gpg`);
    const keyring = new GpgKeyring([{ name: "self.trustedkeys.gpg", bytes: imported }]);
    assert.deepEqual(await keyring.fingerprints(), [fingerprint]);
  },
});
