/**
 * The OSTree benchmark: this checkout's `cfs` beside the reference `cfsctl` and beside `ostree`, in
 * one run.
 *
 * `deno run -A tests/bench/ostree.ts [--runs N] [--json] [ROW…]` prints a table; rows are chosen by
 * a part of their title. Remote rows go to an nginx on 127.0.0.1. The inputs are made on first use
 * (see `ostree_inputs.ts`). Repositories are new directories on tmpfs. The ratio is that of our
 * median to the side's. Exits with 1 when a row misses its aim or a command fails.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a program that prints
import { cfsCommand } from "../helpers/run.ts";
import { NginxServer } from "../helpers/nginx.ts";
import { present, tool } from "../helpers/tool.ts";
import { compare, type Comparison, formatComparison, type Side, TABLE_HEAD } from "./compare.ts";
import { type OstreeInputs, ostreeInputs } from "./ostree_inputs.ts";

/** Arguments of a command, for a fresh directory. */
type Arguments = (dir: string) => string[];

/** A command, and those before it that are not measured. */
interface Work {
  prepare: Arguments[];
  run: Arguments;
}

interface Row {
  title: string;
  /** Arguments of `cfs`, and of `cfsctl` where there are no others. */
  ours: Work;
  /** Arguments of `cfsctl`; undefined where it does the same with ours, null where it cannot. */
  reference?: Work | null;
  /** Arguments of `ostree`. */
  ostree?: Work;
  /** Greatest ratio to the reference. */
  ratio?: number;
  /** Greatest ratio to `ostree`. */
  ostreeRatio?: number;
  /** Greatest median of ours in milliseconds. */
  wall?: number;
  /** Greatest peak memory of ours in MiB. */
  rssMiB?: number;
  /** Fewer runs for what takes long. */
  runs?: number;
}

const init: Arguments = (dir) => ["--repo", `${dir}/repo`, "init", "--insecure"];
const ostreeInit: Arguments = (dir) => [`--repo=${dir}/ostree`, "init", "--mode=bare-user"];

function pull(url: string, ...more: string[]): Arguments {
  return (dir) => ["--repo", `${dir}/repo`, "ostree", "pull", url, ...more];
}

function pullLocal(path: string, ref: string): Arguments {
  return (dir) => ["--repo", `${dir}/repo`, "ostree", "pull-local", path, ref];
}

function ostreePull(...more: string[]): Arguments {
  return (dir) => [`--repo=${dir}/ostree`, "pull", "origin", ...more];
}

function rows(inputs: OstreeInputs, url: (name: string) => string): Row[] {
  const archive = url("archive");
  const remote = (name: string): Arguments => (dir) => [
    `--repo=${dir}/ostree`,
    ...["remote", "add", "--no-gpg-verify", "origin", url(name)],
  ];
  const theirs = (run: Arguments, ...before: Arguments[]): Work => ({
    prepare: [ostreeInit, remote("archive"), ...before],
    run,
  });
  const ours = (run: Arguments, ...before: Arguments[]): Work => ({
    prepare: [init, ...before],
    run,
  });
  return [
    {
      title: "pull-local, archive",
      ours: ours(pullLocal(inputs.archive, "first")),
      ostree: {
        prepare: [ostreeInit],
        run: (dir) => [`--repo=${dir}/ostree`, "pull-local", inputs.archive, "first"],
      },
      ratio: 0.8,
      rssMiB: 250,
    },
    {
      title: "pull-local, bare-user",
      ours: ours(pullLocal(inputs.bareUser, "first")),
      ratio: 0.8,
      rssMiB: 250,
    },
    {
      title: "pull over HTTP",
      ours: ours(pull(archive, "first")),
      ostree: theirs(ostreePull("first")),
      ratio: 0.9,
      ostreeRatio: 0.5,
      rssMiB: 250,
    },
    {
      title: "update of 3 %, objects",
      ours: ours(pull(archive, "next", "--no-delta"), pull(archive, "first")),
      ostree: theirs(ostreePull("--disable-static-deltas", "next"), ostreePull("first")),
      wall: 300,
    },
    {
      title: "update of 3 %, delta",
      ours: ours(pull(archive, "next"), pull(archive, "first")),
      ostree: theirs(ostreePull("next"), ostreePull("first")),
      ostreeRatio: 1,
    },
    {
      title: "pull over HTTP, a 3 GB file",
      ours: ours(pull(url("big"), "big")),
      rssMiB: 250,
      runs: 2,
    },
    {
      title: "pull-local, a 3 GB file",
      ours: ours(pullLocal(inputs.big, "big")),
      rssMiB: 250,
      runs: 2,
    },
  ];
}

function side(name: string, program: readonly string[], work: Work): Side {
  return {
    name,
    command: (dir) => [...program, ...work.run(dir)],
    prepare: (dir) => work.prepare.map((args) => [...program, ...args(dir)]),
    env: { NO_COLOR: "1" },
  };
}

function sides(row: Row): Side[] {
  const out = [side("cfs", cfsCommand(), row.ours)];
  const { reference = row.ours } = row;
  if (reference !== null && present("cfsctl")) {
    out.push(side("cfsctl", [tool("cfsctl")], reference));
  }
  if (row.ostree !== undefined && present("ostree")) {
    out.push(side("ostree", [tool("ostree")], row.ostree));
  }
  return out;
}

/** The aims a row missed, in words. */
function missed(row: Row, { sides: [ours, ...peers] }: Comparison): string[] {
  const faults: string[] = [];
  for (const { name, median } of peers) {
    const aim = name === "ostree" ? row.ostreeRatio : row.ratio;
    const ratio = ours!.median / median;
    if (aim !== undefined && ratio > aim) faults.push(`ratio to ${name} above ${aim}`);
  }
  if (row.wall !== undefined && ours!.median > row.wall) {
    faults.push(`median above ${row.wall} ms`);
  }
  if (row.rssMiB !== undefined && ours!.rssMiB > row.rssMiB) {
    faults.push(`memory above ${row.rssMiB} MiB`);
  }
  return faults;
}

/** Lines of the table, with a ratio on each peer's line. */
function format(result: Comparison): string[] {
  const [ours, ...peers] = result.sides;
  const { title } = result;
  const lines = formatComparison({ title, sides: result.sides });
  return lines.map((line, index) => {
    const peer = peers[index - 1];
    if (peer === undefined || ours === undefined) return line;
    return `${line} ${(ours.median / peer.median).toFixed(2).padStart(6)} ×`;
  });
}

if (import.meta.main) {
  const args = [...Deno.args];
  const json = args.includes("--json");
  const at = args.indexOf("--runs");
  const runs = at < 0 ? 5 : Number(args.splice(at, 2)[1]);
  const wanted = args.filter((arg) => !arg.startsWith("--"));
  const inputs = await ostreeInputs();
  await using archive = await NginxServer.start(inputs.archive);
  await using big = await NginxServer.start(inputs.big);
  const all = rows(inputs, (name) => name === "big" ? big.url : archive.url);
  const chosen = wanted.length === 0 ? all : all.filter((row) =>
    // A whole title means that row alone: one title may be a part of others.
    wanted.some((word) =>
      all.some(({ title }) => title === word) ? row.title === word : row.title.includes(word)
    )
  );
  if (!json) console.log(TABLE_HEAD);
  const results: (Comparison & { missed: string[] })[] = [];
  for (const row of chosen) {
    try {
      const result = await compare(row.title, sides(row), {
        runs: at < 0 ? row.runs ?? runs : runs,
        warmUp: row.runs === undefined ? 1 : 0,
      });
      results.push({ ...result, missed: missed(row, result) });
      if (json) continue;
      console.log(format(result).join("\n"));
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
  if (json) console.log(JSON.stringify(results, null, 2));
  Deno.exitCode = results.length > 0 && results.every((result) => result.missed.length === 0)
    ? 0
    : 1;
}
