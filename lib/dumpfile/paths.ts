import { type ByteString, displayByteString } from "../base/mod.ts";
import type { Directory } from "../tree/mod.ts";

/** A fault in a path; the parser adds the line. */
export class PathFault extends Error {}

const PATH_MAX = 4096;
/** Longest name that a directory of the image can hold, in bytes. */
const NAME_MAX = 255;

/** Quotes a path for a message. */
export function quotedPath(path: ByteString): string {
  return `"${displayByteString(path)}"`;
}

/**
 * Finds where paths lead in the tree that is being built. Directories are never replaced, so the
 * table of their paths stays right; the last one is kept apart, since most lines share it.
 */
export class PathResolver {
  readonly #lenient: boolean;
  readonly #directories: Map<ByteString, Directory> = new Map();
  #lastPath: ByteString = "";
  #last: Directory | undefined;
  /** Canonical form of the path last resolved; `/` for the root. */
  path: ByteString = "";
  /** Its last component; empty for the root. */
  name: ByteString = "";

  /** Creates a resolver; `lenient` accepts relative paths and empty components, as C does. */
  constructor(dialect: "rs" | "c") {
    this.#lenient = dialect === "c";
  }

  /** Adds a directory under its canonical path; the root's is empty. */
  add(path: ByteString, directory: Directory): void {
    this.#directories.set(path, directory);
    this.#lastPath = path;
    this.#last = directory;
  }

  /**
   * Finds the directory that holds a path, and leaves the path and its last component in
   * {@linkcode PathResolver.path} and {@linkcode PathResolver.name}.
   *
   * @param plain whether the path is known to have no NUL
   * @returns `undefined` for the root, or when there is no such directory
   * @throws {PathFault} in the reference's words when the path itself is wrong (spec: erofs 2.1)
   */
  resolve(path: ByteString, plain: boolean): Directory | undefined {
    const slash = path.lastIndexOf("/");
    const length = path.length - slash - 1;
    // Below a known directory only the last component is left to be checked.
    if (plain && slash >= 0 && length > 2 && length <= NAME_MAX && path.length <= PATH_MAX) {
      const directory = this.#locate(path, slash);
      if (directory !== undefined) return directory;
    }
    const canonical = this.#canonical(path);
    if (canonical !== "/") return this.#locate(canonical, canonical.lastIndexOf("/"));
    this.path = canonical;
    this.name = "";
    return undefined;
  }

  #locate(path: ByteString, slash: number): Directory | undefined {
    this.path = path;
    this.name = path.substring(slash + 1);
    const lastPath = this.#lastPath;
    if (lastPath.length === slash && path.startsWith(lastPath)) return this.#last;
    const key = path.substring(0, slash);
    const directory = this.#directories.get(key);
    if (directory !== undefined) {
      this.#lastPath = key;
      this.#last = directory;
    }
    return directory;
  }

  #canonical(path: ByteString): ByteString {
    if (path === "") throw new PathFault("Invalid empty path");
    if (path.includes("\0")) throw new PathFault("Invalid embedded NUL");
    if (path === "/") return path;
    let whole = path;
    if (this.#lenient) {
      if (path.endsWith("/") && /[^/]/.test(path)) {
        throw new PathFault(`Parent directory missing for ${quotedPath(path)}`);
      }
      whole = ("/" + path).replace(/\/+/g, "/");
      if (whole === "/") return whole;
    } else {
      if (path.length > PATH_MAX) throw new PathFault(`Path is too long: ${path.length} bytes`);
      if (!path.startsWith("/")) throw new PathFault("Invalid non-absolute path");
    }
    for (let at = 0; at < whole.length;) {
      let next = whole.indexOf("/", at + 1);
      if (next < 0) next = whole.length;
      const length = next - at - 1;
      if (length === 0) throw new PathFault("Empty path component (// or trailing /)");
      if (length <= 2 && whole[at + 1] === "." && (length === 1 || whole[at + 2] === ".")) {
        throw new PathFault(`Invalid path component '${length === 1 ? "." : ".."}'`);
      }
      if (length > NAME_MAX) throw new PathFault(`File name is too long: ${length} bytes`);
      at = next;
    }
    return whole;
  }

  /** Why {@linkcode PathResolver.resolve} did not find the directory of the last path. */
  missing(): PathFault {
    const parts = this.path.split("/").slice(1, -1);
    let current = this.#directories.get("");
    for (const part of parts) {
      const node = current?.entries.get(part);
      if (node?.kind === "directory") {
        current = node;
        continue;
      }
      const why = node === undefined ? "does not exist" : "is not a subdirectory";
      return new PathFault(
        `Parent directory not found: Directory entry ${quotedPath(part)} ${why}`,
      );
    }
    return new PathFault("Parent directory not found");
  }
}
