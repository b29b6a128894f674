import { type Algorithm, ALGORITHMS, type HashName, type ProgressSink } from "../base/mod.ts";
import { CAP, hasCapability, type PathArg } from "../../ffi/mod.ts";
import type { FileTree } from "../tree/mod.ts";
import { Readers } from "./readers.ts";
import { HashSink, type SinkSource } from "./sink.ts";
import { Walk } from "./walk.ts";

/** How to scan. */
export interface ScanOptions {
  /** Hash function of the files' digests. */
  hash: HashName;
  /** Where content goes. @default nowhere: only digests are computed */
  objects?: SinkSource;
  /** Whether names of one inode become hard links; otherwise each is a leaf of its own. @default true */
  hardlinks?: boolean;
  /** Most threads, this one included. @default navigator.hardwareConcurrency */
  jobs?: number;
  /** Gives up when aborted. */
  signal?: AbortSignal;
  /** Told how many bytes have been read. */
  progress?: ProgressSink;
}

/** What a scan found. */
export interface ScanResult {
  /** The tree. */
  readonly tree: FileTree;
  /** What the user should know, each once. */
  readonly warnings: readonly string[];
  /** Bytes read from regular files. */
  readonly bytes: number;
}

/**
 * Reads a directory into a tree (spec: erofs 1.3): all metadata and extended attributes; files of
 * up to 64 bytes with their content, others by their fs-verity digest. Other file systems that are
 * mounted below are entered.
 *
 * @param path the directory; a symbolic link is not followed unless a slash comes after it
 * @throws {ErrnoError} when something cannot be read, ENOTDIR for a link
 * @throws {ComposefsError} when something changes while it is read
 */
export async function scanDirectory(path: PathArg, options: ScanOptions): Promise<ScanResult> {
  const warnings: string[] = [];
  if (!hasCapability(CAP.SYS_ADMIN)) {
    warnings.push(
      "Scanning without CAP_SYS_ADMIN: trusted.* extended attributes cannot be seen",
    );
  }
  const source = options.objects ?? digestsOnly(ALGORITHMS[options.hash]);
  const { progress } = options;
  progress?.({ type: "started", id: "scan", unit: "bytes" });
  // Disposed in reverse order: descriptors only after the readers have ended.
  using walks = new DisposableStack();
  await using readers = new Readers(source, {
    jobs: Math.max(1, options.jobs ?? navigator.hardwareConcurrency),
    signal: options.signal,
  });
  const hardlinks = options.hardlinks ?? true;
  const walk = walks.use(new Walk({ readers, argument: source.argument, hardlinks, progress }));
  const root = await walk.run(path);
  progress?.({ type: "done", id: "scan", transferred: walk.bytes });
  return { tree: { root }, warnings, bytes: walk.bytes };
}

function digestsOnly(algorithm: Algorithm): SinkSource {
  return {
    worker: new URL("./worker.ts", import.meta.url),
    argument: algorithm,
    local: new HashSink(algorithm),
  };
}
