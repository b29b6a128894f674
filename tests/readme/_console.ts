/**
 * The console blocks of the README and of `docs/`: finding them, running them and comparing. A block
 * counts when its fence says ```` ```console run ````; further words there name what it needs (`root`,
 * `registry`). The blocks of a document run in order, in the top of the checkout, with `cfs` as a
 * program on the search path. The folder that the documents call `/tmp/tour` is a temporary one of
 * each run; what they call `127.0.0.1:5000` and `127.0.0.1:8000` are a registry that was started for
 * it, and a web server of the folder's `www`.
 *
 * @module
 */
import { needTool } from "../helpers/needs.ts";
import { TestRegistry } from "../helpers/registry.ts";
import { cfsCommand, ROOT, run } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

/** The folder's name in the documents. */
const TOUR = "/tmp/tour";
/** The registry's address there. */
const REGISTRY = "127.0.0.1:5000";
/** The web server's. */
const WEB = "127.0.0.1:8000";

/** A command with its output, both streams in order. */
export interface Step {
  /** What stands behind the prompt. */
  command: string;
  /** The lines below it, each with its newline. */
  output: string;
}

/** A block that is run. */
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
 * @param markdown Text of a document.
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
 * @param markdown Text of a document.
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

/** Where the blocks of a document are run. */
export class Tour implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly #registry: TestRegistry | undefined;
  readonly #web: Deno.HttpServer<Deno.NetAddr>;
  /** What the documents say, and what it is here. */
  readonly #names: readonly (readonly [string, string])[];

  private constructor(dir: TempDir, registry: TestRegistry | undefined) {
    const folder = dir.join("tour");
    this.#dir = dir;
    this.#registry = registry;
    this.#web = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) => serveFile(`${folder}/www`, request),
    );
    this.#names = [
      [TOUR, folder],
      [REGISTRY, registry?.host ?? REGISTRY],
      [WEB, `127.0.0.1:${this.#web.addr.port}`],
    ];
    const words = cfsCommand().map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
    Deno.chmodSync(dir.write("bin/cfs", `#!/bin/sh\nexec ${words} "$@"\n`), 0o755);
  }

  /** Makes the folder, and starts the servers; the registry where it is installed. */
  static async start(): Promise<Tour> {
    const registry = needTool("docker-registry").met ? await TestRegistry.start() : undefined;
    return new Tour(new TempDir({ prefix: "cfs-readme-", on: "disk" }), registry);
  }

  /**
   * Runs a command as the documents mean it.
   *
   * @param command A line for the shell.
   * @returns Both of its outputs, with the documents' names for folder and servers.
   */
  async run(command: string): Promise<string> {
    const line = this.#names.reduce((text, [shown, real]) => text.replaceAll(shown, real), command);
    const script = `umask 022; { ${line}\n} 2>&1`;
    const { stdout } = await run(["sh", "-c", script], {
      cwd: ROOT,
      env: {
        ...ownCache(this.#dir.join("cache")),
        PATH: `${this.#dir.join("bin")}:${Deno.env.get("PATH") ?? ""}`,
        NO_COLOR: "1",
        LC_ALL: "C.UTF-8",
        TZ: "UTC",
      },
    });
    return this.#names.reduce((text, [shown, real]) => text.replaceAll(real, shown), stdout);
  }

  /** Ends the servers and removes the folder, with what is mounted in it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#web.shutdown();
    await this.#registry?.[Symbol.asyncDispose]();
    this.#dir[Symbol.dispose]();
  }
}

/**
 * Variables with which programs keep in a directory what is otherwise in the user's cache; modules
 * are where they always are.
 *
 * @param path The directory.
 */
export function ownCache(path: string): { XDG_CACHE_HOME: string; DENO_DIR: string } {
  const { env } = Deno;
  const cache = env.get("XDG_CACHE_HOME") || `${env.get("HOME") ?? ""}/.cache`;
  return { XDG_CACHE_HOME: path, DENO_DIR: env.get("DENO_DIR") || `${cache}/deno` };
}

async function serveFile(root: string, request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  try {
    return new Response(await Deno.readFile(root + decodeURIComponent(pathname)));
  } catch (error) {
    const { NotFound, IsADirectory } = Deno.errors;
    if (!(error instanceof NotFound || error instanceof IsADirectory)) throw error;
    return new Response("not found", { status: 404 });
  }
}

/** The documents with console blocks to run: the README, and all of `docs/`. */
export function documents(): string[] {
  const docs = [...Deno.readDirSync(`${ROOT}docs`)].map(({ name }) => `docs/${name}`);
  return ["README.md", ...docs.filter((name) => name.endsWith(".md")).sort()];
}

/**
 * Text of a document.
 *
 * @param name Its path in the checkout.
 */
export function documentText(name: string): string {
  return Deno.readTextFileSync(ROOT + name);
}
