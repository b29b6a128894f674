/**
 * The benchmark: this checkout's `cfs` beside the reference `cfsctl`, in one run.
 *
 * `deno run -A tests/bench/main.ts [--runs N] [--json] [ROW…]` prints a table; rows are chosen by a
 * part of their title. The inputs are made on first use (see `image.ts`). Repositories are new
 * directories on tmpfs, insecure ones, as tmpfs has no fs-verity. Exits with 1 when a row misses
 * its aim or a command fails. What is measured in bytes is in `bytes.ts`, and making a delta, which
 * takes a minute and has no peer, in `delta_create.ts`.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a program that prints
import { cfsCommand } from "../helpers/run.ts";
import { present, tool } from "../helpers/tool.ts";
import { compare, type Comparison, formatComparison, type Side, TABLE_HEAD } from "./compare.ts";
import { type BenchInputs, benchInputs } from "./image.ts";
import { deltaPath, makeDelta } from "./next_image.ts";
import { BenchRegistry } from "./registry.ts";

/** Arguments for a command that both sides understand. */
type Arguments = (dir: string) => string[];

interface Row {
  title: string;
  /** The measured command's arguments. */
  run: Arguments;
  /** Makes what only this row needs. */
  inputs?: () => Promise<void>;
  /** Commands before, not measured. */
  prepare?: Arguments[];
  /** The reference's program, where it is not `cfsctl`; ours takes it as its first argument. */
  personality?: string;
  /** Greatest ratio of the medians. */
  ratio?: number;
  /** Greatest median of ours in milliseconds. */
  wall?: number;
  /** Greatest peak memory of ours in MiB. */
  rssMiB?: number;
  /** Variables of each side, known once the inputs are made. */
  env?: () => { ours: Record<string, string>; theirs: Record<string, string> };
  /** Fewer runs for what takes long. */
  runs?: number;
}

let registry: BenchRegistry | undefined;

function rows({ oci, tag, tree, big, bigTag, dumpfile }: BenchInputs): Row[] {
  const init: Arguments = (dir) => ["--repo", `${dir}/repo`, "init", "--insecure"];
  const pull: Arguments = (
    dir,
  ) => ["--repo", `${dir}/repo`, "oci", "pull", `oci:${oci}:${tag}`, "x"];
  return [
    { title: "oci pull", prepare: [init], run: pull, ratio: 0.7, rssMiB: 300 },
    {
      title: "oci pull of a delta",
      inputs: makeDelta,
      // The reference applies deltas in repositories of format 2 only.
      prepare: [(dir) => [...init(dir), "--erofs-version", "2"], pull],
      run: (dir) => ["--repo", `${dir}/repo`, "oci", "pull", `oci:${deltaPath()}`, "next"],
      ratio: 0.8,
      rssMiB: 300,
    },
    {
      title: "oci pull from a registry",
      inputs: async () => {
        registry ??= await BenchRegistry.start(`oci:${oci}:${tag}`);
      },
      env: () => registry!.env,
      prepare: [init],
      run: (dir) => ["--repo", `${dir}/repo`, "oci", "pull", registry!.reference, "x"],
      ratio: 0.55,
      rssMiB: 300,
    },
    { title: "oci pull again", prepare: [init, pull], run: pull, wall: 150 },
    {
      title: "create-image",
      prepare: [init],
      run: (dir) => ["--repo", `${dir}/repo`, "create-image", tree],
      ratio: 1,
    },
    {
      title: "compute-id",
      prepare: [init],
      run: (dir) => ["--repo", `${dir}/repo`, "compute-id", tree],
      ratio: 1,
    },
    {
      title: "dumpfile of 100,000 files",
      personality: "mkcomposefs",
      run: (dir) => ["--from-file", dumpfile, `${dir}/image`],
      ratio: 1,
    },
    {
      title: "fsck",
      prepare: [init, pull],
      run: (dir) => ["--repo", `${dir}/repo`, "fsck"],
      ratio: 1.2,
    },
    { title: "--version", run: () => ["--version"], wall: 100, runs: 10 },
    {
      title: "oci pull, a 3 GB file",
      prepare: [init],
      run: (dir) => ["--repo", `${dir}/repo`, "oci", "pull", `oci:${big}:${bigTag}`, "x"],
      rssMiB: 300,
      runs: 2,
    },
  ];
}

function sides(row: Row): Side[] {
  const ours: Side = {
    name: "cfs",
    command: (dir) =>
      cfsCommand([
        ...(row.personality === undefined ? [] : [row.personality]),
        ...row.run(dir),
      ]),
    prepare: (dir) => (row.prepare ?? []).map((args) => cfsCommand(args(dir))),
    env: { NO_COLOR: "1", ...row.env?.().ours },
  };
  if (!present("cfsctl")) return [ours];
  const theirs: Side = {
    name: row.personality ?? "cfsctl",
    command: (dir) => [tool(row.personality ?? "cfsctl"), ...row.run(dir)],
    prepare: (dir) => (row.prepare ?? []).map((args) => [tool("cfsctl"), ...args(dir)]),
    ...(row.env === undefined ? {} : { env: row.env().theirs }),
  };
  return [ours, theirs];
}

/** The aims a row missed, in words. */
function missed(row: Row, { sides: [ours], ratio }: Comparison): string[] {
  const faults: string[] = [];
  if (row.ratio !== undefined && ratio !== undefined && ratio > row.ratio) {
    faults.push(`ratio above ${row.ratio}`);
  }
  if (row.wall !== undefined && ours!.median > row.wall) {
    faults.push(`median above ${row.wall} ms`);
  }
  if (row.rssMiB !== undefined && ours!.rssMiB > row.rssMiB) {
    faults.push(`memory above ${row.rssMiB} MiB`);
  }
  return faults;
}

if (import.meta.main) {
  const args = [...Deno.args];
  const json = args.includes("--json");
  const at = args.indexOf("--runs");
  const runs = at < 0 ? 5 : Number(args.splice(at, 2)[1]);
  const wanted = args.filter((arg) => !arg.startsWith("--"));
  const all = rows(await benchInputs());
  const chosen = wanted.length === 0 ? all : all.filter((row) =>
    // A whole title means that row alone: "oci pull" is also a part of others.
    wanted.some((word) =>
      all.some(({ title }) => title === word) ? row.title === word : row.title.includes(word)
    )
  );
  if (!json) console.log(TABLE_HEAD);
  const results: (Comparison & { missed: string[] })[] = [];
  for (const row of chosen) {
    try {
      await row.inputs?.();
      const result = await compare(row.title, sides(row), {
        runs: at < 0 ? row.runs ?? runs : runs,
      });
      results.push({ ...result, missed: missed(row, result) });
      if (json) continue;
      console.log(formatComparison(result).join("\n"));
      for (const fault of results.at(-1)!.missed) console.log(`  missed: ${fault}`);
    } catch (error) {
      // A row that fails is reported with the others, and fails the whole at the end.
      const message = error instanceof Error ? error.message : String(error);
      results.push({ title: row.title, sides: [], missed: [message] });
      if (!json) {
        console.log(`${row.title}\n  failed: ${message.split("\n").slice(0, 3).join("\n  ")}`);
      }
    }
  }
  await registry?.[Symbol.asyncDispose]();
  if (json) console.log(JSON.stringify(results, null, 2));
  Deno.exit(results.length > 0 && results.every((result) => result.missed.length === 0) ? 0 : 1);
}
