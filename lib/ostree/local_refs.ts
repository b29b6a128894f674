/** Refs of local repositories, and commits by the beginnings of their ids (spec: ostree 3.1). */
import { DT, type Fd, isErrno, O, openAt2, openDir, readDir, RESOLVE } from "../../ffi/mod.ts";
import { type Checksum, isChecksum, parseChecksum } from "./checksum.ts";
import type { CommitTag } from "./commit_names.ts";
import { checkRef } from "./ref_names.ts";
import { readSmall } from "./small_file.ts";

const MAX_REF = 4096;

/** The refs of a repository. */
export class LocalRefs {
  readonly #root: Fd;

  /** Takes the descriptor of the repository's directory, which stays the caller's. */
  constructor(root: Fd) {
    this.#root = root;
  }

  /** The commit that a ref leads to: a path below `refs` or `refs/heads`, or `REMOTE:REF`. */
  read(name: string): Checksum | undefined {
    const remote = /^([\w\d][-._\w\d]*):(.*)$/.exec(name);
    checkRef(remote === null ? name : remote[2]!);
    const paths = remote === null
      ? [`refs/${name}`, `refs/heads/${name}`]
      : [`refs/remotes/${remote[1]}/${remote[2]}`];
    for (const path of paths) {
      const text = readSmall(this.#root, path, MAX_REF);
      if (text !== undefined) return parseChecksum(text.trim());
    }
    return undefined;
  }

  /** All refs below `refs/heads` by their names, the others as `REMOTE:REF` or paths, sorted. */
  list(): CommitTag[] {
    const out: CommitTag[] = [];
    const pending = ["refs"];
    for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
      for (const { name, type } of this.#entries(path)) {
        const below = `${path}/${name}`;
        if (type === DT.DIR) pending.push(below);
        if (type === DT.DIR || name.startsWith(".")) continue;
        const text = readSmall(this.#root, below, MAX_REF)?.trim();
        if (text !== undefined && isChecksum(text)) {
          out.push({ name: refName(below), commit: text });
        }
      }
    }
    return out.sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  }

  #entries(path: string): readonly { name: string; type: number }[] {
    try {
      const flags = O.RDONLY | O.DIRECTORY;
      using fd = openAt2(this.#root, path, { flags, resolve: RESOLVE.BENEATH });
      return readDir(fd);
    } catch (error) {
      if (isErrno(error, "ENOENT", "ENOTDIR")) return [];
      throw error;
    }
  }
}

/** The commits in `objects/` whose ids begin with a text. */
export function commitsByPrefix(objects: Fd, prefix: string): Checksum[] {
  const out = new Set<Checksum>();
  const suffix = ".commit";
  const dirs = prefix.length >= 2
    ? [prefix.slice(0, 2)]
    : Array.from({ length: 16 }, (_, i) => prefix + i.toString(16));
  for (const dir of dirs) {
    let names;
    try {
      using fd = openDir(objects, dir);
      names = readDir(fd);
    } catch (error) {
      if (isErrno(error, "ENOENT", "ENOTDIR")) continue;
      throw error;
    }
    for (const { name } of names) {
      const id = dir + name.slice(0, -suffix.length);
      if (name.endsWith(suffix) && id.startsWith(prefix) && isChecksum(id)) out.add(id);
    }
  }
  return [...out];
}

/** The name of a ref as users write it, by its path. */
function refName(path: string): string {
  const local = /^refs\/heads\/(.*)$/.exec(path);
  if (local !== null) return local[1]!;
  const remote = /^refs\/remotes\/([^/]+)\/(.*)$/.exec(path);
  return remote === null ? path.slice("refs/".length) : `${remote[1]}:${remote[2]}`;
}
