/** Checking objects: every file below `objects/` against its name (spec: repository 9). */
import type { Algorithm, ObjectId } from "../base/mod.ts";
import {
  errnoText,
  Fd,
  isErrno,
  measureVerity,
  O,
  openDir,
  readDir,
  tryOpenNumber,
} from "../../ffi/mod.ts";
import { type FsckKind, reasonOf } from "./fsck_report.ts";
import { objectNameFault } from "./objects.ts";
import { ObjectDirectory, TMP_OBJECT_PREFIX } from "./object_write.ts";

/** The work, as every thread that takes part in it sees it. */
export interface ObjectCheckTask {
  /** Descriptor number of `objects/`. */
  readonly dir: number;
  /** Algorithm of the repository. */
  readonly algorithm: Algorithm;
  /** Whether every object must have fs-verity enabled. */
  readonly secure: boolean;
  /** Subdirectories to check. */
  readonly prefixes: readonly string[];
  /** Index of the next subdirectory that nobody has taken; past the end stops everybody. */
  readonly cursor: SharedArrayBuffer;
}

/** What was found in a subdirectory. */
export interface ObjectCheckResult {
  /** Its index among the prefixes, which is their order in the report. */
  index: number;
  /** Files looked at. */
  checked: number;
  /** Files with an error. */
  corrupted: number;
  /** Errors in path order. */
  errors: { kind: FsckKind; text: string }[];
  /** Objects that are damaged. */
  damaged: ObjectId[];
  /** Left-overs. */
  warnings: string[];
}

/**
 * Checks the objects in subdirectories until all are taken. Threads share the work by a counter in
 * shared memory: none of them has to wait until another one has time for its messages.
 */
export function* checkObjects(
  task: ObjectCheckTask,
): Generator<ObjectCheckResult, void, undefined> {
  const hashing = new ObjectDirectory(task);
  const kernel = { measures: true };
  const cursor = new Int32Array(task.cursor);
  for (;;) {
    const index = Atomics.add(cursor, 0, 1);
    const prefix = task.prefixes[index];
    if (prefix === undefined) return;
    const result: ObjectCheckResult = {
      index,
      checked: 0,
      corrupted: 0,
      errors: [],
      damaged: [],
      warnings: [],
    };
    checkSubdirectory(task, { prefix, hashing, kernel, result });
    yield result;
  }
}

/** Whether digests are asked of the kernel: not on a file system that has said that it has none. */
interface Kernel {
  measures: boolean;
}

function checkSubdirectory(
  task: ObjectCheckTask,
  work: { prefix: string; hashing: ObjectDirectory; kernel: Kernel; result: ObjectCheckResult },
): void {
  const { prefix, hashing, kernel, result } = work;
  let dir: Fd;
  try {
    dir = openDir(task.dir, prefix);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return; // removed since it was listed
    if (!isErrno(error, "ENOTDIR")) throw error;
    result.warnings.push(`objects/${prefix} is not a directory of objects`);
    return;
  }
  using _dir = dir;
  const names = readDir(dir).map((entry) => entry.name).sort();
  for (const name of names) {
    const path = `objects/${prefix}/${name}`;
    if (name.startsWith(TMP_OBJECT_PREFIX)) {
      result.warnings.push(`${path} is a left-over temporary file`);
      continue;
    }
    result.checked++;
    const fault = checkObject(task, { dir, prefix, name, hashing, kernel });
    if (fault === undefined) continue;
    result.corrupted++;
    result.errors.push({
      kind: fault.kind,
      text: fault.text === "" ? path : `${path}: ${fault.text}`,
    });
    if (fault.kind !== "object-invalid-name") result.damaged.push((prefix + name) as ObjectId);
  }
}

function checkObject(
  task: ObjectCheckTask,
  file: { dir: Fd; prefix: string; name: string; hashing: ObjectDirectory; kernel: Kernel },
): { kind: FsckKind; text: string } | undefined {
  const nameFault = objectNameFault(file.name, task.algorithm);
  if (nameFault !== undefined) return { kind: "object-invalid-name", text: nameFault };
  // O_NONBLOCK: a fifo in the place of an object must not make the check wait for ever.
  const flags = O.RDONLY | O.NOFOLLOW | O.NONBLOCK;
  const number = tryOpenNumber(file.dir, file.name, { flags });
  if (number < 0) return { kind: "object-open-failed", text: errnoText(-number) };
  using fd = new Fd(number);
  let step = "Measuring verity digest";
  try {
    let measured = file.kernel.measures ? measureVerity(fd, task.algorithm) : "unsupported";
    if (measured === "missing" || measured === "unsupported") {
      if (task.secure) return { kind: "object-verity-missing", text: "" };
      file.kernel.measures = measured === "missing";
      step = "Computing verity digest in userspace";
      measured = file.hashing.idOfFile(fd);
    }
    return measured === file.prefix + file.name
      ? undefined
      : { kind: "object-digest-mismatch", text: `measured ${measured}` };
  } catch (error) {
    return { kind: "object-verity-failed", text: `${step}: ${reasonOf(error)}` };
  }
}
