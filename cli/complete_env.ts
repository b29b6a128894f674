/**
 * Completion by environment as the reference does it: `COMPLETE=<shell>` alone prints the script;
 * with `-- WORDS` it answers (spec: boot-and-mount 12).
 *
 * @module
 */
import { complete } from "./complete.ts";
import { completionScript, isShell, SHELLS } from "./completion_scripts.ts";
import type { Context } from "./context.ts";
import { EXIT } from "./exit_codes.ts";

/** The form of a candidate in each shell's protocol. */
const FORMATS = {
  bash: (value: string) => value,
  zsh: (value: string, description: string) =>
    description === ""
      ? value.replaceAll(":", "\\:")
      : `${value.replaceAll(":", "\\:")}:${description}`,
  fish: (value: string, description: string) => `${value}\t${description}`,
} as const;

/**
 * Answers a call with the variable set.
 *
 * @param shell Value of the variable.
 * @param args Arguments of the program.
 * @param context Outputs.
 * @returns The exit code.
 */
export async function answerCompletion(
  shell: string,
  args: readonly string[],
  context: Context,
): Promise<number> {
  if (!isShell(shell)) {
    const known = SHELLS.map((name) => `\`${name}\``).join(", ");
    context.stderr.line(`error: unknown shell \`${shell}\`, expected one of ${known}`);
    return EXIT.usage;
  }
  const separator = args.indexOf("--");
  if (separator < 0) {
    context.stdout.write(completionScript(shell, context.programName));
    return EXIT.ok;
  }
  const words = args.slice(separator + 1);
  const index = Number(Deno.env.get("_CLAP_COMPLETE_INDEX") ?? words.length - 1);
  const asked = Array.from({ length: Math.max(index, 0) }, (_, i) => words[i + 1] ?? "");
  const { candidates } = await complete(asked, context);
  const format = FORMATS[shell];
  const ifs = Deno.env.get("_CLAP_IFS") ?? "\n";
  const lines = candidates.map(({ value, description }) => format(value, description));
  context.stdout.write(lines.join(ifs));
  return EXIT.ok;
}
