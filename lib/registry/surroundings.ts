/** What of the user and the machine decides about registries: variables, directories. */
import { withContext } from "../base/mod.ts";

/** Where files of the user and the machine are looked for. */
export interface Surroundings {
  /** Value of an environment variable; `undefined` when it is not set or empty. */
  variable(name: string): string | undefined;
  /** Number of the user. */
  readonly uid: number;
  /** What stands before absolute paths of the machine, such as `/etc`; empty for the real ones. */
  readonly root: string;
}

/** Those of the process. */
export function defaultSurroundings(): Surroundings {
  return {
    variable: (name) => Deno.env.get(name) || undefined,
    uid: Deno.uid() ?? 0,
    root: "",
  };
}

/** The user's home; `undefined` when there is none. */
export function homeOf(surroundings: Surroundings): string | undefined {
  return surroundings.variable("HOME");
}

/** Where the user's programs have their configuration; `undefined` when there is no home. */
export function configHomeOf(surroundings: Surroundings): string | undefined {
  const home = homeOf(surroundings);
  return surroundings.variable("XDG_CONFIG_HOME") ??
    (home === undefined ? undefined : `${home}/.config`);
}

/**
 * Reads a text file; `undefined` when it is not there.
 *
 * @throws {ComposefsError} when it is there and cannot be read
 */
export function readOptional(path: string): string | undefined {
  return ifThere(path, () => Deno.readTextFileSync(path));
}

/**
 * Names of the files in a directory, sorted by bytes; none when it is not there.
 *
 * @throws {ComposefsError} when it is there and cannot be read
 */
export function listOptional(dir: string): string[] {
  const entries = ifThere(dir, () => [...Deno.readDirSync(dir)]) ?? [];
  const names = entries.filter((one) => !one.isDirectory).map((one) => one.name);
  return names.sort((a, b) => a < b ? -1 : a > b ? 1 : 0);
}

function ifThere<T>(path: string, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    // What is not there says nothing, as documented.
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw withContext(`Reading ${path}`, error);
  }
}
