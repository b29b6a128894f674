/**
 * Writes the outputs of the console blocks of the README and of `docs/` anew, as this checkout gives
 * them; run as root and with `docker-registry` installed, so that none is left out:
 * `deno run -A tests/readme/update.ts [DOCUMENT…]`. Read the difference before you commit it.
 *
 * @module
 */
import { ROOT } from "../helpers/run.ts";
import { consoleBlocks, documents, documentText, Tour, withOutputs } from "./_console.ts";

if (import.meta.main) {
  for (const name of Deno.args.length > 0 ? Deno.args : documents()) {
    const text = documentText(name);
    await using tour = await Tour.start();
    const outputs: (string | undefined)[] = [];
    for (const { steps, needs } of consoleBlocks(text)) {
      const run = !needs.includes("root") || Deno.uid() === 0;
      for (const { command } of steps) outputs.push(run ? await tour.run(command) : undefined);
    }
    Deno.writeTextFileSync(ROOT + name, withOutputs(text, outputs));
  }
}
