/**
 * The README's console blocks: finding them, running them and comparing. A block counts when its
 * fence says ```` ```console run ````; further words there name what it needs (`root`). Blocks run in
 * order, in the top of the checkout, with `cfs` as a program on the search path. The folder that
 * the README calls `/tmp/tour` is a temporary one of each run, and the registry that it calls
 * `127.0.0.1:5000` one that was started for it.
 *
 * @module
 */
import { cfsCommand, ROOT, run } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

/** The folder's name in the README. */
const TOUR = "/tmp/tour";
/** The registry's address in the README. */
const REGISTRY = "127.0.0.1:5000";

/** A command with its output, both streams in order. */
export interface Step {
  /** What stands behind the prompt. */
  command: string;
  /** The lines below it, each with its newline. */
  output: string;
}

/** A block of the README that is run. */
export interface Block {
  /** Line of its fence, from 1. */
  line: number;
  /** Words of the fence after `run`. */
  needs: string[];
  /** What is in it. */
  steps: Step[];
}

const FENCE = /^```console run((?: [a-z]+)*)$/;

/**
 * Finds the blocks.
 *
 * @param markdown Text of a README.
 * @throws Error when a block does not begin with a command, or does not end
 */
export function consoleBlocks(markdown: string): Block[] {
  const blocks: Block[] = [];
  let block: Block | undefined;
  markdown.split("\n").forEach((text, index) => {
    const fence = FENCE.exec(text);
    if (block === undefined) {
      if (fence === null) return;
      block = { line: index + 1, needs: fence[1]!.trim().split(" ").filter(Boolean), steps: [] };
    } else if (text === "```") {
      blocks.push(block);
      block = undefined;
    } else if (text.startsWith("$ ")) block.steps.push({ command: text.slice(2), output: "" });
    else {
      const step = block.steps.at(-1);
      if (step === undefined) throw new Error(`line ${index + 1}: expected a command`);
      // A command that is too long for one line goes on behind a backslash.
      if (step.command.endsWith("\\") && step.output === "") step.command += `\n${text}`;
      else step.output += `${text}\n`;
    }
  });
  if (block !== undefined) throw new Error(`line ${block.line}: the block does not end`);
  return blocks;
}

/**
 * Puts other outputs into the blocks.
 *
 * @param markdown Text of a README.
 * @param outputs Outputs of all steps of all blocks, in order; undefined keeps what is there.
 */
export function withOutputs(markdown: string, outputs: readonly (string | undefined)[]): string {
  const lines = markdown.split("\n");
  let at = 0;
  let next = 0;
  const result: string[] = [];
  for (const block of consoleBlocks(markdown)) {
    result.push(...lines.slice(at, block.line));
    at = block.line;
    for (const { command, output } of block.steps) {
      const shown = outputs[next++] ?? output;
      result.push(...`$ ${command}\n${shown}`.replace(/\n$/, "").split("\n"));
      at += command.split("\n").length + output.split("\n").length - 1;
    }
  }
  return [...result, ...lines.slice(at)].join("\n");
}

/** Where blocks are run. */
export class Tour implements Disposable {
  readonly #dir = new TempDir({ prefix: "cfs-readme-", on: "disk" });
  readonly #registry: string;

  /**
   * Makes the folder, and `cfs` in it.
   *
   * @param registry Address of the registry, when there is one.
   */
  constructor(registry: string = REGISTRY) {
    this.#registry = registry;
    const words = cfsCommand().map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
    Deno.chmodSync(this.#dir.write("bin/cfs", `#!/bin/sh\nexec ${words} "$@"\n`), 0o755);
  }

  /**
   * Runs a command as the README means it.
   *
   * @param command A line for the shell.
   * @returns Both of its outputs, with the README's name for the folder.
   */
  async run(command: string): Promise<string> {
    const folder = this.#dir.join("tour");
    const line = command.replaceAll(TOUR, folder).replaceAll(REGISTRY, this.#registry);
    const script = `umask 022; { ${line}\n} 2>&1`;
    const { stdout } = await run(["sh", "-c", script], {
      cwd: ROOT,
      env: {
        PATH: `${this.#dir.join("bin")}:${Deno.env.get("PATH") ?? ""}`,
        NO_COLOR: "1",
        LC_ALL: "C.UTF-8",
        TZ: "UTC",
      },
    });
    return stdout.replaceAll(folder, TOUR).replaceAll(this.#registry, REGISTRY);
  }

  /** Removes the folder, with what is mounted in it. */
  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }
}

/** Text of the README. */
export function readme(): string {
  return Deno.readTextFileSync(`${ROOT}README.md`);
}
