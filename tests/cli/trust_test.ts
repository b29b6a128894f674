import assert from "node:assert/strict";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import { run } from "../helpers/run.ts";
import { FIXTURES } from "../trust/_fixtures.ts";
import { call } from "./_call.ts";

loadNative();

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

const DEMAND = {
  type: "sigstoreSigned",
  keyPath: `${FIXTURES}/keys/ec-p256.pub`,
  signedIdentity: { type: "matchRepository" },
};
const IDENTITY = "registry.example.com/cosign/good:v1";
const GOOD = `oci-archive:${FIXTURES}/layouts/cosign-good.oci.tar:v1`;
const BAD = `oci-archive:${FIXTURES}/layouts/cosign-unknown-key.oci.tar:v1`;

/** A repository and a policy. */
async function prepare(dir: TempDir): Promise<{ repo: string[]; policy: string }> {
  const repo = ["--repo", dir.join("repo")];
  assert.equal((await call([...repo, "init", "--insecure"])).code, 0);
  dir.write("policy.json", encode({ default: [DEMAND] }));
  return { repo, policy: dir.join("policy.json") };
}

Deno.test("oci pull asks the policy, and trust check says what came of it", async (t) => {
  using dir = new TempDir();
  const { repo, policy } = await prepare(dir);
  const trust = ["--policy", policy, "--identity", IDENTITY];
  await t.step("refused", async () => {
    const { code, stdout, stderr } = await call([...repo, "oci", "pull", ...trust, BAD, "bad"]);
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(stderr, /Source image rejected: cryptographic signature verification failed/);
    assert.match(stderr, /cosign signature at .*\(unverified\)/);
    const images = await call([...repo, "oci", "images", "--json"]);
    assert.deepEqual(JSON.parse(images.stdout).images, []);
  });
  await t.step("let in", async () => {
    const { code, stderr } = await call([...repo, "oci", "pull", ...trust, GOOD, "good"]);
    assert.equal(code, 0, stderr);
  });
  await t.step("let in without any question", async () => {
    const args = [...repo, "oci", "pull", "--insecure-policy", BAD, "bad"];
    assert.equal((await call(args)).code, 0);
    const both = await call([...repo, "oci", "pull", "--insecure-policy", ...trust, BAD, "bad"]);
    assert.equal(both.code, 2);
  });
  const check = [...repo, "trust", "check", "--policy", policy];
  await t.step("trusted", async () => {
    const { code, stdout } = await call([...check, "--identity", IDENTITY, "good"]);
    assert.equal(code, 0);
    assert.match(stdout, /\nTRUSTED: signed by sha256:[0-9a-f]{64} for registry\.example\.com/);
  });
  await t.step("the same as JSON, each time", async () => {
    const args = [...check, "--identity", IDENTITY, "--deep", "good", "--json"];
    const { code, stdout } = await call(args);
    assert.equal(code, 0);
    assert.equal((await call(args)).stdout, stdout);
    const report = JSON.parse(stdout);
    assert.equal(report.version, 1);
    assert.equal(report.verdict, "trusted");
    assert.deepEqual(Object.keys(report), [
      "version",
      "image",
      "policy",
      "signatures",
      "notes",
      "links",
      "verdict",
    ]);
  });
  await t.step("refused by the policy: 3", async () => {
    const { code, stdout } = await call([...check, "good"]);
    assert.equal(code, 3);
    assert.match(stdout, /\nNOT TRUSTED: Signature for identity /);
  });
  await t.step("exported, and checked by the file alone", async () => {
    const file = dir.join("good.tar");
    const args = [...repo, "trust", "export", "--identity", IDENTITY, "-o", file, "good", "--json"];
    const exported = await call(args);
    assert.equal(exported.code, 0, exported.stderr);
    assert.equal(JSON.parse(exported.stdout).size, Deno.statSync(file).size);
    const first = Deno.readFileSync(file);
    await call(args);
    assert.deepEqual(Deno.readFileSync(file), first);
    for (const where of [repo, []]) {
      const bundle = ["--policy", policy, "--identity", IDENTITY, "--bundle", file];
      const { code, stdout } = await call([...where, "trust", "check", ...bundle]);
      assert.equal(code, 0, stdout);
      assert.match(stdout, /\nTRUSTED: /);
      const other = await call([...where, "trust", "check", "--policy", policy, "--bundle", file]);
      assert.equal(other.code, 3);
    }
    // One bit of the manifest, which is the last blob but one.
    const spoilt = first.slice();
    const at = new TextDecoder("latin1").decode(first).indexOf('"schemaVersion":2,"config"');
    spoilt[(at < 0 ? first.length - 2000 : at) + 1]! ^= 1;
    Deno.writeFileSync(dir.join("spoilt.tar"), spoilt);
    const bundle = ["--policy", policy, "--identity", IDENTITY, "--bundle"];
    const { code } = await call([...repo, "trust", "check", ...bundle, dir.join("spoilt.tar")]);
    assert.notEqual(code, 0);
  });
  await t.step("tampered with: 1", async () => {
    const objects = await run([
      "find",
      `${dir.join("repo")}/objects`,
      "-type",
      "f",
      "-size",
      "+1k",
    ]);
    const [victim] = objects.stdout.trim().split("\n").sort();
    Deno.chmodSync(victim!, 0o644);
    Deno.removeSync(victim!);
    const { code, stdout } = await call([...check, "--identity", IDENTITY, "good"]);
    assert.equal(code, 1, stdout);
  });
  await t.step("neither image nor file: 2", async () => {
    assert.equal((await call(check)).code, 2);
  });
});

Deno.test("trust check of a reference needs no repository", async () => {
  using dir = new TempDir();
  dir.write("policy.json", encode({ default: [DEMAND] }));
  const args = ["trust", "check", "--policy", dir.join("policy.json"), "--identity"];
  assert.equal((await call([...args, IDENTITY, GOOD])).code, 0);
  assert.equal((await call([...args, "r.example/x", GOOD])).code, 3);
});

Deno.test("trust show tells the policy, and what applies to an image", async (t) => {
  using dir = new TempDir();
  const policy = {
    default: [{ type: "reject" }],
    transports: { docker: { "r.example": [{ type: "insecureAcceptAnything" }] } },
  };
  dir.write("policy.json", encode(policy));
  const args = ["trust", "show", "--policy", dir.join("policy.json")];
  await t.step("all of it", async () => {
    const { stdout } = await call(args);
    assert.equal(
      stdout,
      `policy ${dir.join("policy.json")}\ndefault\n  reject\n` +
        'docker "r.example"\n  insecureAcceptAnything\n',
    );
  });
  await t.step("for an image", async () => {
    const { stdout } = await call([...args, "docker://r.example/a/b:v1"]);
    assert.match(stdout, /\nimage {2}docker:\/\/r\.example\/a\/b:v1\n/);
    assert.match(stdout, /\nthis policy accepts the image unsigned\n$/);
    const { stdout: json } = await call([...args, "docker://busybox", "--json"]);
    const shown = JSON.parse(json);
    assert.equal(shown.accepts_unsigned, false);
    assert.deepEqual(shown.scopes, [{
      transport: null,
      scope: "",
      requirements: [{ type: "reject" }],
    }]);
  });
});

Deno.test("trust lint tells all faults with their places, and exits 1 for errors", async (t) => {
  using dir = new TempDir();
  Deno.mkdirSync(dir.join("none.d"));
  const lint = async (value: unknown) => {
    dir.write(
      "p.json",
      typeof value === "string" ? new TextEncoder().encode(value) : encode(value),
    );
    const args = ["trust", "lint", "--registries.d", dir.join("none.d"), dir.join("p.json")];
    const { code, stdout } = await call([...args, "--json"]);
    assert.equal((await call(args)).code, code);
    const { faults } = JSON.parse(stdout) as { faults: { severity: string; reason: string }[] };
    return { code, faults: faults.map(({ severity, reason }) => `${severity}: ${reason}`) };
  };
  const cases: { name: string; policy: unknown; code: number; faults: RegExp[] }[] = [
    { name: "nothing", policy: { default: [{ type: "reject" }] }, code: 0, faults: [] },
    {
      name: "errors and warnings",
      policy: { default: [{ type: "insecureAcceptAnything" }], x: 1 },
      code: 1,
      faults: [/^warning: images that nothing else applies to/, /^error: Unknown key "x"/],
    },
    { name: "no JSON", policy: "{", code: 1, faults: [/^error: unexpected end of JSON input/] },
    {
      name: "files and scopes that are not there",
      policy: {
        default: [{ type: "reject" }],
        transports: {
          docker: {
            busybox: [{ type: "signedBy", keyType: "GPGKeys", keyPath: "/nonexistent/key" }],
            "*.example:5000": [{ type: "reject" }],
            "r.*.example": [{ type: "reject" }],
            "r.example": [{ type: "reject" }],
          },
          dir: { "/nonexistent": [{ type: "reject" }], "/proc/self": [{ type: "reject" }] },
        },
      },
      code: 0,
      faults: [
        /never matches: names are completed first/,
        /^warning: no such file: \/nonexistent\/key/,
        /never matches: wildcards are compared with hosts without their port/,
        /never matches: a wildcard is the first label/,
        /never matches: there is no such file or directory/,
        /never matches: its path without symbolic links is/,
      ],
    },
    {
      name: "cosign keys with the default rule, and attachments that are off",
      policy: {
        default: [{ type: "reject" }],
        transports: {
          docker: { "r.example/a": [{ type: "sigstoreSigned", keyPath: DEMAND.keyPath }] },
        },
      },
      code: 0,
      faults: [/cosign signs names without a tag/, /registries\.d does not enable/],
    },
  ];
  for (const { name, policy, code, faults } of cases) {
    await t.step(name, async () => {
      const found = await lint(policy);
      assert.equal(found.code, code);
      assert.equal(found.faults.length, faults.length, found.faults.join("\n"));
      for (const [i, fault] of faults.entries()) assert.match(found.faults[i]!, fault);
    });
  }
});
