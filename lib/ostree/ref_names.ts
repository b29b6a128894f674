/** Names of refs and commits as users write them (spec: ostree 3.1). */
import { InvalidNameError } from "../base/mod.ts";

/** Most `^` after a name. */
const MAX_PARENTS = 1024;

/** A name split into what it names and how many parents to go back. */
export interface Revision {
  /** Ref, commit id or prefix of one. */
  readonly name: string;
  /** Number of `^` behind it. */
  readonly parents: number;
}

/**
 * Splits a revision.
 *
 * @throws {InvalidNameError} for too many parents
 */
export function parseRevision(text: string): Revision {
  const name = text.replace(/\^+$/, "");
  const parents = text.length - name.length;
  if (parents > MAX_PARENTS) throw new InvalidNameError(`Invalid revision: ${parents} times '^'`);
  return { name, parents };
}

/** Whether `text` is the beginning of a commit id. */
export function isCommitPrefix(text: string): boolean {
  return /^[0-9a-f]{1,64}$/.test(text);
}

/**
 * Checks a ref as a path below `refs/`, or below `refs/heads/`.
 *
 * @throws {InvalidNameError} for empty, absolute or dangerous names
 */
export function checkRef(name: string): void {
  const bad = name === "" || name.length > 4096 || name.includes("\0") || !name.isWellFormed() ||
    name.split("/").some((part) => part === "" || part === "." || part === "..");
  if (bad) throw new InvalidNameError(`Invalid refspec ${name.slice(0, 300)}`);
}

/** The name that commits are bound to, of a ref that may be named with where it is kept. */
export function boundName(ref: string): string {
  return ref.replace(/^(?:[^/:]+:|heads\/|(?:remotes|mirrors)\/[^/]+\/)/, "");
}
