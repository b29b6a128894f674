/** Repositories made by the reference, its transcripts, and calling `cfs` in this process. */
import { main } from "../../cli/main.ts";
import "../helpers/libraries.ts";
import { ROOT } from "../helpers/run.ts";
import { unpack } from "../helpers/tar.ts";
import type { TempDir } from "../helpers/temp.ts";

const FIXTURES = `${ROOT}fixtures/repository`;

/** A file of the fixtures as text. */
export function readFixture(name: string): string {
  return Deno.readTextFileSync(`${FIXTURES}/${name}`);
}

/** Unpacks a repository of the reference as `as`; returns its path. */
export async function unpackRepository(
  name: string,
  dir: TempDir,
  as: string = name,
): Promise<string> {
  const place = dir.join(`unpack-${as}`);
  Deno.mkdirSync(place);
  await unpack(`fixtures/repository/repos/${name}.tar`, place);
  Deno.renameSync(`${place}/${name}`, dir.join(as));
  Deno.removeSync(place);
  return dir.join(as);
}

/** What a call of `cfs` did. */
export interface Called {
  /** Exit code. */
  readonly code: number;
  /** Standard output. */
  readonly stdout: string;
  /** Standard error. */
  readonly stderr: string;
}

/** Runs `cfs` in this process. */
export async function callCfs(args: readonly string[]): Promise<Called> {
  const out: number[] = [];
  const err: number[] = [];
  const sink = (bytes: number[]) => ({
    writeSync(piece: Uint8Array) {
      bytes.push(...piece);
      return piece.length;
    },
    isTerminal: () => false,
  });
  const code = await main(args, { stdout: sink(out), stderr: sink(err) });
  const text = (bytes: number[]) => new TextDecoder().decode(Uint8Array.from(bytes));
  return { code, stdout: text(out), stderr: text(err) };
}

/** One command of a transcript. */
export interface Recorded {
  /** The `#` or `##` line above it, without the marks. */
  readonly title: string;
  /** Its words without `cfs`. */
  readonly args: string[];
  /** Standard output. */
  readonly stdout: string;
  /** Standard error. */
  readonly stderr: string;
  /** Exit code. */
  readonly code: number;
  /** What was printed after it: a file or a listing. */
  readonly after: string;
}

/** Parses a transcript of the reference. */
export function readTranscript(name: string): Recorded[] {
  const out: { -readonly [K in keyof Recorded]: Recorded[K] }[] = [];
  let title = "";
  let ended = true;
  for (const line of readFixture(`cli/${name}`).split("\n")) {
    const last = out.at(-1);
    const exit = /^\[exit (\d+)\]$/.exec(line);
    if (/^##? /.test(line)) title = line.replace(/^##? /, "");
    else if (line.startsWith("$ cfs ")) {
      const args = line.slice("$ cfs ".length).split(" ");
      out.push({ title, args, stdout: "", stderr: "", code: -1, after: "" });
      ended = false;
    } else if (last === undefined || line === "") continue;
    else if (exit !== null) {
      last.code = Number(exit[1]);
      ended = true;
    } else if (ended) last.after += `${line}\n`;
    else if (line.startsWith("stderr: ")) last.stderr += `${line.slice("stderr: ".length)}\n`;
    else last.stdout += `${line}\n`;
  }
  return out;
}

/** The innermost reason of an error of the reference, with our program's name. */
export function innermost(stderr: string): string {
  const lines = stderr.split("\n").filter((line) => line.trim() !== "");
  const usage = lines.find((line) => line.startsWith("error: "));
  const reason = usage ?? lines.at(-1) ?? "";
  return reason.replace(/^\s*(\d+: |Error: |error: )?/, "").replace(/ \(hint:.*$/, "")
    .replaceAll("cfsctl", "cfs");
}

/** All paths below a directory, sorted; links with their text. */
export function listTree(dir: string, prefix = ""): string[] {
  const out: string[] = [];
  for (const entry of [...Deno.readDirSync(dir)].sort((a, b) => a.name < b.name ? -1 : 1)) {
    const path = prefix + entry.name;
    const target = entry.isSymlink ? ` -> ${Deno.readLinkSync(`${dir}/${entry.name}`)}` : "";
    out.push(path + target);
    if (entry.isDirectory) out.push(...listTree(`${dir}/${entry.name}`, `${path}/`));
  }
  return out;
}
