/** Calling the program in this process, with outputs that are kept. */
import { main } from "../../cli/main.ts";
import "../helpers/libraries.ts";

/** What a call did. */
export interface Called {
  code: number;
  stdout: string;
  stderr: string;
}

class Kept {
  readonly #pieces: Uint8Array[] = [];
  readonly #terminal: boolean;

  constructor(terminal: boolean) {
    this.#terminal = terminal;
  }

  writeSync(bytes: Uint8Array): number {
    // Fewer than were given, as a slow pipe would take them.
    const count = Math.min(bytes.length, 10_000);
    this.#pieces.push(bytes.slice(0, count));
    return count;
  }

  isTerminal(): boolean {
    return this.#terminal;
  }

  get text(): string {
    const decoder = new TextDecoder();
    return this.#pieces.map((piece) => decoder.decode(piece, { stream: true })).join("");
  }
}

/** Calls the program. */
export async function call(
  args: readonly string[],
  options: { programName?: string; terminal?: boolean } = {},
): Promise<Called> {
  const stdout = new Kept(options.terminal ?? false);
  const stderr = new Kept(false);
  const { programName = "cfs" } = options;
  const code = await main(args, { programName, stdout, stderr });
  return { code, stdout: stdout.text, stderr: stderr.text };
}
