/**
 * Sums up what `deno test` printed, for CI, where an ignored test is a failure.
 *
 * As a program: `deno run -A tests/helpers/summary.ts [--failed N] LOG…` prints `N passed, N failed`
 * and exits with 1 unless nothing failed and something passed. `--failed` adds failures of checks
 * that are not tests.
 *
 * @module
 */

/** Totals of one or more runs. */
export interface Summary {
  /** Tests that passed. */
  passed: number;
  /** Tests that failed, runs that ended without a summary counted as one each. */
  failed: number;
  /** Tests and steps that were ignored. */
  ignored: number;
  /** The lines of the ignored ones. */
  ignoredNames: string[];
}

const TOTALS =
  /^(?:ok|FAILED) \| (\d+) passed(?: \(\d+ steps?\))? \| (\d+) failed(?: \(\d+ steps?\))?(.*)$/gm;

// deno-lint-ignore no-control-regex -- colours are what is looked for
const ESCAPES = /\x1b\[[0-9;]*m/g;

/**
 * Reads the report of one `deno test` run.
 *
 * @param log Everything it printed, with or without colours.
 * @returns The totals of its last summary line; one failure when it has none.
 */
export function summarize(log: string): Summary {
  const plain = log.replace(ESCAPES, "");
  const ignoredNames = plain.split("\n").filter((line) => / \.\.\. ignored\b/.test(line))
    .map((line) => line.trim());
  // Tests may run `deno test` themselves and print its report: the last summary is the run's own.
  const totals = [...plain.matchAll(TOTALS)].at(-1);
  if (totals === undefined) return { passed: 0, failed: 1, ignored: 0, ignoredNames };
  const [tests, steps] = /\| (\d+) ignored(?: \((\d+) steps?\))?/.exec(totals[3] ?? "")?.slice(1) ??
    [];
  return {
    passed: Number(totals[1]),
    failed: Number(totals[2]),
    ignored: Number(tests ?? 0) + Number(steps ?? 0),
    ignoredNames,
  };
}

/**
 * Totals of several runs.
 *
 * @param summaries One a run.
 */
export function add(summaries: readonly Summary[]): Summary {
  const total: Summary = { passed: 0, failed: 0, ignored: 0, ignoredNames: [] };
  for (const one of summaries) {
    total.passed += one.passed;
    total.failed += one.failed;
    total.ignored += one.ignored;
    total.ignoredNames.push(...one.ignoredNames);
  }
  return total;
}

if (import.meta.main) {
  const args = [...Deno.args];
  const extra = args[0] === "--failed" ? Number(args.splice(0, 2)[1]) : 0;
  const total = add(args.map((path) => summarize(Deno.readTextFileSync(path))));
  const failed = total.failed + total.ignored + extra;
  const lines = total.ignoredNames.map((name) => `ignored, which counts as failed: ${name}`);
  await Deno.stdout.write(
    new TextEncoder().encode([...lines, `${total.passed} passed, ${failed} failed`, ""].join("\n")),
  );
  Deno.exit(failed === 0 && total.passed > 0 ? 0 : 1);
}
