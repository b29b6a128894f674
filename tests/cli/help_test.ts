import assert from "node:assert/strict";
import { COMMANDS, findCommand, GROUPS } from "../../cli/command_table.ts";
import { Context } from "../../cli/context.ts";
import { notesOf } from "../../cli/declare.ts";
import { HEADINGS } from "../../cli/headings.ts";
import { UsageError } from "../../cli/errors.ts";
import { parseArgs } from "../../cli/parse.ts";
import { buildProgram, declareCommand, locateCommand } from "../../cli/program.ts";
import { TOOL_NAMES } from "../../cli/tool_names.ts";
import { VERSION } from "../../cli/version.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { ROOT, run } from "../helpers/run.ts";
import { call } from "./_call.ts";

function newContext(): Context {
  const sink = { writeSync: (bytes: Uint8Array) => bytes.length, isTerminal: () => false };
  return new Context({ programName: "cfs", stdout: sink, stderr: sink });
}

Deno.test("every command is declared as the table says, with examples", async (t) => {
  for (const entry of COMMANDS) {
    await t.step(entry.name, async () => {
      const command = await declareCommand(entry, newContext());
      assert.equal(command.name(), entry.name.split(" ").at(-1));
      assert.deepEqual(command.aliases(), [...entry.aliases ?? []]);
      const description = command.description().replaceAll("\n", " ");
      assert.ok(description.startsWith(entry.summary), `${description}\n${entry.summary}`);
      const { examples, complete = {} } = notesOf(command);
      assert.ok(examples.length > 0, "no examples");
      for (const example of examples) {
        assert.ok(example.includes("cfs ") && example.includes(entry.name), example);
      }
      for (const key of Object.keys(complete)) {
        const known = key.startsWith("--")
          ? command.options.some(({ long }) => long === key)
          : Number(key) < command.registeredArguments.length;
        assert.ok(known, `completion of ${key}, which is not there`);
      }
    });
  }
});

/** Options that say something else in each command, since they do. */
const OWN_WORDS = new Set([
  ...["--bootable", "--deep", "--metadata-only", "--xattrs", "--json", "--dry-run", "--jobs"],
  ...[
    "--from",
    "--output",
    "--delta",
    "--name",
    "--reference",
    "--remote",
    "--sign-key",
    "--contenturl",
    "--force",
  ],
]);
/** Values and names that a description may begin with. */
const LITERAL =
  /^(ed25519:|os\/|policy\.json|auto |fs-verity|add: |delete: |list: |list and |create: )/;

Deno.test("options and arguments are told of in one style, the same option in the same words", async (t) => {
  const words = new Map<string, string>();
  for (const entry of COMMANDS) {
    await t.step(entry.name, async () => {
      const command = await declareCommand(entry, newContext());
      const shown = command.options.filter(({ hidden }) => !hidden);
      for (const { description } of [...shown, ...command.registeredArguments]) {
        assert.ok(/^\p{Lu}/u.test(description) || LITERAL.test(description), description);
        assert.doesNotMatch(description, /\.$/);
      }
      for (const { long, description } of shown) {
        if (long === undefined || long === null || OWN_WORDS.has(long)) continue;
        assert.equal(description, words.get(long) ?? description, long);
        words.set(long, description);
      }
    });
  }
});

/** The words of an example up to where a shell would do something with them. */
function exampleWords(example: string): string[] {
  const command = example.replace(/\$\([^)]*\)/g, "0".repeat(64)).replace(/ [<>|].*$/, "");
  const words = command.match(/'[^']*'|\S+/g)!.map((word) => word.replace(/^'|'$/g, ""));
  return words.slice(words.indexOf("cfs") + 1);
}

Deno.test("the examples are command lines that the parser takes", async (t) => {
  for (const entry of COMMANDS) {
    await t.step(entry.name, async () => {
      for (const example of notesOf(await declareCommand(entry, newContext())).examples) {
        const args = exampleWords(example.replace(/^source <\((.*)\)$/, "$1"));
        const context = newContext();
        const { program, target } = await buildProgram(args, context);
        assert.equal(
          `${target.parent === program ? "" : `${target.parent?.name()} `}${target.name()}`,
          entry.name,
        );
        let reached = false;
        target.action(() => void (reached = true));
        try {
          await parseArgs(args, { program, target, context });
        } catch (error) {
          // Digests are shortened in examples.
          if (!(error instanceof UsageError) || !/…/.test(error.message)) throw error;
          reached = true;
        }
        assert.ok(reached, example);
      }
    });
  }
});

Deno.test("--help of every command prints its usage and examples, and exits 0", async (t) => {
  for (const { name } of COMMANDS) {
    await t.step(name, async () => {
      for (const args of [[...name.split(" "), "--help"], ["help", ...name.split(" ")]]) {
        const { code, stdout, stderr } = await call(args);
        assert.equal(code, 0);
        assert.equal(stderr, "");
        assert.ok(stdout.startsWith(`Usage: cfs ${name}`), stdout);
        assert.match(stdout, /\nExamples:\n {2}/);
        assert.ok(stdout.split("\n").every((line) => line.length <= 100), stdout);
      }
    });
  }
});

Deno.test("an unknown option of every command exits 2 and shows the usage", async (t) => {
  for (const { name } of COMMANDS) {
    await t.step(name, async () => {
      const { code, stdout, stderr } = await call([...name.split(" "), "--frobnicate"]);
      assert.equal(code, 2);
      assert.equal(stdout, "");
      assert.match(stderr, /^error: unexpected argument '--frobnicate' found\n/);
      assert.ok(stderr.includes(`\nUsage: cfs ${name}`), stderr);
      assert.ok(stderr.endsWith("\nFor more information, try '--help'.\n"), stderr);
    });
  }
});

Deno.test("the program's help lists every command, without one it goes to standard error", async () => {
  const asked = await call(["--help"]);
  assert.equal(asked.code, 0);
  for (const { name, summary, hidden } of COMMANDS) {
    if (hidden || name.includes(" ")) continue;
    assert.ok(asked.stdout.includes(`  ${name}`), name);
    assert.ok(asked.stdout.replace(/\s+/g, " ").includes(summary), summary);
  }
  const none = await call([]);
  assert.deepEqual([none.code, none.stdout], [2, ""]);
  assert.equal(none.stderr, asked.stdout);
  for (const { name } of GROUPS) {
    const group = await call([name]);
    assert.equal(group.code, 2);
    assert.match(group.stderr, new RegExp(`^Usage: cfs ${name} <COMMAND>\n`));
    assert.equal((await call([name, "--help"])).code, 0);
  }
});

Deno.test("every command has its place below one heading of the help", () => {
  const placed = Object.entries(HEADINGS).flatMap(([group, headings]) =>
    headings.flatMap(([, names]) => names.map((name) => `${group} ${name}`.trim()))
  );
  const visible = COMMANDS.filter(({ hidden }) => hidden !== true).map(({ name }) => name);
  const all = [...visible, ...GROUPS.map(({ name }) => name)];
  assert.deepEqual(placed.toSorted(), all.toSorted());
});

Deno.test("--help of every tool exits 0 on standard output", async (t) => {
  for (const name of TOOL_NAMES) {
    await t.step(name, async () => {
      const first = await call([name, "--help"]);
      const called = await call(["--help"], { programName: name });
      assert.deepEqual(first, called);
      assert.deepEqual([first.code, first.stderr], [0, ""]);
      assert.ok(first.stdout.startsWith(`Usage: ${name} `), first.stdout);
    });
  }
});

const located: { args: string[]; words: string[] }[] = [
  { args: ["images"], words: ["images"] },
  { args: ["--repo", "gc", "images", "fsck"], words: ["images"] },
  { args: ["--repo=gc", "images"], words: ["images"] },
  { args: ["-q", "oci", "--help", "pull", "x"], words: ["oci", "pull"] },
  { args: ["oci"], words: ["oci"] },
  { args: ["--", "images"], words: [] },
  { args: [], words: [] },
];

Deno.test("locateCommand() finds the words of a command among the global options", async (t) => {
  for (const { args, words } of located) {
    await t.step(args.join(" "), () => assert.deepEqual(locateCommand(args).words, words));
  }
});

Deno.test("findCommand() knows aliases, and not the members of a group without it", () => {
  assert.equal(findCommand(["list-images"])?.name, "images");
  assert.equal(findCommand(["oci", "images"])?.name, "oci images");
  assert.equal(findCommand(["oci", "list-images"]), undefined);
  assert.equal(findCommand(["pull"]), undefined);
});

const helpWords: [words: string, usage: string][] = [
  ["help", "cfs [OPTIONS] <COMMAND>"],
  ["help help", "cfs [OPTIONS] <COMMAND>"],
  ["help --help", "cfs [OPTIONS] <COMMAND>"],
  ["oci help", "cfs oci <COMMAND>"],
  ["help oci help", "cfs oci <COMMAND>"],
  ["oci help pull", "cfs oci pull [OPTIONS] <IMAGE> [NAME]"],
  ["--repo x help gc", "cfs gc [OPTIONS]"],
  ["help mkcomposefs", "mkcomposefs [OPTIONS] <SOURCE> [IMAGE]"],
  ["help composefs-info", "composefs-info [OPTIONS] [COMMAND] [FILES]..."],
];

Deno.test("the word help asks for the help of what it stands with", async (t) => {
  for (const [words, usage] of helpWords) {
    await t.step(words, async () => {
      const { code, stdout, stderr } = await call(words.split(" "));
      assert.deepEqual([code, stderr], [0, ""]);
      assert.equal(stdout.split("\n")[0], `Usage: ${usage}`);
    });
  }
});

Deno.test("the version is that of the package", async () => {
  assert.equal(JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`)).version, VERSION);
  assert.equal((await call(["--version"])).stdout, `cfs ${VERSION}\n`);
});

Deno.test("the manual page has every command with its options, and no line by accident", async () => {
  const { code, stdout, stderr } = await call(["man"]);
  assert.deepEqual([code, stderr], [0, ""]);
  for (const entry of COMMANDS) {
    const command = await declareCommand(entry, newContext());
    const at = stdout.search(new RegExp(`\\n\\.SS ${entry.name.replaceAll("-", "\\\\-")}( |\\n)`));
    assert.ok(at > 0, entry.name);
    const section = stdout.slice(at + 1, stdout.indexOf("\n.S", at + 4));
    for (const { flags, hidden } of command.options) {
      assert.equal(section.includes(`\\fB${flags.replaceAll("-", "\\-")}\\fR`), !hidden, flags);
    }
  }
  assert.match(stdout, /^[\x20-\x7e\n]*$/);
  const requests = stdout.split("\n").filter((line) => /^[.']/.test(line));
  for (const line of requests) assert.match(line, /^\.(TH|SH|SS|TP|PP|nf|fi)\b/);
});

testWith({
  name: "groff finds nothing to warn of in the manual page",
  needs: [needTool("groff")],
  async fn() {
    const { stdout: page } = await call(["man"]);
    const { code, stdout, stderr } = await run(["groff", "-ww", "-man", "-Tutf8"], { stdin: page });
    assert.deepEqual([code, stderr], [0, ""]);
    // Bold letters are printed twice, over themselves.
    // deno-lint-ignore no-control-regex
    assert.match(stdout.replace(/.\x08/gu, ""), /\nEXIT STATUS\n/);
  },
});
