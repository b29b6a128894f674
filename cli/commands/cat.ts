import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";

/** Declares `cat`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("cat")
    .description("Reconstitutes a split stream and writes it to stdout")
    .argument("<NAME>", "The name of the stream, either a content identifier or refs/…")
    .option("--verify", "Check every object's digest where the kernel does not")
    .action((name, options) => {
      using repository = openRepository(context);
      const stream = repository.openStream(name);
      // Old writers announced wrong totals; the content itself is whole, and fsck reports it.
      const how = { verify: options.verify ?? false, anySize: true };
      let total = 0n;
      for (const piece of repository.streamContent(stream, how)) {
        total += BigInt(piece.length);
        context.stdout.bytes(piece);
      }
      if (total === stream.streamSize) return;
      context.warn(`${name} has ${total} bytes where its header says ${stream.streamSize}`);
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r cat refs/mylayer | tar -t",
      "cfs cat oci-layer-sha256:2cec…53f8 > t.tar",
    ],
    complete: { "0": "stream" },
  });
}
