/** The permissions that docs/permissions.md names are enough, and the variables are those that are read. */
import assert from "node:assert/strict";
import { needTool, testWith } from "../helpers/needs.ts";
import { NginxServer } from "../helpers/nginx.ts";
import { TestRegistry } from "../helpers/registry.ts";
import { ROOT, run, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { documentText, ownCache } from "./_console.ts";

/** Folder and servers that the commands work with. */
interface Places {
  dir: string;
  registry: string;
  web: string;
}

const OLD = "oci-archive:fixtures/oci/delta/main-old.oci.tar";

/** Commands for each row of the table, known by a command that the row names. */
const ROWS: Readonly<Record<string, (places: Places) => string[][]>> = {
  "gc": () => [["images"], ["oci", "images"], ["oci", "inspect", "os"], ["gc", "-n"]],
  "fsck": ({ dir }) => [["fsck"], ["oci", "fsck"], ["create-image", `${dir}/tree`], [
    "ostree",
    "pull-local",
    `${dir}/ostree`,
    "test/stable",
  ], ["ostree", "export", "test/stable", `${dir}/out`]],
  "trust check": ({ dir }) => [
    ["oci", "pull", OLD, "os"],
    ["trust", "check", "--policy", `${dir}/policy.json`, "os"],
  ],
  "ostree delta": ({ dir }) => [
    ["ostree", "delta", "generate", "--output", `${dir}/delta`, "test/stable"],
    ["trust", "export", "-o", `${dir}/os.trust.tar`, "os"],
  ],
  "oci push": ({ registry }) => [
    ["oci", "push", "--tls-verify=false", "os", `docker://${registry}/os:1`],
    ["oci", "plan", "--tls-verify=false", `docker://${registry}/os:1`],
    ["oci", "pull", "--tls-verify=false", "--insecure-policy", `docker://${registry}/os:1`],
  ],
  "ostree pull": ({ web }) => [["ostree", "pull", web, "test/stable"]],
};

interface Row {
  names: string;
  flags: string[];
}

function table(): Row[] {
  const rows = [
    ...documentText("docs/permissions.md").matchAll(/^\| (.*?) +\| `(--allow.*)` +\|$/gm),
  ];
  return rows.map(([, names, flags]) => ({ names: names!, flags: flags!.split(" ") }));
}

testWith({
  name: "what docs/permissions.md says to grant is enough",
  needs: [needTool("docker-registry"), needTool("nginx"), needTool("tar")],
  async fn(t) {
    using temp = new TempDir({ prefix: "cfs-permissions-", on: "disk" });
    const dir = temp.path;
    temp.write("tree/usr/file", "content");
    temp.write("policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}');
    temp.write("out/config", "[core]\nrepo_version=1\nmode=archive-z2\n");
    for (const name of ["ostree", "out/objects", "out/refs/heads"]) {
      Deno.mkdirSync(`${dir}/${name}`, { recursive: true });
    }
    await runOk(["tar", "-xf", `${ROOT}fixtures/ostree/repos/archive.tar`, "-C", `${dir}/ostree`]);
    await using registry = await TestRegistry.start();
    await using web = await NginxServer.start(`${dir}/ostree`);
    const places = { dir, registry: registry.host, web: web.url };
    const cfs = (flags: readonly string[], args: readonly string[]) =>
      runOk(
        [
          ...[Deno.execPath(), "run", "--quiet", "--no-prompt", ...flags],
          ...["cli/main.ts", "--repo", `${dir}/repo`, ...args],
        ],
        { cwd: ROOT, env: { NO_COLOR: "1", TMPDIR: dir, ...ownCache(`${dir}/cache`) } },
      );
    await cfs(["-A"], ["init", "--insecure"]);
    await cfs(["-A"], ["oci", "pull", OLD, "os"]);
    const rows = table();
    assert.equal(rows.length, Object.keys(ROWS).length);
    for (const [key, commands] of Object.entries(ROWS)) {
      const row = rows.find(({ names }) => names.includes(`\`${key}\``));
      assert.ok(row, key);
      const host = new URL(web.url).host;
      const net = key === "oci push" ? registry.host : host;
      const flags = row.flags.map((flag) => flag.replace("=HOST", `=${net}`));
      for (const args of commands(places)) {
        await t.step(args.join(" ").replaceAll(dir, ""), async () => void await cfs(flags, args));
      }
    }
  },
});

/** Names of variables in the program's code. */
function readVariables(): Set<string> {
  const found = new Set<string>();
  const pending = ["lib", "cli", "ffi"];
  for (let dir = pending.pop(); dir !== undefined; dir = pending.pop()) {
    for (const entry of Deno.readDirSync(ROOT + dir)) {
      const path = `${dir}/${entry.name}`;
      if (entry.isDirectory) pending.push(path);
      else {
        const text = Deno.readTextFileSync(ROOT + path);
        for (const [, name] of text.matchAll(/(?:env\.get|variable)\("([A-Z_a-z]+)"\)/g)) {
          found.add(name!);
        }
      }
    }
  }
  return found;
}

Deno.test("docs/permissions.md has every variable that is read", () => {
  const text = documentText("docs/permissions.md");
  const variables = readVariables();
  assert.ok(variables.size > 8);
  for (const name of variables) {
    // Those of the protocol between a shell and its completion are nobody's business.
    if (name.startsWith("_CLAP_")) continue;
    assert.ok(text.includes(`\`${name.toUpperCase()}\``), name);
  }
});

Deno.test("a clone that may not read its own modules says what to grant", async () => {
  const command = [Deno.execPath(), "run", "--quiet", "--no-prompt", "cli/main.ts", "images"];
  const { code, stdout, stderr } = await run(command, { cwd: ROOT, env: { NO_COLOR: "1" } });
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(
    stderr,
    /^error: Requires read access to ".*", run again with the --allow-read flag\n$/,
  );
});
