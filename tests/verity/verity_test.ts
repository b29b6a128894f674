import assert from "node:assert/strict";
import { needTool, testWith } from "../helpers/needs.ts";
import { ROOT } from "../helpers/run.ts";
import { findTool } from "../helpers/tool.ts";
import { machineNeeds } from "./machine.ts";
import { runInVm } from "./vm.ts";

/** One line of a TAP report at the outermost level. */
interface Outcome {
  name: string;
  passed: boolean;
  skipped: boolean;
}

function parseTap(report: string): Outcome[] {
  return report.split("\n").flatMap((line) => {
    const match = /^(not )?ok \d+ - (.*?)( # SKIP.*)?$/.exec(line);
    if (match === null) return [];
    return [{ name: match[2]!, passed: !match[1], skipped: match[3] !== undefined }];
  });
}

Deno.test("parseTap() reads results, failures and skipped tests", () => {
  assert.deepEqual(
    parseTap("TAP version 14\n# x\nok 1 - a\nnot ok 2 - b\n  ok 1 - c\nok 3 - d # SKIP\n1..3\n"),
    [
      { name: "a", passed: true, skipped: false },
      { name: "b", passed: false, skipped: false },
      { name: "d", passed: true, skipped: true },
    ],
  );
});

testWith({
  name: "with real fs-verity, in the virtual machine",
  needs: [...await machineNeeds(), needTool("fsverity"), needTool("cfsctl")],
  async fn(t) {
    const env: Record<string, string> = { CFS_TEST_NO_SKIP: "1", CFSCTL: findTool("cfsctl")! };
    // Checked with all other files outside; under emulation that alone would take a minute.
    const result = await runInVm([
      Deno.execPath(),
      "test",
      "-P",
      "--no-check",
      "--cached-only",
      "--reporter=tap",
      "tests/verity/in_vm_test.ts",
    ], { cwd: ROOT, env, timeout: 900_000 });
    const outcomes = parseTap(result.stdout);
    const output = `${result.stdout}${result.stderr}${result.console}`;
    assert.ok(outcomes.length > 0, `No test ran:\n${output}`);
    for (const { name, passed, skipped } of outcomes) {
      await t.step(name, () => assert.ok(passed && !skipped, output));
    }
    assert.equal(result.code, 0, output);
  },
});
