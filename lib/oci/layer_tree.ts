import type { ByteString } from "../base/mod.ts";
import { ComposefsError, displayByteString, FormatError } from "../base/mod.ts";
import type { TarEntry } from "../tar/mod.ts";
import {
  containerRootTransform,
  Directory,
  type FileTree,
  filterContainerXattrs,
  Leaf,
  lookupLeaf,
  mergeEntry,
  NO_XATTRS,
  type Node,
  type Stat,
  type XattrMode,
} from "../tree/mod.ts";

const WHITEOUT_PREFIX: ByteString = ".wh.";
const OPAQUE_NAME: ByteString = ".wh..wh..opq";
/** Linux cannot reach anything deeper, and missing parents would make a tree grow without bound. */
const MAX_DEPTH = 4096;

/** Stat of a directory that no layer has an entry for (spec: oci 3.5). */
const IMPLICIT_STAT: Readonly<Stat> = {
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtimeSec: 0n,
  mtimeNsec: 0,
  xattrs: NO_XATTRS,
};

/** Options of {@linkcode LayerTreeBuilder}. */
export interface LayerTreeOptions {
  /** Receives what is odd but allowed, one line of text each. */
  readonly warning?: (text: string) => void;
}

/** Options of {@linkcode LayerTreeBuilder.finish}. */
export interface FinishTreeOptions {
  /**
   * Which extended attributes stay.
   *
   * @default {"allowlist-only"}
   */
  readonly xattrs?: XattrMode;
}

/** Where an entry goes: the directory and the name in it. */
interface Place {
  /** The directory; `undefined` when it does not exist and the name is a whiteout. */
  readonly parent: Directory | undefined;
  readonly name: ByteString;
}

function quoted(name: ByteString): string {
  return `"${displayByteString(name)}"`;
}

function fail(message: string): FormatError {
  return new FormatError("layer", message);
}

/**
 * Puts the layers of an image on top of each other (spec: oci 3). Whiteouts act on the tree as it is
 * at that moment, so they hide earlier entries of their own layer too, as the reference does.
 * Missing parent directories are made.
 */
export class LayerTreeBuilder {
  readonly #tree: FileTree = { root: new Directory({ ...IMPLICIT_STAT }) };
  readonly #warning: ((text: string) => void) | undefined;
  #layer = "";
  /** Names the current layer added, or added something below, by directory. */
  #added = new Map<Directory, Set<ByteString>>();
  #lastPath: ByteString | undefined;
  #lastParent: Directory | undefined;

  /** Starts with an empty root. */
  constructor(options: LayerTreeOptions = {}) {
    this.#warning = options.warning;
  }

  /** The tree as built so far, without the transformation that images get. */
  get tree(): FileTree {
    return this.#tree;
  }

  /**
   * Applies the entries of the next layer, oldest layer first.
   *
   * @param entries in the order of the tar stream
   * @param layerName the layer's diff_id, for messages
   * @throws {FormatError} naming layer, entry and reason; also what iterating the entries throws
   */
  applyLayer(entries: Iterable<TarEntry>, layerName: string): void {
    this.#layer = layerName;
    this.#added = new Map();
    this.#forget();
    for (const entry of entries) {
      try {
        this.#apply(entry);
      } catch (error) {
        if (!(error instanceof ComposefsError)) throw error;
        const where = `Error unpacking layer ${layerName}: entry ${quoted(entry.path)}`;
        throw new FormatError("layer", `${where}: ${error.message}`, { cause: error });
      }
    }
  }

  /**
   * Gives the root the metadata of `/usr`, empties `/run` and filters the extended attributes
   * (spec: oci 3.2). Without a usable `/usr` the root keeps the metadata a layer gave it, and a
   * `/run` that is no directory stays (spec: oci 3.5).
   */
  finish(options: FinishTreeOptions = {}): FileTree {
    const tree = this.#tree;
    const xattrs = options.xattrs ?? "allowlist-only";
    const usr = tree.root.entries.get("usr");
    const run = tree.root.entries.get("run");
    if (usr?.kind === "directory" && run?.kind !== "leaf") {
      containerRootTransform(tree, { xattrs });
      return tree;
    }
    if (usr?.kind === "directory") tree.root.stat = { ...usr.stat };
    const { mtimeSec, mtimeNsec } = tree.root.stat;
    if (run?.kind === "directory") {
      run.stat = { ...run.stat, mtimeSec, mtimeNsec };
      run.entries.clear();
    }
    filterContainerXattrs(tree, xattrs);
    return tree;
  }

  #apply(entry: TarEntry): void {
    const { path, item, stat } = entry;
    const place = this.#place(path);
    if (place === undefined) {
      if (item.type !== "directory") {
        throw fail(`Unpacking layer tar: filename ${quoted(path)} must be a directory`);
      }
      this.#tree.root.stat = stat;
      return;
    }
    const { parent, name } = place;
    // A link's target must exist even when its own name is a whiteout.
    const node: Node = item.type === "hardlink"
      ? lookupLeaf(this.#tree.root, item.target)
      : item.type === "directory"
      ? new Directory(stat)
      : new Leaf(stat, item);
    // There is nothing to hide in a directory that does not exist.
    if (parent === undefined) return;
    if (name.startsWith(WHITEOUT_PREFIX)) {
      this.#whiteout(path, { parent, name });
      return;
    }
    if (parent.entries.get(name)?.kind === "directory" && node.kind === "leaf") this.#forget();
    mergeEntry(parent, name, { node });
    this.#names(parent).add(name);
  }

  /** Forgets the last parent: it may not be in the tree any more. */
  #forget(): void {
    this.#lastPath = undefined;
    this.#lastParent = undefined;
  }

  #names(directory: Directory): Set<ByteString> {
    let names = this.#added.get(directory);
    if (names === undefined) {
      names = new Set();
      this.#added.set(directory, names);
    }
    return names;
  }

  /** Removes what a whiteout names; nothing there is fine. */
  #whiteout(path: ByteString, { parent, name }: { parent: Directory; name: ByteString }): void {
    const added = this.#added.get(parent);
    if (name === OPAQUE_NAME) {
      if (added !== undefined && added.size > 0) this.#warnWhiteout(path, added);
      added?.clear();
      parent.entries.clear();
    } else {
      const target = name.slice(WHITEOUT_PREFIX.length);
      if (!parent.entries.delete(target)) return;
      if (added?.delete(target)) this.#warnWhiteout(path, [target]);
    }
    this.#forget();
  }

  #warnWhiteout(path: ByteString, names: Iterable<ByteString>): void {
    if (this.#warning === undefined) return;
    const [first, ...others] = names;
    const more = others.length === 0 ? "" : ` and ${others.length} more`;
    this.#warning(
      `Layer ${this.#layer}: whiteout ${quoted(path)} removes ${quoted(first!)}${more}` +
        ` added by the same layer`,
    );
  }

  /** Finds the directory and the name of a path; `undefined` for the root. */
  #place(path: ByteString): Place | undefined {
    const slash = path.lastIndexOf("/");
    const name = path.slice(slash + 1);
    const parentPath = path.slice(0, Math.max(slash, 0));
    // Names that mean nothing or something else need the whole path to be looked at.
    if (name !== "" && name !== "." && name !== "..") {
      checkName(name);
      if (parentPath === this.#lastPath) return { parent: this.#lastParent, name };
      const whiteout = name.startsWith(WHITEOUT_PREFIX);
      const parent = this.#directory(components(parentPath), whiteout);
      // The way to a whiteout does not count as added: the next entry has to walk it again.
      if (!whiteout) {
        this.#lastPath = parentPath;
        this.#lastParent = parent;
      }
      return { parent, name };
    }
    const parts = components(path);
    const last = parts.pop();
    if (last === undefined) return undefined;
    return { parent: this.#directory(parts, last.startsWith(WHITEOUT_PREFIX)), name: last };
  }

  /** Walks to a directory; makes what is missing, unless the way leads to a whiteout. */
  #directory(parts: readonly ByteString[], whiteout: boolean): Directory | undefined {
    let current = this.#tree.root;
    const chain: Directory[] = [current];
    for (const part of parts) {
      let node = current.entries.get(part);
      if (node === undefined) {
        if (whiteout) return undefined;
        node = new Directory({ ...IMPLICIT_STAT });
        current.entries.set(part, node);
      }
      if (node.kind !== "directory") {
        throw fail(`Directory entry ${quoted(part)} is not a subdirectory`);
      }
      current = node;
      chain.push(current);
    }
    // A directory that gets something from this layer counts as added, up to the root.
    if (!whiteout) {
      for (let i = parts.length - 1; i >= 0; i--) {
        const names = this.#names(chain[i]!);
        if (names.has(parts[i]!)) break;
        names.add(parts[i]!);
      }
    }
    return current;
  }
}

function checkName(name: ByteString): void {
  if (name.includes("\0")) throw fail(`Invalid filename ${quoted(name)}: it holds a NUL byte`);
}

/** The components of a path; empty ones and `.` mean nothing, `..` is refused. */
function components(path: ByteString): ByteString[] {
  const out: ByteString[] = [];
  let start = 0;
  while (start < path.length) {
    let end = path.indexOf("/", start);
    if (end < 0) end = path.length;
    const part = path.slice(start, end);
    start = end + 1;
    if (part === "" || part === ".") continue;
    if (part === "..") throw fail(`Invalid filename ${quoted(path.slice(0, end))}`);
    checkName(part);
    if (out.length === MAX_DEPTH) throw fail(`Path has more than ${MAX_DEPTH} components`);
    out.push(part);
  }
  return out;
}
