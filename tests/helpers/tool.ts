/**
 * Finding the peers' tools: the reference `cfsctl` through the variable `CFSCTL` or the search
 * path, everything else on the search path.
 *
 * @module
 */
import { cacheDir } from "./cache.ts";

/** Names under which the reference's one program is several tools. */
const PERSONALITIES = new Set(["mkcomposefs", "composefs-info", "mount.composefs"]);

// Administrators' tools are not on an ordinary user's path.
const EXTRA_DIRS = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

function isExecutable(path: string): boolean {
  try {
    const info = Deno.statSync(path);
    return info.isFile && ((info.mode ?? 0) & 0o111) !== 0;
  } catch (error) {
    // What is absent or out of reach cannot be run; that is the answer.
    if (error instanceof Deno.errors.NotFound) return false;
    if (error instanceof Deno.errors.PermissionDenied) return false;
    if (error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}

/** The program linked under another name in the cache; Deno cannot set `argv[0]` by itself. */
function personality(program: string, name: string): string {
  const dir = cacheDir("peers");
  const link = `${dir}/${name}`;
  const temporary = `${dir}/.${name}.${Deno.pid}`;
  if (linkTarget(link) === program) return link;
  Deno.symlinkSync(program, temporary);
  Deno.renameSync(temporary, link);
  return link;
}

function linkTarget(link: string): string | undefined {
  try {
    return Deno.readLinkSync(link);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Where a peer's tool is.
 *
 * `cfsctl`, `mkcomposefs`, `composefs-info` and `mount.composefs` are the reference's program (its
 * Rust implementation); the C tools of the same names are not looked for.
 *
 * @param name Name of the program.
 * @returns Its path, or undefined when it is not installed.
 */
export function findTool(name: string): string | undefined {
  if (name === "cfsctl" || PERSONALITIES.has(name)) {
    const named = Deno.env.get("CFSCTL");
    const program = named ? Deno.realPathSync(named) : searchPath("cfsctl");
    if (program === undefined || name === "cfsctl") return program;
    return personality(program, name);
  }
  return searchPath(name);
}

function searchPath(name: string): string | undefined {
  const dirs = (Deno.env.get("PATH") ?? "").split(":").filter((dir) => dir.startsWith("/"));
  return [...dirs, ...EXTRA_DIRS].map((dir) => `${dir}/${name}`).find(isExecutable);
}

/**
 * Whether a peer's tool is installed.
 *
 * @param name Name of the program.
 */
export function present(name: string): boolean {
  return findTool(name) !== undefined;
}

/**
 * The path of a peer's tool that must be there.
 *
 * @param name Name of the program.
 * @throws Error when it is not installed.
 */
export function tool(name: string): string {
  const path = findTool(name);
  if (path === undefined) throw new Error(`Cannot find the program "${name}"`);
  return path;
}
