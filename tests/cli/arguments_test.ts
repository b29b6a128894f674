import assert from "node:assert/strict";
import { COMMANDS } from "../../cli/command_table.ts";
import { Context } from "../../cli/context.ts";
import { declareCommand } from "../../cli/program.ts";
import { TempDir } from "../helpers/temp.ts";
import { call } from "./_call.ts";

interface Refused {
  args: string[];
  /** First line on standard error. */
  first: string;
  /** What else is told. */
  tells?: string;
}

const REPO_TWICE = "error: the argument '--repo <REPO>' cannot be used multiple times";

function needsValue(place: string): string {
  return `error: a value is required for '${place}' but none was supplied`;
}

const refused: Refused[] = [
  // A word that is no command has no help.
  { args: ["nope", "--help"], first: "error: unrecognized subcommand 'nope'" },
  { args: ["help", "nope"], first: "error: unrecognized subcommand 'nope'" },
  { args: ["oci", "nope", "-h"], first: "error: unrecognized subcommand 'nope'" },
  { args: ["help", "oci", "nope"], first: "error: unrecognized subcommand 'nope'" },
  {
    args: ["oci", "puul", "--help"],
    first: "error: unrecognized subcommand 'puul'",
    tells: "\n\n  tip: a similar subcommand exists: 'pull'\n\nUsage: cfs oci <COMMAND>\n",
  },
  // After `--` nothing is a command.
  {
    args: ["--", "images"],
    first: "error: unexpected argument 'images' found",
    tells: "tip: subcommand 'images' exists; to use it, remove the '--' before it",
  },
  { args: ["--repo", "r", "--", "fsck"], first: "error: unexpected argument 'fsck' found" },
  { args: ["oci", "--", "images", "--x"], first: "error: unexpected argument 'images' found" },
  { args: ["--", "--images"], first: "error: unrecognized subcommand '--images'" },
  // What is given twice was given once by mistake.
  { args: ["--repo", "a", "--repo", "b", "images"], first: REPO_TWICE },
  { args: ["images", "--repo=a", "--repo", "a"], first: REPO_TWICE },
  {
    args: ["images", "--json", "--json"],
    first: "error: the argument '--json' cannot be used multiple times",
    tells: "\nUsage: cfs images [OPTIONS]\n",
  },
  {
    args: ["gc", "-n", "--dry-run"],
    first: "error: the argument '--dry-run' cannot be used multiple times",
  },
  {
    args: ["mkcomposefs", "--use-epoch", "--use-epoch", "a", "b"],
    first: "error: the argument '--use-epoch' cannot be used multiple times",
  },
  // An unset variable of a script is no path.
  { args: ["--repo", "", "images"], first: needsValue("--repo <REPO>") },
  { args: ["--repo=", "images"], first: needsValue("--repo <REPO>") },
  { args: ["images", "--repo", ""], first: needsValue("--repo <REPO>") },
  { args: ["init", ""], first: needsValue("[PATH]") },
  { args: ["--repo", "r", "create-image", "", "x"], first: needsValue("<PATH>") },
  { args: ["compute-id", ""], first: needsValue("<PATH>") },
  { args: ["--repo", "r", "dump-files", "x", "/", ""], first: needsValue("[FILES]...") },
  { args: ["--repo", "r", "mount", "x", ""], first: needsValue("<MOUNTPOINT>") },
  {
    args: ["--repo", "r", "mount", "--upperdir", "", "--workdir", "w", "x", "m"],
    first: needsValue("--upperdir <UPPERDIR>"),
  },
  { args: ["--repo", "r", "oci", "pull", ""], first: needsValue("<IMAGE>") },
  { args: ["oci", "pull", "--policy", "", "oci:x"], first: needsValue("--policy <FILE>") },
  { args: ["oci", "push", "x", ""], first: needsValue("<DESTINATION>") },
  { args: ["mkcomposefs", "", "x"], first: needsValue("<SOURCE>") },
  { args: ["mkcomposefs", "t", ""], first: needsValue("[IMAGE]") },
  {
    args: ["mkcomposefs", "--digest-store=", "t"],
    first: needsValue("--digest-store <DIGEST_STORE>"),
  },
  { args: ["composefs-info", "ls", "a", ""], first: needsValue("[FILES]...") },
  { args: ["composefs-dump", "a", ""], first: needsValue("<DEST>") },
  { args: ["oci", "copy", "--from", "", "x"], first: needsValue("--from <FROM>") },
  {
    args: ["oci", "copy", "x"],
    first: "error: the following required arguments were not provided:",
    tells: "\n  --from <FROM>\n\nUsage: cfs oci copy [OPTIONS] --from <FROM> <IMAGE>\n",
  },
];

Deno.test("wrong command lines exit with 2, and nothing is done", async (t) => {
  for (const { args, first, tells } of refused) {
    await t.step(args.map((arg) => arg || "''").join(" "), async () => {
      const { code, stdout, stderr } = await call(args);
      assert.equal(stderr.split("\n")[0], first);
      assert.deepEqual([code, stdout], [2, ""]);
      if (tells !== undefined) assert.ok(stderr.includes(tells), stderr);
    });
  }
});

Deno.test("what looks like an option is an argument after --", async (t) => {
  using dir = new TempDir();
  const repo = dir.join("r");
  const init = ["init", "--insecure", "--algorithm", "fsverity-sha256-12", repo];
  assert.equal((await call(init)).code, 0);
  const rows: [string[], string][] = [
    [["mount", "--", "-x", "/"], "Error: Mounting image '-x' at /"],
    [["cat", "--", "--help"], "Error: stream not found: --help"],
    [["oci", "untag", "--", "--json"], "Error: Failed to remove tag --json"],
    [["ostree", "inspect", "--", "-h"], "Error: '-h' is not a known ostree ref or valid commit ID"],
  ];
  for (const [args, first] of rows) {
    await t.step(args.join(" "), async () => {
      const { code, stderr } = await call(["--repo", repo, ...args]);
      assert.deepEqual([stderr.split("\n")[0], code], [first, 1]);
    });
  }
});

Deno.test("options that are for lists may be given several times", async () => {
  using dir = new TempDir();
  const repo = dir.join("r");
  await call(["init", "--insecure", repo]);
  const { code, stderr } = await call(["--repo", repo, "gc", "-r", "a", "-r", "b"]);
  assert.deepEqual([code, stderr.split("\n")[0]], [1, "Error: root not found: a"]);
});

Deno.test("no option takes the words after its value for more of them", async (t) => {
  const sink = { writeSync: (bytes: Uint8Array) => bytes.length, isTerminal: () => false };
  for (const entry of COMMANDS) {
    await t.step(entry.name, async () => {
      const context = new Context({ programName: "cfs", stdout: sink, stderr: sink });
      const command = await declareCommand(entry, context);
      const variadic = command.options.filter((option) => option.variadic);
      assert.deepEqual(variadic.map(({ flags }) => flags), []);
    });
  }
});

const unsupported: { args: string[]; code: number; first: RegExp }[] = [
  { args: ["fetch", "http://127.0.0.1:1/", "x"], code: 1, first: /^Error: fetch is not supp/ },
  { args: ["varlink", "--address", "s"], code: 1, first: /^Error: varlink is not supported yet/ },
  { args: ["oci", "varlink"], code: 1, first: /^Error: oci varlink is not supported yet: / },
  { args: ["help", "oci", "prepare-boot"], code: 1, first: /^Error: oci prepare-boot is not / },
  { args: ["oci", "pull", "--bootable", "oci:x"], code: 1, first: /^Error: --bootable is not su/ },
  {
    args: ["oci", "pull", "--expected-digest", "00", "oci:x"],
    code: 2,
    first: /^error: the following required arguments were not provided:$/,
  },
  {
    args: ["oci", "pull", "--bootable", "--expected-digest", "00", "oci:x"],
    code: 1,
    first: /^Error: --bootable is not supported yet/,
  },
  { args: ["oci", "pull", "--local-fetch", "x", "oci:x"], code: 2, first: /^error: invalid value/ },
  { args: ["mount", "--fuse", "yes", "x", "y"], code: 1, first: /^Error: FUSE mounts are not sup/ },
];

Deno.test("what the reference has and we have not is refused by name", async (t) => {
  for (const { args, code, first } of unsupported) {
    await t.step(args.join(" "), async () => {
      const called = await call(args);
      assert.match(called.stderr.split("\n")[0]!, first);
      assert.deepEqual([called.code, called.stdout], [code, ""]);
    });
  }
});

class Full {
  writeSync(): number {
    throw new Error("No space left on device (os error 28)");
  }
  isTerminal(): boolean {
    return false;
  }
}

Deno.test("an output that cannot be written is an error", async (t) => {
  const { main } = await import("../../cli/main.ts");
  for (const args of [["--version"], ["--help"], ["man"], ["completions", "bash"]]) {
    await t.step(args.join(" "), async () => {
      const said: string[] = [];
      const stderr = {
        writeSync(bytes: Uint8Array): number {
          said.push(new TextDecoder().decode(bytes));
          return bytes.length;
        },
        isTerminal: () => false,
      };
      assert.equal(await main(args, { stdout: new Full(), stderr }), 1);
      assert.equal(
        said.join(""),
        "Error: Writing standard output\n\nCaused by:\n    No space left on device (os error 28)\n",
      );
    });
  }
  await t.step("when nothing can be said, the exit code stays", async () => {
    const outputs = { stdout: new Full(), stderr: new Full() };
    assert.equal(await main(["--version"], outputs), 1);
    assert.equal(await main(["nope"], outputs), 2);
    assert.equal(await main(["--no-repo", "images"], outputs), 1);
  });
});
