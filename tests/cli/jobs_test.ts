import assert from "node:assert/strict";
import { Option } from "../../cli/commander.ts";
import { newCommand, parsed } from "../../cli/declare.ts";
import { UsageError } from "../../cli/errors.ts";
import { parseCount, takeJobs } from "../../cli/jobs.ts";

const rows: { name: string; variable?: string; args?: string[]; jobs: number | undefined }[] = [
  { name: "nothing at all", jobs: undefined },
  { name: "the variable", variable: "3", jobs: 3 },
  { name: "both", variable: "3", args: ["--jobs", "5"], jobs: 5 },
  { name: "an empty variable", variable: "", jobs: undefined },
];

/** Runs `work` while the variable is set. */
function withVariable<T>(value: string | undefined, work: () => T): T {
  const before = Deno.env.get("CFS_JOBS");
  const set = (text: string | undefined) =>
    text === undefined ? Deno.env.delete("CFS_JOBS") : Deno.env.set("CFS_JOBS", text);
  set(value);
  try {
    return work();
  } finally {
    set(before);
  }
}

function command(args: readonly string[] = []) {
  return newCommand("x")
    .addOption(new Option("--jobs <JOBS>").argParser(parsed(parseCount)))
    .action(() => {})
    .parse(args, { from: "user" });
}

Deno.test("takeJobs() takes CFS_JOBS where --jobs is not given", async (t) => {
  for (const { name, variable, args, jobs } of rows) {
    await t.step(name, () => {
      const declared = command(args);
      withVariable(variable, () => takeJobs(declared));
      assert.equal(declared.getOptionValue("jobs"), jobs);
    });
  }
  await t.step("what is no number", () => {
    const declared = command();
    withVariable("many", () => assert.throws(() => takeJobs(declared), UsageError));
  });
  await t.step("a command without the option", () => {
    const declared = newCommand("y");
    withVariable("many", () => takeJobs(declared));
    assert.equal(declared.getOptionValue("jobs"), undefined);
  });
});
