/** The objects that a commit needs, each once, with a path that leads to it. */
import { type ByteString, ComposefsError, FormatError } from "../base/mod.ts";
import type { Checksum } from "./checksum.ts";
import type { CommitEntry } from "./commit_chunk.ts";
import { parseCommit } from "./commit_object.ts";
import type { EntryLookup } from "./commit_tree.ts";
import { parseDirTree } from "./dirtree.ts";
import type { ObjectKind } from "./object_kind.ts";

/** An object that a commit needs. */
export interface ReachableObject {
  /** Its kind. */
  readonly kind: ObjectKind;
  /** Its checksum. */
  readonly checksum: Checksum;
  /** A path that leads to it; empty for the commit. */
  readonly path: ByteString;
  /** What is stored of it; undefined when it is missing. */
  readonly entry: CommitEntry | undefined;
}

/**
 * Walks over a commit: the commit object first, then directory by directory. Trees that cannot be
 * parsed are given out, but not walked into.
 */
export function* reachableObjects(
  commit: Checksum,
  lookup: EntryLookup,
): Generator<ReachableObject, void, undefined> {
  const seen = new Set<Checksum>([commit]);
  const root = lookup(commit);
  yield { kind: "commit", checksum: commit, path: "", entry: root };
  const parsed = root === undefined ? undefined : tolerant(() => parseCommit(root.data));
  if (parsed === undefined) return;
  const pending: { tree: Checksum; meta: Checksum; path: ByteString }[] = [
    { tree: parsed.rootTree, meta: parsed.rootMeta, path: "/" },
  ];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { tree, meta, path } = next;
    if (!seen.has(meta)) {
      seen.add(meta);
      yield { kind: "dirmeta", checksum: meta, path, entry: lookup(meta) };
    }
    if (seen.has(tree)) continue;
    seen.add(tree);
    const entry = lookup(tree);
    yield { kind: "dirtree", checksum: tree, path, entry };
    const entries = entry === undefined ? undefined : tolerant(() => parseDirTree(entry.data));
    if (entries === undefined) continue;
    const below = path === "/" ? "/" : `${path}/`;
    for (const { name, checksum } of entries.files) {
      if (seen.has(checksum)) continue;
      seen.add(checksum);
      yield { kind: "file", checksum, path: below + name, entry: lookup(checksum) };
    }
    for (const dir of entries.dirs) {
      pending.push({ tree: dir.tree, meta: dir.meta, path: below + dir.name });
    }
  }
}

function tolerant<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    // Whoever checks the object itself reports it.
    if (error instanceof FormatError || error instanceof ComposefsError) return undefined;
    throw error;
  }
}
