import assert from "node:assert/strict";
import { needRoot, testWith } from "../helpers/needs.ts";
import { ROOT } from "../helpers/run.ts";
import { formatResult, lineMatches, linesOf, parseScript, Sandbox, type Step } from "./_script.ts";

const DIR = `${ROOT}tests/cli/scripts`;

function sameLines(expected: string[], actual: string[]): boolean {
  return expected.length === actual.length &&
    expected.every((line, i) => lineMatches(line, actual[i]!));
}

async function play(step: Step, sandbox: Sandbox): Promise<void> {
  const result = await sandbox.shell(step.command);
  const shown = formatResult(step.command, result);
  if (step.setup) return assert.equal(result.code, 0, shown);
  const ok = result.code === step.code && sameLines(step.stdout, linesOf(result.stdout)) &&
    sameLines(step.stderr, linesOf(result.stderr));
  const { stdout, stderr, code } = step;
  assert.ok(
    ok,
    `got:\n${shown}\nexpected:\n${stdout.join("\n")}\n-- stderr:\n${
      stderr.join("\n")
    }\n[exit ${code}]`,
  );
}

const scripts = [...Deno.readDirSync(DIR)].map(({ name }) => name).sort();
assert.ok(scripts.length > 0);

for (const name of scripts) {
  const text = Deno.readTextFileSync(`${DIR}/${name}`);
  testWith({
    name: `script ${name}`,
    needs: /^# needs root$/m.test(text) ? [needRoot()] : [],
    async fn(t) {
      using sandbox = new Sandbox();
      for (const step of parseScript(text)) {
        const ok = await t.step(`${step.line}: ${step.command}`, () => play(step, sandbox));
        if (!ok) break; // what follows would only fail for the same reason
      }
    },
  });
}

const cases: { name: string; expected: string; actual: string; matches: boolean }[] = [
  { name: "equal text", expected: "a (b) [c].*", actual: "a (b) [c].*", matches: true },
  { name: "other text", expected: "a.c", actual: "abc", matches: false },
  { name: "digits for <hex>", expected: "id <hex>!", actual: "id 0f!", matches: true },
  { name: "no digits for <hex>", expected: "id <hex>!", actual: "id !", matches: false },
  { name: "anything for <any>", expected: "<any>b", actual: "xxb", matches: true },
];

Deno.test("lineMatches() compares text, and patterns where there are some", async (t) => {
  for (const { name, expected, actual, matches } of cases) {
    await t.step(name, () => assert.equal(lineMatches(expected, actual), matches));
  }
});

Deno.test("parseScript() refuses what it does not understand", () => {
  assert.throws(() => parseScript("cfs images\n"), /line 1/);
  assert.throws(() => parseScript("$ cfs images\nx\n"), /no \[exit N\]/);
});
