/**
 * `composefs-info`: looking into image files. Both grammars work: options after the command as in
 * the Rust tool, and before it as in the C tool (spec: erofs 7.2).
 *
 * @module
 */
import {
  ALGORITHMS,
  type ObjectId,
  objectIdFromBytes,
  objectPath,
  utf8ByteString,
  withContext,
} from "../../lib/base/mod.ts";
import { filterRoot, listEntries, listObjects, readTree } from "../../lib/erofs/mod.ts";
import { formatDumpfile } from "../../lib/dumpfile/mod.ts";
import { openFile, readImageFile } from "../image_file.ts";
import { FsVerityHasher } from "../../lib/fsverity/mod.ts";
import {
  addressable,
  AT_FDCWD,
  type Fd,
  measureVerity,
  openDir,
  read,
  statAt,
  systemHash,
} from "../../ffi/mod.ts";
import type { Context } from "../context.ts";
import { collect, newCommand, withNotes } from "../declare.ts";
import { Option } from "../commander.ts";
import { FailedError, UsageError } from "../errors.ts";
import { parseArgs } from "../parse.ts";
import { missingArguments } from "../usage.ts";
import { VERSION } from "../version.ts";

const READ_SIZE = 1 << 20;

interface Request {
  files: readonly string[];
  filter: readonly string[];
  basedir?: string;
}

type Handler = (request: Request, context: Context) => void;

/** Names in messages are quoted as the reference quotes them. */
function quote(path: string): string {
  return JSON.stringify(path);
}

function listFiles({ files, filter }: Request, { stdout }: Context): void {
  for (const path of files) {
    const image = readImageFile(path);
    const options = { filter: filter.map(utf8ByteString) };
    for (const line of listEntries(readTree(image), options)) stdout.write(line);
  }
}

function dumpImages({ files, filter }: Request, { stdout }: Context): void {
  for (const path of files) {
    const tree = filterRoot(readTree(readImageFile(path)), filter.map(utf8ByteString));
    for (const piece of formatDumpfile(tree)) stdout.write(piece);
  }
}

/** The objects of all images, each once. */
function allObjects(files: readonly string[]): ObjectId[] {
  const [first, ...rest] = files.map((path) => listObjects(readImageFile(path)));
  if (rest.length === 0) return first ?? [];
  return [...new Set([...first ?? [], ...rest.flat()])].sort();
}

function listAllObjects({ files }: Request, { stdout }: Context): void {
  for (const id of allObjects(files)) stdout.line(objectPath(id));
}

function listMissing({ files, basedir }: Request, { stdout }: Context): void {
  if (basedir === undefined) throw missingArguments(["--basedir <BASEDIR>"]);
  const ids = allObjects(files);
  let dir: Fd;
  try {
    dir = openDir(AT_FDCWD, basedir);
  } catch (cause) {
    throw withContext(`Failed to open basedir: ${quote(basedir)}`, cause);
  }
  using _dir = dir;
  for (const id of ids) if (statAt(dir, objectPath(id)) === undefined) stdout.line(objectPath(id));
}

function measure(fd: Fd): string {
  const known = measureVerity(fd, ALGORITHMS.sha256);
  if (known !== "missing" && known !== "unsupported") return known;
  const hasher = new FsVerityHasher(ALGORITHMS.sha256, systemHash());
  const buffer = addressable(READ_SIZE);
  for (let count = read(fd, buffer); count > 0; count = read(fd, buffer)) {
    hasher.update(buffer.subarray(0, count));
  }
  return objectIdFromBytes(hasher.digest());
}

function measureFiles({ files }: Request, { stdout }: Context): void {
  for (const path of files) {
    using fd = openFile(path, "file");
    try {
      stdout.line(measure(fd));
    } catch (cause) {
      throw withContext(`Failed to measure verity for ${quote(path)}`, cause);
    }
  }
}

const COMMANDS: Readonly<Record<string, readonly [Handler, string]>> = {
  ls: [listFiles, "Simple listing of files and directories in the image"],
  dump: [dumpImages, "Full dump in composefs-dump(5) format"],
  objects: [listAllObjects, "List all backing file object paths"],
  "missing-objects": [listMissing, "List backing files not present in basedir"],
  "measure-file": [measureFiles, "Print the fs-verity digest of files"],
};

/** Runs `composefs-info`. */
export async function run(args: readonly string[], context: Context): Promise<number> {
  const list = Object.entries(COMMANDS).map(([name, [, text]]) => `  ${name.padEnd(17)}${text}\n`);
  const program = newCommand("composefs-info")
    .description("Query information from composefs images")
    .version(`composefs-info ${VERSION}`, "-V, --version", "Print version")
    .argument("[COMMAND]", "What to do, see below")
    .argument("[FILES...]", "Composefs image files to inspect, or files to measure")
    .addOption(
      new Option("--filter <FILTER>", "Only this entry of the root; may be given several times")
        .argParser(collect),
    )
    .option("--basedir <BASEDIR>", "Base directory for object lookups")
    .addHelpText("after", `\nCommands:\n${list.join("")}`)
    .action((command, files, options) => {
      if (command === undefined || command === "help") {
        program.outputHelp({ error: command === undefined });
        if (command === undefined) context.exitCode = 2;
        return;
      }
      const handler = Object.hasOwn(COMMANDS, command) ? COMMANDS[command]![0] : undefined;
      if (handler === undefined) throw new UsageError(`unrecognized subcommand '${command}'`);
      const filter = options.filter as string[] | undefined ?? [];
      const bad = filter.find((name) => name.includes("/"));
      if (bad !== undefined) {
        throw new FailedError(`Filter must be a single name: ${bad}`);
      }
      handler({
        files,
        filter,
        ...(options.basedir === undefined ? {} : { basedir: options.basedir }),
      }, context);
    });
  withNotes(program, {
    examples: [
      "composefs-info ls image.erofs",
      "composefs-info missing-objects --basedir objects image.erofs",
    ],
    complete: { "1": "file", "--basedir": "directory" },
  });
  await parseArgs(args, { program, context });
  return context.exitCode;
}
