/**
 * `composefs-dump SRC DEST`: reads an image and writes it anew in the same version; the result has
 * the same bytes (spec: erofs 7.3).
 *
 * @module
 */
import { UnsupportedError } from "../../lib/base/mod.ts";
import { detectHash, readTree, writeImage } from "../../lib/erofs/mod.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { readImageFile } from "../image_file.ts";
import { writeOutputFile } from "../output_file.ts";
import { parseArgs } from "../parse.ts";
import { VERSION } from "../version.ts";

/** The newest version whose writer is a function of the tree alone in the C tool's terms. */
const NEWEST = 1;

/** Runs `composefs-dump`. */
export async function run(args: readonly string[], context: Context): Promise<number> {
  const program = newCommand("composefs-dump")
    .description("Read a composefs image and write it anew, in the same format version")
    .version(`composefs-dump ${VERSION}`, "-V, --version", "Print version")
    .argument("<SRC>", "The image to read")
    .argument("<DEST>", "The image file to write")
    .action((source, destination) => {
      const image = readImageFile(source);
      if (image.version > NEWEST) {
        throw new UnsupportedError(`cannot write file: format version ${image.version}`);
      }
      const bytes = writeImage(readTree(image), {
        version: image.version,
        hash: detectHash(image) ?? "sha256",
        dialect: "c",
      });
      const doing = `Failed to create image file: ${JSON.stringify(destination)}`;
      writeOutputFile(destination, bytes, doing);
    });
  withNotes(program, {
    examples: ["composefs-dump image.erofs copy.erofs"],
    complete: { "0": "file", "1": "file" },
  });
  await parseArgs(args, { program, context });
  return context.exitCode;
}
