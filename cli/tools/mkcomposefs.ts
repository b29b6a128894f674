/**
 * `mkcomposefs`: an image from a directory or a dumpfile, with the bytes of the C tool
 * (spec: erofs 7.1).
 *
 * @module
 */
import { ALGORITHMS, withContext } from "../../lib/base/mod.ts";
import { DumpfileParser } from "../../lib/dumpfile/mod.ts";
import { writeImage } from "../../lib/erofs/mod.ts";
import type { FileTree } from "../../lib/tree/mod.ts";
import { addressable, AT_FDCWD, type Fd, openDir, read } from "../../ffi/mod.ts";
import { Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { FailedError } from "../errors.ts";
import { openFile } from "../image_file.ts";
import { digestOf } from "../image_id.ts";
import { writeOutputFile } from "../output_file.ts";
import {
  checkOptions,
  filterTree,
  imageVersion,
  NEWEST,
  type Options,
  threadCount,
  wholeNumber,
} from "../mkcomposefs_options.ts";
import { parseArgs } from "../parse.ts";
import { VERSION } from "../version.ts";

const READ_SIZE = 1 << 20;
const STDIO = "-";
const STDIN = 0;
function quote(path: string): string {
  return JSON.stringify(path);
}

function readDumpfile(path: string, options: Options, context: Context): FileTree {
  using file = path === STDIO ? undefined : openFile(path, "dumpfile");
  const fd: Fd | number = file ?? STDIN;
  const parser = new DumpfileParser({
    dialect: options.dialect,
    hash: options.hash,
    onWarning: ({ line, message }) => context.warn(`${path}: line ${line}: ${message}`),
  });
  const buffer = addressable(READ_SIZE);
  try {
    for (let count = read(fd, buffer); count > 0; count = read(fd, buffer)) {
      parser.push(buffer.subarray(0, count));
    }
    return parser.finish();
  } catch (cause) {
    throw withContext("Failed to parse dumpfile", cause);
  }
}

function checkSource(path: string): void {
  let info;
  try {
    info = Deno.statSync(path);
  } catch (cause) {
    throw withContext(`Failed to access source directory: ${quote(path)}`, cause);
  }
  if (!info.isDirectory) throw new FailedError(`Source path is not a directory: ${quote(path)}`);
}

/** Opens the digest store, making its last level. */
function openStore(path: string): Fd {
  try {
    Deno.mkdirSync(path, { mode: 0o755 });
  } catch (cause) {
    if (!(cause instanceof Deno.errors.AlreadyExists)) {
      throw withContext(`Failed to create flat digest store: ${quote(path)}`, cause);
    }
  }
  return openDir(AT_FDCWD, path);
}

async function readDirectory(path: string, options: Options, context: Context): Promise<FileTree> {
  checkSource(path);
  // A dumpfile needs neither; big ones are what this tool is timed on.
  const { scanDirectory } = await import("../../lib/scan/mod.ts");
  const { objectSinkSource } = await import("../../lib/repository/mod.ts");
  using store = options.digestStore === undefined ? undefined : openStore(options.digestStore);
  const algorithm = ALGORITHMS[options.hash];
  const { tree, warnings } = await context.working((progress) =>
    scanDirectory(Deno.realPathSync(path), {
      hash: options.hash,
      hardlinks: options.hardlinks ?? false,
      progress,
      ...(options.threads === undefined ? {} : { jobs: options.threads }),
      ...(store === undefined
        ? {}
        : { objects: objectSinkSource({ dir: store.number, algorithm, secure: false }) }),
    })
  );
  for (const warning of warnings) context.warn(warning);
  return tree;
}

function writeOutput(image: string, bytes: Uint8Array, { stdout }: Context): void {
  if (image !== STDIO) {
    return writeOutputFile(image, bytes, `Failed to create image file: ${quote(image)}`);
  }
  if (stdout.isTerminal) {
    throw new FailedError(
      "Refusing to write binary image to terminal. Redirect stdout or use a file path.",
    );
  }
  stdout.bytes(bytes);
}

async function make(
  context: Context,
  paths: { source: string; image: string | undefined },
  options: Options,
): Promise<void> {
  const { source, image } = paths;
  checkOptions(image, options);
  if (options.fromFile && options.digestStore !== undefined) {
    context.warn("--digest-store is ignored when --from-file is specified");
  }
  const tree = options.fromFile
    ? readDumpfile(source, options, context)
    : await readDirectory(source, options, context);
  filterTree(tree, options);
  const version = imageVersion(tree, options);
  const dialect = version > NEWEST ? "rs" : options.dialect;
  const bytes = writeImage(tree, { version, hash: options.hash, dialect });
  if (image !== undefined) writeOutput(image, bytes, context);
  if (!options.printDigest && !options.printDigestOnly) return;
  context.stdout.line(digestOf(bytes, ALGORITHMS[options.hash]));
}

/** Runs `mkcomposefs`. */
export async function run(args: readonly string[], context: Context): Promise<number> {
  const program = newCommand("mkcomposefs")
    .description("Create a composefs image from a source directory or dumpfile.")
    .version(`mkcomposefs ${VERSION}`, "-V, --version", "Print version")
    .argument("<SOURCE>", "The source directory or dumpfile")
    .argument("[IMAGE]", "The output image path (- for stdout)")
    .option("--from-file", "Treat SOURCE as a dumpfile (- for stdin)")
    .option("--print-digest", "Print the fsverity digest of the image after writing")
    .option("--print-digest-only", "Print the fsverity digest without writing the image")
    .option("--use-epoch", "Set modification time to zero (Unix epoch) for all files")
    .option("--skip-devices", "Exclude device nodes from the image")
    .option("--skip-xattrs", "Exclude all extended attributes")
    .option("--user-xattrs", 'Only include xattrs with the "user." prefix')
    .addOption(
      new Option("--min-version <MIN_VERSION>", "Minimum image format version (default: 0)")
        .argParser(wholeNumber),
    )
    .addOption(
      new Option("--max-version <MAX_VERSION>", "Maximum image format version (default: 1)")
        .argParser(wholeNumber),
    )
    .option("--digest-store <DIGEST_STORE>", "Copy regular file content to this object store")
    .option("--hardlinks", "Make names of one inode hard links instead of files of their own")
    .addOption(
      new Option("--threads <THREADS>", "Number of threads for digests and copying")
        .argParser(threadCount),
    )
    .addOption(
      new Option("--hash <HASH>", "Hash of the digests")
        .choices(["sha256", "sha512"] as const).default("sha256" as const),
    )
    .addOption(
      new Option("--erofs-version <EROFS_VERSION>", "Exactly this format version")
        .choices(["0", "1", "2"] as const).conflicts(["minVersion", "maxVersion"]),
    )
    .addOption(
      new Option("--dialect <DIALECT>", "Where the C and the Rust tool differ, follow this one")
        .choices(["c", "rs"] as const).default("c" as const),
    )
    .action((source, image, options) => make(context, { source, image }, options as Options));
  withNotes(program, {
    examples: [
      "mkcomposefs --digest-store=objects rootfs image.erofs",
      "mkcomposefs --from-file --print-digest-only root.dump",
    ],
    complete: { "0": "file", "1": "file", "--digest-store": "directory" },
  });
  await parseArgs(args, { program, context });
  return context.exitCode;
}
