/**
 * Writes the outputs of the README's console blocks anew, as this checkout gives them; run as root,
 * so that none is left out: `deno run -A tests/readme/update.ts`. Read the difference before you
 * commit it.
 *
 * @module
 */
import { TestRegistry } from "../helpers/registry.ts";
import { ROOT } from "../helpers/run.ts";
import { consoleBlocks, readme, Tour, withOutputs } from "./_console.ts";

if (import.meta.main) {
  const text = readme();
  await using registry = await TestRegistry.start();
  using tour = new Tour(registry.host);
  const outputs: (string | undefined)[] = [];
  for (const { steps, needs } of consoleBlocks(text)) {
    const run = !needs.includes("root") || Deno.uid() === 0;
    for (const { command } of steps) outputs.push(run ? await tour.run(command) : undefined);
  }
  Deno.writeTextFileSync(`${ROOT}README.md`, withOutputs(text, outputs));
}
