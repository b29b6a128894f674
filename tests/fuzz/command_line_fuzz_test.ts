/**
 * Any command with any value in any place ends with an exit code that is documented and, when it
 * has failed, with words of ours.
 */
import assert from "node:assert/strict";
import { COMMANDS } from "../../cli/command_table.ts";
import { Context } from "../../cli/context.ts";
import { EXIT } from "../../cli/exit_codes.ts";
import { declareCommand } from "../../cli/program.ts";
import { call } from "../cli/_call.ts";
import { TempDir } from "../helpers/temp.ts";
import { ROOT } from "../helpers/run.ts";
import { Rng, seed } from "./_mutate.ts";

/** Calls for each argument and option. */
const EACH = 2;

/** Values that are hardly ever meant; none leads to a server or to a directory with much in it. */
const VALUES = [
  ...["", "-", "a\nb", "refs/", "refs//a", "refs/../a", "@", "@sha256:zz", "sha256:"],
  ...["sha256:" + "a".repeat(64), "@sha256:" + "a".repeat(64), "a".repeat(64), "f".repeat(128)],
  ...["9".repeat(400), "-1", "1e9", "0x10", "NaN", "%", "%2F", "é\u0301", "x=y", "=", ":"],
  ...["oci:", "oci-archive:", "dir:", "docker-archive:", "docker://", "docker:x", "oci:/nope:x@y"],
  ...["http://", "file:///nope", "://", "ed25519:", "inline:", "{}", "\x1b[31m", " ", "~"],
  ...["a".repeat(5000), "__proto__", "constructor", "toString", "demo", "x"],
];

/** These wait for a signal or for input, or make something of whatever name they are given. */
const LEFT_OUT = ["transaction", "import-image", "oci import-layer", "init"];

const CODES: readonly number[] = [EXIT.ok, EXIT.failed, EXIT.usage, EXIT.refused];

/** Words for every argument and option of a command, with a place for the value that is tried. */
async function places(name: string): Promise<((value: string) => string[])[]> {
  const sink = { writeSync: (bytes: Uint8Array) => bytes.length, isTerminal: () => false };
  const entry = COMMANDS.find((one) => one.name === name)!;
  const context = new Context({ programName: "cfs", stdout: sink, stderr: sink });
  const command = await declareCommand(entry, context);
  const words = name.split(" ");
  const usual = command.registeredArguments.map(({ argChoices }) => argChoices?.[0] ?? "x");
  return [
    ...usual.map((_, i) => (value: string) => [...words, "--", ...usual.with(i, value)]),
    ...command.options.filter(({ long }) => long !== "--repo").map((option) => (value: string) => {
      const given = option.required || option.optional ? `${option.long}=${value}` : option.long!;
      return [...words, given, "--", ...usual];
    }),
  ];
}

Deno.test(`commands with values that nobody means end as documented (SEED=${seed()})`, async (t) => {
  const rng = new Rng(seed());
  using dir = new TempDir();
  const repo = dir.join("r");
  const demo = `oci-archive:${ROOT}fixtures/demo/demo.oci.tar:demo`;
  await call(["init", "--insecure", "--algorithm", "fsverity-sha256-12", repo]);
  assert.equal((await call(["--repo", repo, "oci", "pull", demo, "demo"])).code, 0);
  const before = Deno.cwd();
  Deno.chdir(dir.path);
  try {
    for (const { name } of COMMANDS) {
      if (LEFT_OUT.includes(name)) continue;
      await t.step(name, async () => {
        for (const place of await places(name)) {
          for (let i = 0; i < EACH; i++) {
            const args = place(rng.pick(VALUES));
            const { code, stderr } = await call(["--repo", repo, ...args]);
            const said = `${JSON.stringify(args)}: ${code}\n${stderr}`;
            assert.ok(CODES.includes(code), said);
            assert.equal(code === EXIT.ok || stderr !== "", true, said);
            assert.doesNotMatch(stderr, /unexpected failure|\[object |undefined/, said);
            // deno-lint-ignore no-control-regex
            assert.doesNotMatch(stderr, /[\x00-\x08\x0b-\x1f\x7f-\x9f]/, said);
          }
        }
      });
    }
  } finally {
    Deno.chdir(before);
  }
});
