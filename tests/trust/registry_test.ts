import assert from "node:assert/strict";
import type { ProgressSink } from "../../lib/base/mod.ts";
import {
  openImageRef,
  policyAdmission,
  pushImage,
  reportRemote,
  type TrustOptions,
} from "../../lib/oci/mod.ts";
import { names, newRepository, pull } from "../oci/_oci.ts";
import { loadNative } from "../helpers/native.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TestRegistry } from "../helpers/registry.ts";
import { run, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { FIXTURES } from "./_fixtures.ts";

loadNative();

const NEEDS = [needTool("docker-registry"), needTool("skopeo")];

/** Nothing of this machine's settings, no patience. */
const REGISTRY = {
  tlsVerify: false,
  surroundings: { variable: () => undefined, uid: 0, root: "/nonexistent" },
  http: { retries: 0, backoff: 1 },
} as const;

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

/** Pulls from a registry; the reason when it is refused. */
async function pulled(
  reference: string,
  options: TrustOptions & { repo: string },
): Promise<string | undefined> {
  const { repo, ...trust } = options;
  using repository = newRepository(repo);
  try {
    const admit = await policyAdmission(reference, trust);
    await pull(repository, reference, { registry: REGISTRY, admit });
    return undefined;
  } catch (error) {
    assert.deepEqual(names(repository), []);
    return ((error as Error).cause as Error).message;
  }
}

testWith({
  name: "images in a registry are judged by the attachments beside them",
  needs: NEEDS,
  async fn(t) {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    const digest = "c5f67d998c5002484ce445214aeb5d25108830ef5481332b0a7b7626390d9f80";
    const identity = {
      type: "exactRepository",
      dockerRepository: "registry.example.com/cosign/good",
    };
    const demand = {
      type: "sigstoreSigned",
      keyPath: `${FIXTURES}/keys/ec-p256.pub`,
      signedIdentity: identity,
    };
    dir.write("policy.json", encode({ default: [demand] }));
    const layout = `oci-archive:${FIXTURES}/layouts/cosign-good.oci.tar`;
    await registry.push(`${layout}:v1`, "team/app:v1");
    const reference = `docker://${registry.host}/team/app:v1`;
    const policy = dir.join("policy.json");
    const empty = dir.join("none.d");
    Deno.mkdirSync(empty);
    await t.step("none yet", async () => {
      const trust = { policy, registriesD: empty, repo: dir.join("r1") };
      assert.match((await pulled(reference, trust))!, /no signature exists$/);
    });
    await registry.push(`${layout}:sha256-${digest}.sig`, `team/app:sha256-${digest}.sig`);
    await t.step("by its tag", async () => {
      const trust = { policy, registriesD: empty, repo: dir.join("r2") };
      assert.equal(await pulled(reference, trust), undefined);
    });
    await t.step("forbidden by registries.d", async () => {
      const forbidding = dir.join("off.d");
      Deno.mkdirSync(forbidding);
      const text = "default-docker:\n  use-sigstore-attachments: false\n";
      dir.write("off.d/a.yaml", new TextEncoder().encode(text));
      const trust = { policy, registriesD: forbidding, repo: dir.join("r3") };
      assert.match((await pulled(reference, trust))!, /attachments were not looked at/);
    });
    await t.step("for another name", async () => {
      const plain = { ...demand, signedIdentity: { type: "matchRepository" } };
      dir.write("other.json", encode({ default: [plain] }));
      const trust = { policy: dir.join("other.json"), registriesD: empty, repo: dir.join("r4") };
      const reason = (await pulled(reference, trust))!;
      assert.match(reason, /is not accepted \(signed for registry\.example\.com\/cosign\/good/);
    });
    await t.step("reported without pulling", async () => {
      const options = { policy, registriesD: empty, registry: REGISTRY };
      const report = await reportRemote(reference, options);
      assert.equal(report.verdict, "trusted");
    });
  },
});

testWith({
  name: "signatures that say nothing of their image are found where they were pushed to",
  needs: NEEDS,
  async fn(t) {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    const layout = `oci-archive:${FIXTURES}/layouts/cosign-good.oci.tar`;
    const demand = {
      type: "sigstoreSigned",
      keyPath: `${FIXTURES}/keys/ec-p256.pub`,
      signedIdentity: {
        type: "exactRepository",
        dockerRepository: "registry.example.com/cosign/good",
      },
    };
    dir.write("policy.json", encode({ default: [demand] }));
    const policy = dir.join("policy.json");
    using repository = newRepository(dir.join("repo"));
    const admit = await policyAdmission(layout, { policy });
    await pull(repository, `${layout}:v1`, { admit });
    // Whatever has the blobs already keeps the image's digest, which is what was signed.
    await registry.push(`${layout}:v1`, "team/first:v1", ["--preserve-digests"]);
    await runOk([
      ...[tool("skopeo"), "copy", "--quiet", "--preserve-digests"],
      ...[`${layout}:v1`, `oci:${dir.join("layout")}:first`],
    ]);
    const push = (destination: string, progress?: ProgressSink) =>
      pushImage(repository, "t", {
        destination,
        referrers: true,
        access: REGISTRY,
        mountFrom: [`${registry.host}/team/first`],
        ...(progress === undefined ? {} : { progress }),
      });
    const places = [
      `docker://${registry.host}/team/second:v1`,
      `oci:${dir.join("layout")}:second`,
    ];
    for (const [i, place] of places.entries()) {
      await t.step(place.split(":")[0]!, async () => {
        const { referrers, manifestDigest, sourceDigest } = await push(place);
        assert.ok(manifestDigest.equals(sourceDigest));
        assert.equal(referrers.length, 1);
        assert.equal(await pulled(place, { policy, repo: dir.join(`r${i}`) }), undefined);
        assert.equal((await push(place)).referrers.length, 1);
      });
    }
    await t.step("but not in the place of others", async () => {
      const tag = `sha256-${openImageRef(repository, "t").manifestDigest.encoded}.sig`;
      await registry.push(`${layout}:v1`, `team/third:${tag}`);
      const warnings: string[] = [];
      const { referrers } = await push(
        `docker://${registry.host}/team/third:v1`,
        (event) => event.type === "warning" && warnings.push(event.text),
      );
      assert.deepEqual(referrers, []);
      assert.match(warnings.join(), /is left out: Tag sha256-\w+\.sig leads to another manifest/);
    });
  },
});

/** A home of GnuPG of its own, whose agent ends with it. */
class GpgHome implements Disposable {
  readonly dir = new TempDir({ prefix: "gpg-" });

  constructor() {
    Deno.chmodSync(this.dir.path, 0o700);
  }

  /** Makes a key and exports it; its fingerprint. */
  async newKey(name: string): Promise<string> {
    const command = [tool("gpg"), "--homedir", this.dir.path, "--batch", "--quiet"];
    const pass = ["--pinentry-mode", "loopback", "--passphrase", ""];
    await runOk([...command, ...pass, "--quick-generate-key", name, "rsa2048", "sign", "never"]);
    const { stdoutBytes } = await runOk([...command, "--export", name]);
    this.dir.write(`${name}.gpg`, stdoutBytes);
    const { stdout } = await runOk([...command, "--with-colons", "--list-keys", name]);
    return /^fpr:+([0-9A-F]{40}):/m.exec(stdout)![1]!;
  }

  [Symbol.dispose](): void {
    new Deno.Command("gpgconf", {
      args: ["--homedir", this.dir.path, "--kill", "all"],
    }).outputSync();
    this.dir[Symbol.dispose]();
  }
}

testWith({
  name: "skopeo signs, and skopeo and pulls agree on who may be let in",
  needs: [...NEEDS, needTool("gpg"), needTool("gpgconf")],
  async fn(t) {
    using dir = new TempDir();
    using home = new GpgHome();
    const alice = await home.newKey("alice");
    await home.newKey("bob");
    await using registry = await TestRegistry.start();
    const registriesD = dir.join("registries.d");
    Deno.mkdirSync(registriesD);
    Deno.mkdirSync(dir.join("lookaside"));
    const text = `default-docker:\n  lookaside: file://${dir.join("lookaside")}\n`;
    dir.write("registries.d/default.yaml", new TextEncoder().encode(text));
    const layout = `oci-archive:${FIXTURES}/layouts/gpg.oci.tar:v1`;
    const sign = async (name: string) =>
      await runOk([
        tool("skopeo"),
        "--insecure-policy",
        "--registries.d",
        registriesD,
        "copy",
        ...registry.skopeoOptions("dest"),
        "--remove-signatures",
        "--sign-by",
        alice,
        layout,
        `docker://${registry.host}/${name}`,
      ], { env: { GNUPGHOME: home.dir.path } });
    await sign("team/app:v1");
    await registry.push(layout, "team/app:v2");
    await registry.push(layout, "other/app:v1");
    const key = (name: string, identity?: unknown) => ({
      type: "signedBy",
      keyType: "GPGKeys",
      keyPath: home.dir.join(`${name}.gpg`),
      ...identity === undefined ? {} : { signedIdentity: identity },
    });
    const repository = { type: "matchRepository" };
    const reject = [{ type: "reject" }];
    const scoped = (scope: string, list: unknown) => ({
      default: reject,
      transports: { docker: { [scope]: list } },
    });
    const cases: { name: string; image: string; policy: unknown; accepted: boolean }[] = [
      { name: "good", image: "team/app:v1", policy: { default: [key("alice")] }, accepted: true },
      {
        name: "other key",
        image: "team/app:v1",
        policy: { default: [key("bob")] },
        accepted: false,
      },
      {
        name: "other tag",
        image: "team/app:v2",
        policy: { default: [key("alice")] },
        accepted: false,
      },
      {
        name: "other tag of the repository",
        image: "team/app:v2",
        policy: { default: [key("alice", repository)] },
        accepted: true,
      },
      {
        name: "other repository",
        image: "other/app:v1",
        policy: { default: [key("alice", repository)] },
        accepted: false,
      },
      {
        name: "two demands of which one is met",
        image: "team/app:v1",
        policy: { default: [key("alice"), key("bob")] },
        accepted: false,
      },
      {
        name: "scope of the registry",
        image: "team/app:v1",
        policy: scoped(registry.host, [key("alice")]),
        accepted: true,
      },
      {
        name: "scope of the host without its port",
        image: "team/app:v1",
        policy: scoped("127.0.0.1", [key("alice")]),
        accepted: false,
      },
      {
        name: "wildcard",
        image: "team/app:v1",
        policy: scoped("*.0.0.1", [key("alice")]),
        accepted: true,
      },
    ];
    for (const [i, { name, image, policy, accepted }] of cases.entries()) {
      await t.step(name, async () => {
        dir.write("policy.json", encode(policy));
        const reference = `docker://${registry.host}/${image}`;
        const trust = { policy: dir.join("policy.json"), registriesD };
        const reason = await pulled(reference, { ...trust, repo: dir.join(`repo${i}`) });
        const judged = await run([
          tool("skopeo"),
          "--policy",
          trust.policy,
          "--registries.d",
          registriesD,
          "copy",
          ...registry.skopeoOptions("src"),
          reference,
          `dir:${dir.join(`copy${i}`)}`,
        ]);
        assert.equal(judged.code === 0, accepted, judged.stderr);
        assert.equal(reason === undefined, accepted, reason ?? "");
        if (reason !== undefined) {
          assert.match(reason, /^Source image rejected: /);
          assert.match(judged.stderr, /Source image rejected: /);
        }
      });
    }
  },
});
