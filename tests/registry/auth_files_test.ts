import assert from "node:assert/strict";
import { FormatError } from "../../lib/base/mod.ts";
import { parseCredentials } from "../../lib/registry/mod.ts";
import { credentialsOf, findCredentials, parseAuthFile } from "../../lib/registry/auth_files.ts";
import { TempDir } from "../helpers/temp.ts";

/** An entry of a file. */
function entry(user: string, password = "p"): { auth: string } {
  return { auth: new TextEncoder().encode(`${user}:${password}`).toBase64() };
}

const FILE = {
  auths: {
    "quay.io": entry("host"),
    "quay.io/ns": entry("ns"),
    "quay.io/ns/repo": entry("repo", "with:colon"),
    "https://index.docker.io/v1/": entry("hub"),
    "https://old.example.com/v2/": entry("old"),
    "http://plain.example.com": entry("plain"),
    "padded.example.com": entry("padded", "p\0\0"),
    "token.example.com": { ...entry("x"), identitytoken: "identity" },
    "named.example.com": { username: "u", password: "pw" },
    "empty.example.com": {},
    "port.example.com:5000": entry("port"),
  },
};

const lookups: [name: string, user: string | undefined][] = [
  ["quay.io/other", "host"],
  ["quay.io/ns", "ns"],
  ["quay.io/ns/repo", "repo"],
  ["quay.io/ns/repository", "ns"],
  ["quay.io/ns/repo/deep", "repo"],
  ["docker.io/library/busybox", "hub"],
  ["old.example.com/x", "old"],
  ["plain.example.com/x", "plain"],
  ["padded.example.com/x", "padded"],
  ["token.example.com/x", "identity"],
  ["named.example.com/x", "u"],
  ["empty.example.com/x", undefined],
  ["port.example.com:5000/x", "port"],
  ["port.example.com/x", undefined],
  ["nobody.example.com/x", undefined],
  ["io/x", undefined],
];

Deno.test("credentialsOf() takes the longest name that fits", async (t) => {
  const file = parseAuthFile(JSON.stringify(FILE), "/auth.json");
  for (const [name, user] of lookups) {
    await t.step(name, async () => {
      const found = await credentialsOf(file, name);
      assert.equal(found?.kind === "basic" ? found.user : found?.token, user);
    });
  }
  const repo = await credentialsOf(file, "quay.io/ns/repo");
  assert.deepEqual(repo, { kind: "basic", user: "repo", password: "with:colon" });
  const padded = await credentialsOf(file, "padded.example.com/x");
  assert.deepEqual(padded, { kind: "basic", user: "padded", password: "p" });
});

const faults: [name: string, text: string][] = [
  ["no JSON", "{"],
  ["a list", "[]"],
  ["auths that are none", '{"auths": []}'],
  ["helpers that are none", '{"credHelpers": 1}'],
  ["no base64", '{"auths": {"h.io": {"auth": "%secret%"}}}'],
  ["no colon", `{"auths": {"h.io": {"auth": "${btoa("secret")}"}}}`],
];

Deno.test("files that cannot be understood are named, their secrets are not", async (t) => {
  for (const [name, text] of faults) {
    await t.step(name, async () => {
      await assert.rejects(
        async () => await credentialsOf(parseAuthFile(text, "/some/auth.json"), "h.io/x"),
        (error: unknown) => {
          assert.ok(error instanceof FormatError);
          assert.match(error.message, /^\/some\/auth\.json: /);
          assert.doesNotMatch(Deno.inspect(error), /secret|c2VjcmV0/);
          return true;
        },
      );
    });
  }
  assert.deepEqual(parseAuthFile("", "/auth.json").auths.size, 0);
});

Deno.test("findCredentials() looks in the usual files, in their order", async (t) => {
  using dir = new TempDir();
  const home = dir.join("home");
  const files: [path: string, variables: Record<string, string>][] = [
    ["home/.dockercfg", { HOME: home }],
    ["home/.docker/config.json", { HOME: home }],
    ["docker/config.json", { HOME: home, DOCKER_CONFIG: dir.join("docker") }],
    ["home/.config/containers/auth.json", { HOME: home }],
    ["config/containers/auth.json", { HOME: home, XDG_CONFIG_HOME: dir.join("config") }],
    ["root/etc/ostree/auth.json", { HOME: home, SYSTEM: "1" }],
    ["root/run/ostree/auth.json", { HOME: home, SYSTEM: "1" }],
    ["root/run/containers/7/auth.json", { HOME: home }],
    ["run/containers/auth.json", { HOME: home, XDG_RUNTIME_DIR: dir.join("run") }],
    ["named.json", { HOME: home, REGISTRY_AUTH_FILE: dir.join("named.json") }],
  ];
  for (const [path, variables] of files) {
    await t.step(path, async () => {
      const auths = { "h.io": entry(path) };
      dir.write(path, JSON.stringify(path.endsWith(".dockercfg") ? auths : { auths }));
      const found = await findCredentials("h.io/x", {
        systemAuth: variables["SYSTEM"] !== undefined,
        surroundings: {
          variable: (name) => variables[name],
          uid: 7,
          root: dir.join("root"),
        },
      });
      assert.equal(found?.kind === "basic" ? found.user : "", path);
    });
  }
  const surroundings = { variable: () => undefined, uid: 8, root: dir.join("root") };
  assert.equal(await findCredentials("h.io/x", { surroundings }), undefined);
  await assert.rejects(
    findCredentials("h.io/x", { surroundings, authFile: dir.join("missing.json") }),
    { code: "CFS_NOT_FOUND" },
  );
  await assert.rejects(
    findCredentials("h.io/x", { surroundings, authFile: dir.path }),
    { name: "ComposefsError", message: `Reading ${dir.path}` },
  );
});

Deno.test("helper programs are asked", async (t) => {
  using dir = new TempDir();
  const program = (name: string, script: string) => {
    const path = dir.write(`bin/docker-credential-${name}`, `#!/bin/sh\n${script}\n`);
    Deno.chmodSync(path, 0o755);
  };
  program(
    "good",
    `read -r server; echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"$1 $server\\",\\"Secret\\":\\"s\\"}"`,
  );
  program("token", `cat >/dev/null; echo '{"Username":"<token>","Secret":"identity"}'`);
  program("none", `cat >/dev/null; echo 'credentials not found in native keychain'; exit 1`);
  program("deaf", `echo '{"Username":"u","Secret":"s"}'`);
  program("broken", `cat >/dev/null; echo 'leak: secret'; exit 3`);
  program("babble", `cat >/dev/null; echo 'hello'`);
  const path = Deno.env.get("PATH") ?? "";
  const cases: [helper: string, user: string | undefined | RegExp][] = [
    ["good", "get h.io"],
    ["token", "identity"],
    ["none", undefined],
    ["deaf", "u"],
    ["broken", /^Credential helper broken for h\.io: exit status 3$/],
    ["babble", /cannot be understood/],
    ["missing", /the program is not there/],
    ["../../x", /not a name of a program/],
  ];
  Deno.env.set("PATH", `${dir.join("bin")}:${path}`);
  try {
    for (const [helper, user] of cases) {
      await t.step(helper, async () => {
        const work = async () => {
          const file = parseAuthFile(JSON.stringify({ credHelpers: { "h.io": helper } }), "/a");
          return await credentialsOf(file, "h.io/x");
        };
        if (user instanceof RegExp) return await assert.rejects(work, { message: user });
        const found = await work();
        assert.equal(found?.kind === "basic" ? found.user : found?.token, user);
      });
    }
    await t.step("for everything else", async () => {
      const text = JSON.stringify({ auths: { "h.io": {} }, credsStore: "good" });
      const file = parseAuthFile(text, "/a");
      const hub = await credentialsOf(file, "docker.io/library/x");
      assert.equal(hub?.kind === "basic" && hub.user, "get https://index.docker.io/v1/");
      const other = await credentialsOf(file, "h.io/x");
      assert.equal(other?.kind === "basic" && other.user, "get h.io");
    });
  } finally {
    Deno.env.set("PATH", path);
  }
});

Deno.test("parseCredentials() wants a user and a password", () => {
  assert.deepEqual(parseCredentials("u:p:q"), { kind: "basic", user: "u", password: "p:q" });
  for (const text of ["", "u", "u:", ":p"]) {
    assert.throws(() => parseCredentials(text), FormatError);
  }
});
