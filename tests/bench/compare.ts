/**
 * Compares two commands fairly: they run by turns, after a warm-up, each time with a fresh
 * directory on tmpfs, so that neither a busy moment of the machine nor an earlier run's leftovers
 * favour one of them.
 *
 * As a program: `deno run -A tests/bench/compare.ts [--runs N] [--json] [--prepare 'SHELL'] 'SHELL A'
 * 'SHELL B'`; `$DIR` in the commands is the fresh directory.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a program that prints
import { run, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

/** One side of a comparison; each function gets the fresh directory of the run. */
export interface Side {
  /** What it is called in tables. */
  name: string;
  /** The measured command. */
  command: (dir: string) => readonly string[];
  /** Commands that make the directory ready, not measured. */
  prepare?: ((dir: string) => readonly (readonly string[])[]) | undefined;
  /** Variables for all commands. */
  env?: Record<string, string> | undefined;
}

/** How to compare. */
export interface CompareOptions {
  /** Measured runs of each side. @default 5 */
  runs?: number;
  /** Unmeasured runs of each side before. @default 1 */
  warmUp?: number;
  /** Milliseconds a run may take. @default 300000 */
  timeout?: number;
}

/** Figures of one side. */
export interface Figures {
  /** The side's name. */
  name: string;
  /** Wall time in milliseconds of every run, in order. */
  wall: number[];
  /** Smallest, middle and greatest of them. */
  min: number;
  /** The middle one. */
  median: number;
  /** The greatest one. */
  max: number;
  /** Highest peak memory of all runs in MiB. */
  rssMiB: number;
}

/** What a comparison gave. */
export interface Comparison {
  /** What was compared. */
  title: string;
  /** One or two sides, ours first. */
  sides: Figures[];
  /** Our median by theirs; absent with one side. */
  ratio?: number;
}

/**
 * The middle value; the mean of the two middle ones when their number is even.
 *
 * @param values At least one number.
 */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

async function runOnce(side: Side, timeout: number): Promise<{ wall: number; rssKiB: number }> {
  using dir = new TempDir({ prefix: "cfs-bench-" });
  const options = { timeout, ...(side.env === undefined ? {} : { env: side.env }) };
  for (const command of side.prepare?.(dir.path) ?? []) await runOk(command, options);
  // time(1) adds a process start of about a millisecond, to both sides alike.
  const result = await run(side.command(dir.path), { ...options, rss: true });
  if (result.code !== 0) {
    throw new Error(
      `${side.name}: ${result.command.join(" ")} exited with ${result.code}\n${result.stderr}`,
    );
  }
  return { wall: result.wall, rssKiB: result.rssKiB! };
}

/**
 * Runs the sides by turns.
 *
 * @param title What is compared.
 * @param sides Ours, then the peer's if there is one.
 * @param options How often and how long.
 * @throws Error when a command fails: its time would mean nothing.
 */
export async function compare(
  title: string,
  sides: readonly Side[],
  options: CompareOptions = {},
): Promise<Comparison> {
  const { runs = 5, warmUp = 1, timeout = 300_000 } = options;
  const measured = sides.map((side) => ({ name: side.name, wall: [] as number[], rssKiB: 0 }));
  for (let turn = -warmUp; turn < runs; turn++) {
    for (const [index, side] of sides.entries()) {
      const { wall, rssKiB } = await runOnce(side, timeout);
      const figures = measured[index]!;
      if (turn < 0) continue;
      figures.wall.push(wall);
      figures.rssKiB = Math.max(figures.rssKiB, rssKiB);
    }
  }
  const figures = measured.map(({ name, wall, rssKiB }): Figures => ({
    name,
    wall,
    min: Math.min(...wall),
    median: median(wall),
    max: Math.max(...wall),
    rssMiB: rssKiB / 1024,
  }));
  const [ours, theirs] = figures;
  return {
    title,
    sides: figures,
    ...(ours !== undefined && theirs !== undefined ? { ratio: ours.median / theirs.median } : {}),
  };
}

/**
 * A comparison as lines of a table.
 *
 * @param comparison What was measured.
 */
export function formatComparison(comparison: Comparison): string[] {
  const seconds = (ms: number) => (ms / 1000).toFixed(3).padStart(8);
  return comparison.sides.map((side, index) =>
    [
      (index === 0 ? comparison.title : "").padEnd(28),
      side.name.padEnd(12),
      seconds(side.min),
      seconds(side.median),
      seconds(side.max),
      side.rssMiB.toFixed(0).padStart(6),
      index === 0 && comparison.ratio !== undefined
        ? `${comparison.ratio.toFixed(2)} ×`.padStart(8)
        : "",
    ].join(" ").trimEnd()
  );
}

/** The table's head. */
export const TABLE_HEAD = [
  "".padEnd(28),
  "".padEnd(12),
  "min s".padStart(8),
  "median s".padStart(8),
  "max s".padStart(8),
  "MiB".padStart(6),
  "ratio".padStart(8),
].join(" ");

function parseArguments(args: readonly string[]) {
  const options = { runs: 5, json: false, prepare: "", commands: [] as string[] };
  for (let at = 0; at < args.length; at++) {
    const arg = args[at]!;
    if (arg === "--json") options.json = true;
    else if (arg === "--runs") options.runs = Number(args[++at]);
    else if (arg === "--prepare") options.prepare = args[++at] ?? "";
    else options.commands.push(arg);
  }
  if (options.commands.length < 1 || options.commands.length > 2 || !(options.runs > 0)) {
    throw new TypeError("Expected one or two commands");
  }
  return options;
}

if (import.meta.main) {
  const { runs, json, prepare, commands } = parseArguments(Deno.args);
  const shell = (text: string) => (dir: string) => ["env", `DIR=${dir}`, "sh", "-c", text];
  const sides = commands.map((text, index): Side => ({
    name: "AB"[index]!,
    command: shell(text),
    ...(prepare === "" ? {} : { prepare: (dir) => [shell(prepare)(dir)] }),
  }));
  const comparison = await compare("commands", sides, { runs });
  console.log(
    json
      ? JSON.stringify(comparison, null, 2)
      : [TABLE_HEAD, ...formatComparison(comparison)].join("\n"),
  );
}
