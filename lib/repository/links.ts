/** Symbolic links between a repository's categories (spec: repository 2.1, 2.2). */
import {
  type Fd,
  isErrno,
  mkdirAt,
  type PathArg,
  readlinkAt,
  renameAt,
  symlinkAt,
  unlinkAt,
} from "../../ffi/mod.ts";
import { ConflictError } from "../base/mod.ts";
import { randomName } from "./names.ts";

/** Prefix of temporary links in the repository's root. */
export const TMP_LINK_PREFIX = ".symlink-";

/** Text of a link at `link` that leads to `target`, both relative to the repository. */
export function relativeLink(link: string, target: string): string {
  const parents = link.split("/").slice(0, -1);
  const parts = target.split("/");
  let common = 0;
  while (common < parents.length && common < parts.length && parents[common] === parts[common]) {
    common++;
  }
  return [...parents.slice(common).map(() => ".."), ...parts.slice(common)].join("/");
}

/**
 * Makes the link at `link` lead to `target`, replacing another one in one step, with the parent
 * directories that are missing.
 *
 * @returns whether anything changed
 * @throws {ConflictError} when a parent of the link is itself a reference
 */
export function placeLink(root: Fd, link: string, target: string): boolean {
  makeParents(root, link);
  const text = relativeLink(link, target);
  try {
    symlinkAt(text, root, link);
    return true;
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
  }
  const found = readLinkText(root, link);
  if (found === text) return false;
  if (found === undefined) {
    throw new ConflictError(
      `Cannot make ${link}: a directory of references, or a file, has that name`,
    );
  }
  for (let tries = 0;; tries++) {
    const temporary = TMP_LINK_PREFIX + randomName();
    try {
      symlinkAt(text, root, temporary);
    } catch (error) {
      if (tries < 16 && isErrno(error, "EEXIST")) continue;
      throw error;
    }
    try {
      renameAt(root, temporary, root, link);
      return true;
    } catch (error) {
      unlinkAt(root, temporary);
      throw error;
    }
  }
}

/** Text of a symbolic link; `undefined` when it is missing or no link. */
export function readLinkText(root: Fd, path: PathArg): string | undefined {
  try {
    const bytes = readlinkAt(root, path);
    return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
  } catch (error) {
    if (isErrno(error, "EINVAL", "ENOTDIR")) return undefined;
    throw error;
  }
}

function makeParents(root: Fd, link: string): void {
  const parts = link.split("/").slice(0, -1);
  for (let i = 1; i <= parts.length; i++) {
    const parent = parts.slice(0, i).join("/");
    try {
      if (!mkdirAt(root, parent, 0o755) && i > 2 && readLinkText(root, parent) !== undefined) {
        throw new ConflictError(`Cannot make ${link}: ${parent} is a reference, not a directory`);
      }
    } catch (error) {
      if (!isErrno(error, "ENOTDIR")) throw error;
      throw new ConflictError(`Cannot make ${link}: ${parent} is below a reference`, {
        cause: error,
      });
    }
  }
}
