/**
 * Puts what benchmarks printed into the README's tables of figures:
 * `deno run -A tests/readme/figures.ts FILE…`, the files being what `deno task bench --json`,
 * `tests/bench/ostree.ts --json`, `tests/bench/bytes.ts` and `tests/bench/delta_create.ts` wrote to
 * standard output. Tells which rows got nothing. Afterwards: `deno fmt README.md`.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a program that prints
import type { Comparison, Figures } from "../bench/compare.ts";
import { ROOT } from "../helpers/run.ts";

/** Figures of a row by the head of their column. */
export type Cells = Readonly<Record<string, string>>;

/** A comparison as the programs print it. */
type Printed = Comparison & { readonly missed?: readonly string[] };

const START = "<!-- figures:start -->";
const END = "<!-- figures:end -->";
const NONE = "–";

/** Rows of the README by the benchmark's title, for time and for memory. */
const ROWS: Readonly<Record<string, { time?: string; memory?: string }>> = {
  "oci pull": { time: "`oci pull` of 380 MB in 3 gzip layers", memory: "memory of that" },
  "oci pull from a registry": {
    time: "`oci pull` from a registry",
    memory: "memory of a pull from a registry",
  },
  "oci pull of a delta": {
    time: "`oci pull` of a delta to a new version",
    memory: "memory of applying a delta",
  },
  "oci pull again": { time: "`oci pull` of what is there" },
  "create-image": { time: "`create-image` of the same files" },
  "compute-id": { time: "`compute-id` of the same files" },
  "dumpfile of 100,000 files": { time: "`mkcomposefs --from-file`, 100,000 files" },
  "fsck": { time: "`fsck`" },
  "--version": { time: "`--version`" },
  "oci pull, a 3 GB file": { memory: "memory of a pull with a 3 GB file" },
  "pull-local, archive": { time: "`ostree pull-local` from an archive" },
  "pull-local, bare-user": { time: "`ostree pull-local` from bare-user" },
  "pull over HTTP": { time: "`ostree pull` over HTTP" },
  "update of 3 %, objects": { time: "update of 3 % of the files, by objects" },
  "update of 3 %, delta": { time: "update of 3 % of the files, by a delta" },
  "pull over HTTP, a 3 GB file": { memory: "memory of a pull over HTTP, a 3 GB file" },
  "pull-local, a 3 GB file": { memory: "memory of a local pull, a 3 GB file" },
};

/** Rows of the README by the title of figures that are lines of text; the worst figure counts. */
const LINES: readonly (readonly [RegExp, string, string])[] = [
  [/^partial pull: .*, ([\d.]+) × /, "traffic of a pull in parts, one file in ten being new", "×"],
  [/^delta apply, disk: .*, ([\d.]+) × /, "disk that applying a delta takes for itself", "×"],
  [
    /^delta create, fixtures: .*, ([\d.]+) × /,
    "deltas between the fixtures' images, the worst of all",
    "×",
  ],
  [/^size beside zstd.*: ([\d.]+) \(/, "delta of a Debian upgrade", "×"],
  [/^seconds: ([\d.]+) \(/, "time to make that delta, two cores", "s"],
  [/^peak memory in MiB: ([\d.]+) \(/, "memory of making it", "MiB"],
];

function marked(text: string, missed: boolean): string {
  return missed ? `**${text}**` : text;
}

function seconds(figures: Figures | undefined): string {
  return figures === undefined ? NONE : `${(figures.median / 1000).toFixed(2)} s`;
}

function timeCells({ sides: [ours, ...peers], missed = [] }: Printed): Cells {
  const ostree = peers.find(({ name }) => name === "ostree");
  const reference = peers.find(({ name }) => name !== "ostree");
  const ratio = (peer: Figures | undefined) =>
    peer === undefined ? NONE : marked(
      `${(ours!.median / peer.median).toFixed(2)} ×`,
      missed.some((fault) => fault.startsWith("ratio above") || fault.includes(`to ${peer.name} `)),
    );
  return {
    "cfs": marked(seconds(ours), missed.some((fault) => fault.startsWith("median"))),
    "cfsctl": seconds(reference),
    "ostree": seconds(ostree),
    "ratio": ratio(reference),
    "to cfsctl": ratio(reference),
    "to ostree": ratio(ostree),
  };
}

function memoryCells({ sides: [ours], missed = [] }: Printed): Cells {
  const text = `${Math.ceil(ours!.rssMiB)} MiB`;
  return { "cfs": marked(text, missed.some((fault) => fault.startsWith("memory"))) };
}

/**
 * What the output of a benchmark says, by the rows of the README.
 *
 * @param output Its standard output: a JSON document, or lines.
 */
export function figuresOf(output: string): Map<string, Cells> {
  const found = new Map<string, Cells>();
  if (output.trimStart().startsWith("[")) {
    for (const printed of JSON.parse(output) as Printed[]) {
      const rows = ROWS[printed.title];
      if (rows === undefined || printed.sides.length === 0) continue;
      if (rows.time !== undefined) found.set(rows.time, timeCells(printed));
      if (rows.memory !== undefined) found.set(rows.memory, memoryCells(printed));
    }
    return found;
  }
  for (const [pattern, row, unit] of LINES) {
    const values = output.split("\n").flatMap((line) => pattern.exec(line)?.[1] ?? []);
    if (values.length === 0) continue;
    const worst = Math.max(...values.map(Number));
    const aims = output.split("\n").filter((line) => pattern.test(line))
      .map((line) => Number(/aim ≤ ([\d.]+)/.exec(line)?.[1] ?? Infinity));
    const text = `${unit === "×" ? worst.toFixed(2) : Math.ceil(worst)} ${unit}`;
    found.set(row, { "figure": marked(text, worst > Math.min(...aims)) });
  }
  return found;
}

function cellsOf(line: string): string[] {
  return line.slice(1, -1).split("|").map((cell) => cell.trim());
}

/**
 * Puts figures into a README.
 *
 * @param readme Its text.
 * @param figures By the first cell of their row.
 * @returns The new text, and the rows that have no figures now.
 */
export function withFigures(
  readme: string,
  figures: ReadonlyMap<string, Cells>,
): { text: string; empty: string[] } {
  const [start, end] = [readme.indexOf(START), readme.indexOf(END)];
  if (start < 0 || end < start) throw new Error("The README has no place for figures");
  const empty: string[] = [];
  let head: string[] | undefined;
  const lines = readme.slice(start, end).split("\n").map((line) => {
    if (!line.startsWith("|")) {
      head = undefined;
      return line;
    }
    const cells = cellsOf(line);
    if (head === undefined) {
      head = cells;
      return line;
    }
    if (/^-+$/.test(cells[0]!)) return line;
    const known = figures.get(cells[0]!);
    const last = cells.length - 1;
    const filled = cells.map((cell, i) =>
      i === 0 || i === last || head![i] === "beside" || known === undefined
        ? cell
        : known[head![i]!] ?? ""
    );
    if (filled.slice(1, last).every((cell, i) => cell === "" || head![i + 1] === "beside")) {
      empty.push(cells[0]!);
    }
    return `| ${filled.join(" | ")} |`;
  });
  return { text: readme.slice(0, start) + lines.join("\n") + readme.slice(end), empty };
}

if (import.meta.main) {
  const path = `${ROOT}README.md`;
  const all = new Map<string, Cells>();
  for (const file of Deno.args) {
    for (const [row, cells] of figuresOf(Deno.readTextFileSync(file))) all.set(row, cells);
  }
  const { text, empty } = withFigures(Deno.readTextFileSync(path), all);
  Deno.writeTextFileSync(path, text);
  for (const row of empty) console.log(`no figures: ${row}`);
}
