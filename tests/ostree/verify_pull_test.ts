import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { generateKeyPairSync } from "node:crypto";
import { PolicyError } from "../../lib/base/mod.ts";
import {
  checksumBytes,
  checksumOf,
  deltaIndexPath,
  deltaPath,
  encodeMetadata,
  generateDelta,
  GpgKeyring,
  listCommits,
  listCommitTags,
  LocalRepository,
  NO_VERIFICATION,
  pullCommit,
  pullRemote,
  RemoteSource,
  SecretKey,
  Variant,
  verifyCommit,
  type VerifyPolicy,
  verifySummary,
  writeLocalDelta,
} from "../../lib/ostree/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { call } from "../cli/_call.ts";
import { A, assertNothingNamed, B, newRepository, unpack } from "./_remote.ts";

const DIR = `${ROOT}fixtures/ostree/gpg`;
const COMMIT = "83825bd88aec319ec2f2d3a872dd9ad56cc55e33f4fc4b48f180352bc8e50f07";
const COMMITMETA = `objects/${COMMIT.slice(0, 2)}/${COMMIT.slice(2)}.commitmeta`;
const NOW = new Date("2026-12-01T00:00:00Z");

function policyOf(...names: string[]): VerifyPolicy {
  const files = names.map((name) => ({ name, bytes: Deno.readFileSync(`${DIR}/${name}`) }));
  return { ...NO_VERIFICATION, gpg: true, gpgSummary: true, keyring: new GpgKeyring(files) };
}

const GOOD = policyOf("k1.gpg");
const NO_KEYS = policyOf();

/** Serves a directory; paths that were asked for are kept. */
class Server implements AsyncDisposable {
  readonly asked: string[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(dir: string) {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
      const path = new URL(request.url).pathname.slice(1);
      this.asked.push(path);
      try {
        return new Response(Deno.readFileSync(`${dir}/${path}`));
      } catch {
        // Whatever cannot be read is not there, as far as clients are concerned.
        return new Response("no", { status: 404 });
      }
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

async function pullFrom(
  url: string,
  repository: Repository,
  policy: VerifyPolicy,
): Promise<string[]> {
  using source = new RemoteSource(url, {
    verifySummary: async ({ bytes, signature }) => {
      await verifySummary(bytes, signature, { policy, now: NOW });
    },
  });
  const results = await pullRemote(repository, source, {
    references: ["signed"],
    verify: async ({ bytes, detached }) => {
      await verifyCommit(bytes, detached, { policy, now: NOW });
    },
  });
  return results.map(({ commit }) => commit);
}

Deno.test("pull from a server verifies the summary and the commit", async () => {
  using dir = new TempDir();
  await using server = new Server(unpack(dir.join("o"), "signed"));
  using repository = newRepository(dir.join("r"));
  assert.deepEqual(await pullFrom(server.url, repository, GOOD), [COMMIT]);
  assert.ok(server.asked.includes("summary.sig"));
  assert.ok(server.asked.includes(COMMITMETA));
});

interface Attack {
  name: string;
  policy: VerifyPolicy;
  change: (dir: string) => void;
  message: RegExp;
}

const attacks: Attack[] = [
  {
    name: "an unknown key",
    policy: policyOf("k2.gpg"),
    change: () => {},
    message: /^summary: Signature made .*\nCan't check signature: public key not found$/,
  },
  {
    name: "no summary.sig",
    policy: GOOD,
    change: (dir) => Deno.removeSync(`${dir}/summary.sig`),
    message: /no summary\.sig found/,
  },
  {
    name: "no summary, which would leave the ref to the server",
    policy: GOOD,
    change: (dir) => Deno.removeSync(`${dir}/summary`),
    message: /^Signature verification enabled, but no summary found$/,
  },
  {
    name: "no detached metadata",
    policy: GOOD,
    change: (dir) => Deno.removeSync(`${dir}/${COMMITMETA}`),
    message: new RegExp(`^Commit ${COMMIT}: GPG verification enabled, but no signatures found`),
  },
  {
    name: "the summary's signature on the commit",
    policy: GOOD,
    change: (dir) => Deno.copyFileSync(`${dir}/summary.sig`, `${dir}/${COMMITMETA}`),
    message: new RegExp(`^Commit ${COMMIT}: Signature made .*\nBAD signature from "cfs test`),
  },
  {
    name: "empty signatures",
    policy: { ...GOOD, gpgSummary: false },
    change: (dir) =>
      Deno.writeFileSync(
        `${dir}/${COMMITMETA}`,
        encodeMetadata([["ostree.gpgsigs", new Variant("aay", [new Uint8Array(0)])]]),
      ),
    message: /Malformed OpenPGP signature$/,
  },
];

Deno.test("pull from a server stops at the first bad signature, before any content", async (t) => {
  for (const { name, policy, change, message } of attacks) {
    await t.step(name, async () => {
      using dir = new TempDir();
      const served = unpack(dir.join("o"), "signed");
      change(served);
      await using server = new Server(served);
      using repository = newRepository(dir.join("r"));
      await assert.rejects(pullFrom(server.url, repository, policy), (error: Error) => {
        assert.ok(error instanceof PolicyError, String(error.stack));
        assert.match(error.message, message);
        return true;
      });
      assertNothingNamed(repository);
      const content = server.asked.filter((path) => /\.(filez|dirtree|dirmeta)$/.test(path));
      assert.deepEqual(content, []);
    });
  }
});

Deno.test("a commit that is there already gets a tag only when it is signed", async () => {
  using dir = new TempDir();
  const path = unpack(dir.join("o"), "signed");
  using repository = newRepository(dir.join("r"));
  using source = LocalRepository.open(path);
  const pull = (policy: VerifyPolicy | undefined, tag: string | null) =>
    pullCommit(repository, source, {
      reference: "signed",
      tag,
      ...(policy === undefined ? {} : {
        verify: async ({ bytes, detached }) => {
          await verifyCommit(bytes, detached, { policy, now: NOW });
        },
      }),
    });
  await pull(undefined, null);
  assert.deepEqual(listCommits(repository), [COMMIT]);
  await assert.rejects(pull(NO_KEYS, "mine"), PolicyError);
  assert.deepEqual(listCommitTags(repository), []);
  assert.equal((await pull(GOOD, "mine")).present, true);
  assert.deepEqual(listCommitTags(repository), [{ name: "mine", commit: COMMIT }]);
  // The signatures that are kept do, when the source has lost them.
  Deno.removeSync(`${path}/${COMMITMETA}`);
  assert.equal((await pull(GOOD, "mine")).present, true);
});

Deno.test("ostree list-refs follows the policy of a configured remote", async () => {
  using dir = new TempDir();
  const root = unpack(dir.join("o"), "signed");
  await using server = new Server(root);
  newRepository(dir.join("r"))[Symbol.dispose]();
  const ostree = ["--repo", dir.join("r"), "ostree"];
  const add = async (name: string, ...args: string[]) =>
    await call([...ostree, "remote", "add", name, server.url, ...args]);
  await add("free", "--no-gpg-verify");
  await add("strict", "--set=gpg-verify-summary=true", `--gpg-import=${DIR}/k2.gpg`);
  const free = await call([...ostree, "list-refs", "free", "--json"]);
  assert.deepEqual(JSON.parse(free.stdout).refs, [{ name: "signed", commit: COMMIT }]);
  // It is the other key that signed the summary.
  const strict = await call([...ostree, "list-refs", "strict"]);
  assert.deepEqual([strict.code, strict.stdout], [1, ""]);
  assert.match(strict.stderr, /public key not found/);
  const nobody = await call([...ostree, "list-refs", "nobody"]);
  assert.match(nobody.stderr, /Remote "nobody" not found/);
  const local = await call(["ostree", "list-refs", root, "--json"]);
  assert.deepEqual(JSON.parse(local.stdout).refs, [{ name: "signed", commit: COMMIT }]);
});

Deno.test("ostree pull follows the policy of a configured remote", async () => {
  using dir = new TempDir();
  await using server = new Server(unpack(dir.join("o"), "signed"));
  newRepository(dir.join("r"))[Symbol.dispose]();
  const ostree = ["--repo", dir.join("r"), "ostree"];
  const add = (name: string, ...args: string[]) =>
    call([...ostree, "remote", "add", name, server.url, "signed", ...args]);
  // A key without expiry, so that this holds in any year.
  assert.equal((await add("good", `--gpg-import=${DIR}/k2.gpg`)).code, 0);
  const key = Deno.readTextFileSync(`${DIR}/ed25519.pub`).trim();
  const sign = `--sign-verify=ed25519=inline:${key}`;
  assert.equal((await add("bad", "--no-gpg-verify", sign)).code, 0);
  assert.equal((await add("off", "--no-gpg-verify")).code, 0);

  const bad = await call([...ostree, "pull", "bad"]);
  assert.deepEqual([bad.code, bad.stdout], [1, ""]);
  assert.match(bad.stderr, new RegExp(`Commit ${COMMIT}: Signature verification enabled, but no`));
  const good = await call([...ostree, "pull", "good"]);
  assert.equal(good.code, 0, good.stderr);
  assert.match(good.stdout, new RegExp(`^commit  ${COMMIT}\n`));
  assert.doesNotMatch(good.stderr, /not verified/);
  const off = await call([...ostree, "pull", "off"]);
  assert.match(off.stderr, /^warning: commit signature not verified$/m);
  const again = await call([...ostree, "pull", "bad"]);
  assert.equal(again.code, 1, "what is there already is verified as well");
  const given = await call([...ostree, "pull", "bad", `--gpg-keyring=${DIR}/k2.gpg`]);
  assert.equal(given.code, 0, given.stderr);
  const skipped = await call([...ostree, "pull", "bad", "--no-verify"]);
  assert.equal(skipped.code, 0, skipped.stderr);
  const url = await call([...ostree, "pull", server.url, "signed", `--sign-key=ed25519:${key}`]);
  assert.equal(url.code, 1);
});

/** A secret key as ostree writes it, and the public one. */
function newKey(): { secret: string; public: string } {
  const jwk = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const [seed, raw] = [Buffer.from(jwk.d!, "base64url"), Buffer.from(jwk.x!, "base64url")];
  return {
    secret: Buffer.concat([seed, raw]).toString("base64"),
    public: raw.toString("base64"),
  };
}

Deno.test("ostree pull checks the signatures of static deltas when the remote wants some", async (t) => {
  using dir = new TempDir();
  const root = unpack(dir.join("o"), "archive");
  const key = newKey();
  const signKey = SecretKey.fromArgument(`ed25519:${key.secret}`);
  using local = LocalRepository.open(root);
  using made = newRepository(dir.join("made"));
  const first = (await pullCommit(made, local, { reference: A })).commit;
  const second = (await pullCommit(made, local, { reference: B })).commit;
  for (const commit of [first, second]) {
    const path = `${root}/objects/${commit.slice(0, 2)}/${commit.slice(2)}`;
    const signatures = signKey.signatures(Deno.readFileSync(`${path}.commit`));
    Deno.writeFileSync(`${path}.commitmeta`, encodeMetadata(signatures));
  }
  const place = `${root}/${deltaPath({ from: first, to: second })}`;
  const index = `${root}/${deltaIndexPath(second)}`;
  for (const path of [place, index]) {
    Deno.mkdirSync(path.replace(/\/[^/]*$/, ""), { recursive: true });
  }
  const publish = async (secret: string | undefined) => {
    const delta = await generateDelta(made, {
      from: first,
      to: second,
      ...(secret === undefined ? {} : { signKey: SecretKey.fromArgument(`ed25519:${secret}`) }),
    });
    writeLocalDelta(place, delta);
    const sum = new Variant("ay", checksumBytes(checksumOf(delta.superblock)));
    const listed = new Variant("a{sv}", [[`${first}-${second}`, sum]]);
    Deno.writeFileSync(index, encodeMetadata([["ostree.static-deltas", listed]]));
  };
  await using server = new Server(root);
  const cases: [name: string, secret: string | undefined, code: number][] = [
    ["a good signature", key.secret, 0],
    ["nobody's signature", undefined, 0], // the commit is signed
    ["another's signature", newKey().secret, 1],
  ];
  for (const [name, secret, code] of cases) {
    await t.step(name, async () => {
      await publish(secret);
      const path = dir.join(name);
      newRepository(path)[Symbol.dispose]();
      const ostree = ["--repo", path, "ostree"];
      const sign = `--sign-verify=ed25519=inline:${key.public}`;
      await call([...ostree, "remote", "add", "o", server.url, "--no-gpg-verify", sign]);
      assert.equal((await call([...ostree, "pull", "o", first])).code, 0);
      const pulled = await call([...ostree, "pull", "o", second, "--require-delta"]);
      assert.equal(pulled.code, code, pulled.stderr);
      if (code === 0) assert.match(pulled.stdout, /via 1 delta parts/);
      else {
        assert.match(pulled.stderr, /Signature couldn't be verified/);
        server.asked.length = 0;
        // No other way of getting it makes it better.
        const other = await call([...ostree, "pull", "o", second]);
        assert.equal(other.code, 1);
        assert.ok(!server.asked.some((path) => path.endsWith(".filez")));
      }
    });
  }
});
