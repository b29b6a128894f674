import type { ByteString } from "../base/mod.ts";
import { type Directory, Leaf, NO_XATTRS, type TreeNotes, whiteoutLinkError } from "../tree/mod.ts";
import { DumpfileError } from "./error.ts";
import { PathFault, type PathResolver, quotedPath } from "./paths.ts";

/** A hard link whose target was not there yet. */
interface Pending {
  readonly directory: Directory;
  readonly name: ByteString;
  readonly target: ByteString;
  readonly placeholder: Leaf;
  readonly line: number;
}

/** Resolves the hard links of a dumpfile, to earlier lines at once, to later ones at the end. */
export class HardlinkResolver {
  readonly #paths: PathResolver;
  readonly #notes: TreeNotes | undefined;
  readonly #pending: Map<Leaf, Pending> = new Map();

  /** Creates a resolver; with `notes` it records which name was written in full. */
  constructor(paths: PathResolver, notes: TreeNotes | undefined) {
    this.#paths = paths;
    this.#notes = notes;
  }

  /**
   * Finds the leaf for a new name.
   *
   * @param link where the link is, its canonical target and its line, counted from 1
   * @returns the target, or a placeholder that {@linkcode HardlinkResolver.finish} replaces
   * @throws {PathFault} when the target is a directory
   * @throws {FormatError} when the target is a whiteout
   */
  leafFor(
    link: { directory: Directory; name: ByteString; target: ByteString; line: number },
  ): Leaf {
    const found = this.#find(link.target);
    if (found !== undefined && !this.#pending.has(found.leaf)) {
      this.#linked(found.leaf, found);
      return found.leaf;
    }
    const stat = { mode: 0, uid: 0, gid: 0, mtimeSec: 0n, mtimeNsec: 0, xattrs: NO_XATTRS };
    const placeholder = new Leaf(stat, { type: "fifo" });
    this.#pending.set(placeholder, { ...link, placeholder });
    return placeholder;
  }

  /**
   * Replaces the placeholders.
   *
   * @throws {DumpfileError} for a target that does not exist, or links that lead to themselves
   * @throws {FormatError} when a target is a whiteout
   */
  finish(): void {
    const resolved = new Map<Leaf, Leaf>();
    for (const start of this.#pending.values()) {
      const chain: Pending[] = [];
      const onChain = new Set<Leaf>();
      let end: Leaf | undefined;
      for (let link = start; end === undefined;) {
        if (onChain.has(link.placeholder)) throw fault(link, "Self-referential hardlink");
        onChain.add(link.placeholder);
        chain.push(link);
        const found = this.#find(link.target, link);
        if (found === undefined) throw fault(link, "Hardlink target not found:");
        const next = this.#pending.get(found.leaf);
        end = next === undefined ? found.leaf : resolved.get(found.leaf);
        if (next === undefined) this.#linked(found.leaf, found);
        else if (end === undefined) link = next;
      }
      for (const link of chain) resolved.set(link.placeholder, end);
    }
    // Only now: until here a placeholder in the tree says that its name is a link.
    for (const { directory, name, placeholder } of this.#pending.values()) {
      directory.entries.set(name, resolved.get(placeholder)!);
    }
  }

  #find(
    target: ByteString,
    link?: Pending,
  ): { leaf: Leaf; directory: Directory; name: ByteString } | undefined {
    const directory = this.#paths.resolve(target, false);
    const name = this.#paths.name;
    const node = directory?.entries.get(name);
    if (name !== "" && (directory === undefined || node === undefined)) return undefined;
    if (directory === undefined || node === undefined || node.kind === "directory") {
      if (link !== undefined) throw fault(link, "Hardlink target is a directory:");
      throw new PathFault(`Hardlink target is a directory: ${quotedPath(target)}`);
    }
    return { leaf: node, directory, name };
  }

  /** The first name that is linked to is the one that was written in full. */
  #linked(leaf: Leaf, at: { directory: Directory; name: ByteString }): void {
    if (leaf.isWhiteout) throw whiteoutLinkError();
    if (this.#notes === undefined) return;
    const notes = this.#notes.get(leaf) ?? {};
    if (notes.ownerDirectory !== undefined) return;
    notes.ownerDirectory = at.directory;
    notes.ownerName = at.name;
    this.#notes.set(leaf, notes);
  }
}

function fault(link: Pending, reason: string): DumpfileError {
  return new DumpfileError(`${reason} ${quotedPath(link.target)}`, {
    line: link.line,
    text: link.name,
  });
}
