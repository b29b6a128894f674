import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";

/** Waits until a signal ends the program; the kernel then takes the lock back. */
async function forEver(): Promise<never> {
  // A pending promise alone does not keep the process.
  setInterval(() => {}, 2 ** 30);
  return await new Promise<never>(() => {});
}

/** Runs a command with our terminal and passes on how it ended. */
async function runChild([program, ...args]: readonly string[]): Promise<number> {
  let child: Deno.ChildProcess | undefined;
  let stopped = false;
  // The interrupt key reaches the child by itself; we stay to hold the lock and to tell its end.
  const ignore = () => {};
  const forward = () => {
    stopped = true;
    if (child !== undefined) passOn(child);
  };
  // Before the child is there, or a signal in between would end us and leave it without the lock.
  Deno.addSignalListener("SIGINT", ignore);
  Deno.addSignalListener("SIGTERM", forward);
  try {
    child = new Deno.Command(program!, { args }).spawn();
    if (stopped) passOn(child);
    const status = await child.status;
    return status.code;
  } finally {
    Deno.removeSignalListener("SIGINT", ignore);
    Deno.removeSignalListener("SIGTERM", forward);
  }
}

function passOn(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGTERM");
  } catch (error) {
    // It has ended by itself, which its status tells in a moment.
    if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Declares `transaction`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("transaction")
    .description(
      "Take a transaction lock on the repository. This prevents garbage collection from occurring.\n\n" +
        "Without a command it is held until a signal ends the program; with one, until that ends,\n" +
        "and its exit code is ours.",
    )
    .argument("[COMMAND...]", "Command to run under the lock, after --")
    .action(async (words) => {
      using _repository = openRepository(context);
      if (words.length === 0) await forEver();
      else context.exitCode = await runChild(words);
    });
  return withNotes(declared, {
    examples: ["cfs transaction -- sh -c 'cfs images; cfs fsck'", "cfs --repo r transaction"],
  });
}
