/**
 * The transformations that are applied to a tree before it becomes an image (spec: erofs 1.4).
 * They replace metadata, never change it in place, since nodes may share it.
 *
 * @module
 */
import { type ByteString, InvalidNameError } from "../base/mod.ts";
import { forEachNode } from "./links.ts";
import { findDirectory, lookupDirectory } from "./lookup.ts";
import type { FileTree } from "./file_tree.ts";
import { type Directory, NO_XATTRS, type Stat, type Xattrs } from "./tree.ts";

/** Which extended attributes the container-root transformation keeps. */
export type XattrMode = "allowlist-only" | "keep-user-xattrs";

const KEPT_XATTR: ByteString = "security.capability";
const USER_PREFIX: ByteString = "user.";

/**
 * Parses the argument of `--xattrs` (spec: erofs 1.4).
 *
 * @throws {InvalidNameError} for anything but the two modes
 */
export function parseXattrMode(text: string): XattrMode {
  if (text === "allowlist-only" || text === "keep-user-xattrs") return text;
  throw new InvalidNameError(
    `invalid xattr filtering mode "${text}" (expected "allowlist-only" or "keep-user-xattrs")`,
  );
}

/** Keeps the extended attributes for which `keep` holds, on every node. */
export function filterXattrs(tree: FileTree, keep: (name: ByteString) => boolean): void {
  // Most nodes share a few sets: filter each set once.
  const seen = new Map<Xattrs, Xattrs>();
  forEachNode(tree, (node) => {
    const old = node.stat.xattrs;
    if (old.size === 0) return;
    let kept = seen.get(old);
    if (kept === undefined) {
      kept = filtered(old, keep);
      seen.set(old, kept);
      seen.set(kept, kept);
    }
    if (kept !== old) node.stat = { ...node.stat, xattrs: kept };
  });
}

function filtered(xattrs: Xattrs, keep: (name: ByteString) => boolean): Xattrs {
  let dropped = 0;
  for (const name of xattrs.keys()) if (!keep(name)) dropped++;
  if (dropped === 0) return xattrs;
  if (dropped === xattrs.size) return NO_XATTRS;
  return new Map([...xattrs].filter(([name]) => keep(name)));
}

/** Applies the xattr filter of the container-root transformation to every node. */
export function filterContainerXattrs(tree: FileTree, mode: XattrMode): void {
  const user = mode === "keep-user-xattrs";
  filterXattrs(tree, (name) => name === KEPT_XATTR || (user && name.startsWith(USER_PREFIX)));
}

/** Options of {@linkcode containerRootTransform}. */
export interface ContainerRootOptions {
  /** Which extended attributes stay. @default "allowlist-only" */
  xattrs?: XattrMode;
}

/**
 * Makes a tree independent of how the container's root was made (spec: erofs 1.4): the root takes
 * the metadata of `/usr`, `/run` is emptied and takes its time, host-dependent extended attributes
 * are dropped.
 *
 * @throws {NotFoundError} when `/usr` does not exist
 * @throws {ConflictError} when `/usr` or `/run` is not a directory
 */
export function containerRootTransform(tree: FileTree, options: ContainerRootOptions = {}): void {
  const usr = lookupDirectory(tree.root, "usr");
  tree.root.stat = { ...usr.stat };
  const run = findDirectory(tree.root, "run");
  if (run !== undefined) clear(run, timesOf(usr.stat));
  filterContainerXattrs(tree, options.xattrs ?? "allowlist-only");
}

/** Options of {@linkcode bootableTransform}. */
export interface BootableOptions {
  /**
   * Whether `/boot` and `/sysroot` take the nanoseconds of `/usr` too, as the peer does since
   * 0.9.4; before, only the seconds were taken. @default true
   */
  nanoseconds?: boolean;
}

/**
 * Empties `/boot` and `/sysroot`, which take the modification time of `/usr` (spec: boot-and-mount
 * 6). Labels for SELinux are a separate step.
 *
 * @throws {NotFoundError} when `/usr`, `/boot` or `/sysroot` does not exist
 * @throws {ConflictError} when one of them is not a directory
 */
export function bootableTransform(tree: FileTree, options: BootableOptions = {}): void {
  const { mtimeSec, mtimeNsec } = lookupDirectory(tree.root, "usr").stat;
  const nanoseconds = options.nanoseconds ?? true;
  for (const name of ["boot", "sysroot"]) {
    const directory = lookupDirectory(tree.root, name);
    clear(directory, nanoseconds ? { mtimeSec, mtimeNsec } : { mtimeSec });
  }
}

function timesOf(stat: Stat): Pick<Stat, "mtimeSec" | "mtimeNsec"> {
  return { mtimeSec: stat.mtimeSec, mtimeNsec: stat.mtimeNsec };
}

function clear(directory: Directory, times: Partial<Pick<Stat, "mtimeSec" | "mtimeNsec">>): void {
  directory.stat = { ...directory.stat, ...times };
  directory.entries.clear();
}

/** Drops all extended attributes (`mkcomposefs --skip-xattrs`). */
export function dropXattrs(tree: FileTree): void {
  filterXattrs(tree, () => false);
}

/** Drops all extended attributes but `user.*` (`mkcomposefs --user-xattrs`). */
export function keepUserXattrs(tree: FileTree): void {
  filterXattrs(tree, (name) => name.startsWith(USER_PREFIX));
}

/** Sets every modification time to 0 (`mkcomposefs --use-epoch`). */
export function useEpoch(tree: FileTree): void {
  forEachNode(tree, (node) => {
    const { mtimeSec, mtimeNsec } = node.stat;
    if (mtimeSec !== 0n || mtimeNsec !== 0) {
      node.stat = { ...node.stat, mtimeSec: 0n, mtimeNsec: 0 };
    }
  });
}

/** Removes block and character devices, whiteouts too (`mkcomposefs --skip-devices`). */
export function skipDevices(tree: FileTree): void {
  forEachNode(tree, (node) => {
    if (node.kind !== "directory") return;
    for (const [name, entry] of node.entries) {
      if (entry.kind === "directory") continue;
      if (entry.content.type === "block" || entry.content.type === "char") {
        node.entries.delete(name);
      }
    }
  });
}
