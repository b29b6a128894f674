/**
 * The list of objects that were found damaged, kept in the repository so that the next pull of an
 * image that uses them heals them without hashing everything else.
 *
 * It is a file of lines: a head, then an object id each, or `*` when anything may be damaged. Other
 * programs know nothing of it and leave it alone.
 *
 * @module
 */
import { type Algorithm, ComposefsError, type ObjectId, parseObjectId } from "../base/mod.ts";
import {
  carved,
  type Fd,
  flock,
  fstat,
  fsync,
  isErrno,
  O,
  openAt,
  openDir,
  openIfExists,
  preadFull,
  renameAt,
  unlinkAt,
  writeAll,
} from "../../ffi/mod.ts";
import { assertWritable, type RepositoryState } from "./_state.ts";

/** Objects that are known to be damaged, as far as anybody has written it down. */
export interface KnownDamage {
  /** The objects. */
  readonly ids: ReadonlySet<ObjectId>;
  /** Whether others may be damaged as well: there were too many, or the list cannot be read. */
  readonly all: boolean;
}

/** What has been found out about objects. */
export interface DamageFindings {
  /** Objects that are not what their names say. */
  readonly damaged?: Iterable<ObjectId>;
  /** Objects that are sound or gone, whatever was found before. */
  readonly sound?: Iterable<ObjectId>;
}

const NAME = "cfs-damage";
/** Only who holds the lock has it, so one name does; what a killed one left is written over. */
const TEMPORARY = "cfs-damage.tmp";
const HEAD = "cfs-damage 1";
const ANY = "*";
/** Most objects that are listed. With more of them hashing everything is not much worse. */
const MOST_OBJECTS = 1024;
/** Largest file that is read: more than the longest list takes. */
const MOST_BYTES = 256 * 1024;

const ANYTHING: KnownDamage = { ids: new Set(), all: true };

/**
 * Reads the list. One that cannot be read was written because something was damaged, so that
 * anything may be: that costs time, and passing it over would cost what it was written for.
 *
 * @returns `undefined` when there is none
 */
export function readDamageList(root: Fd, algorithm: Algorithm): KnownDamage | undefined {
  try {
    const flags = O.RDONLY | O.NOFOLLOW | O.NONBLOCK;
    using fd = openIfExists(root, NAME, { flags });
    if (fd === undefined) return undefined;
    const { isFile, size } = fstat(fd);
    if (!isFile || size > MOST_BYTES) return ANYTHING;
    const bytes = new Uint8Array(Math.max(4096, size));
    return parse(new TextDecoder().decode(bytes.subarray(0, preadFull(fd, bytes, 0))), algorithm);
  } catch (error) {
    if (error instanceof ComposefsError) return ANYTHING; // as the comment above says
    throw error;
  }
}

function parse(text: string, algorithm: Algorithm): KnownDamage {
  const [head, ...lines] = text.split("\n");
  // A list that was cut off does not end with a line.
  if (head !== HEAD || lines.pop() !== "" || lines.length > MOST_OBJECTS) return ANYTHING;
  if (lines.length === 1 && lines[0] === ANY) return ANYTHING;
  return { ids: new Set(lines.map((line) => parseObjectId(line, algorithm.hash))), all: false };
}

/**
 * Brings the list up to date. The last object that leaves it takes the file along.
 *
 * @throws {ComposefsError} when it cannot be written, which leaves it as it was
 */
export function noteDamage(state: RepositoryState, findings: DamageFindings): void {
  const damaged = new Set(findings.damaged);
  changeDamageList(state, (known) => {
    const ids = new Set(known.ids);
    for (const id of findings.sound ?? []) ids.delete(id);
    for (const id of damaged) ids.add(id);
    return { ids, all: known.all };
  });
}

/**
 * Brings the list up to date after all objects were checked: what was on it before and is not
 * damaged leaves it; what others have written meanwhile stays.
 *
 * @param before the list when the check began
 * @throws {ComposefsError} when it cannot be written, which leaves it as it was
 */
export function replaceDamage(
  state: RepositoryState,
  damaged: Iterable<ObjectId>,
  before: KnownDamage | undefined,
): void {
  const found = [...damaged];
  changeDamageList(state, (known) => {
    const ids = new Set(found);
    for (const id of known.ids) {
      if (before?.ids.has(id) !== true) ids.add(id);
    }
    return { ids, all: known.all && before?.all !== true };
  });
}

/**
 * Takes objects off the list that are not there any more: nobody can heal them.
 *
 * @throws {ComposefsError} when it cannot be written, which leaves it as it was
 */
export function forgetGone(state: RepositoryState): void {
  const { ids = [] } = readDamageList(state.root, state.algorithm) ?? {};
  const gone = [...ids].filter((id) => state.objects.size(id) === undefined);
  if (gone.length > 0) noteDamage(state, { sound: gone });
}

/** Reads, changes and writes the list while nobody else does; nothing is written for no change. */
function changeDamageList(
  state: RepositoryState,
  change: (known: KnownDamage) => KnownDamage,
): void {
  const { root, algorithm } = state;
  const nothing: KnownDamage = { ids: new Set(), all: false };
  const look = () => {
    const known = readDamageList(root, algorithm);
    const next = change(known ?? nothing);
    return { known, next: next.ids.size > MOST_OBJECTS ? ANYTHING : next };
  };
  // Most checks find nothing, and must not need to write for that.
  const seen = look();
  if (isSame(seen.known, seen.next)) return;
  assertWritable(state);
  // The repository's own lock is shared by all who have it open; this one is between writers.
  using lock = lockObjects(root);
  if (lock !== undefined) flock(lock, "exclusive");
  const { known, next } = look();
  if (isSame(known, next)) return;
  if (next.ids.size === 0 && !next.all) {
    unlinkAt(root, NAME);
    return;
  }
  write(root, next);
}

function lockObjects(root: Fd): Fd | undefined {
  try {
    return openDir(root, "objects");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined; // nobody has found damage without objects
    throw error;
  }
}

function isSame(known: KnownDamage | undefined, next: KnownDamage): boolean {
  if (known === undefined) return next.ids.size === 0 && !next.all;
  if (next.ids.size === 0 && !next.all) return false; // the file has to go
  if (known.all || next.all) return known.all === next.all;
  return known.ids.size === next.ids.size && known.ids.isSubsetOf(next.ids);
}

function write(root: Fd, { ids, all }: KnownDamage): void {
  const lines = all ? [ANY] : [...ids].sort();
  const text = [HEAD, ...lines, ""].join("\n");
  unlinkAt(root, TEMPORARY);
  try {
    using fd = openAt(root, TEMPORARY, { flags: O.CREAT | O.EXCL | O.WRONLY, mode: 0o644 });
    writeAll(fd, carved(new TextEncoder().encode(text)), NAME);
    fsync(fd);
    renameAt(root, TEMPORARY, root, NAME);
  } catch (error) {
    unlinkAt(root, TEMPORARY);
    throw error;
  }
  // The name, too, has to outlast a loss of power.
  using dir = openDir(root, ".");
  fsync(dir);
}
