/** Who needs damaged and missing objects: images with a path, streams, and the names of both. */
import { ComposefsError, displayByteString, type ObjectId } from "../base/mod.ts";
import { findObjectUsers } from "../erofs/mod.ts";
import type { RepositoryState } from "./_state.ts";
import { entryObject, listEntries } from "./entries.ts";
import type { AffectedUser } from "./fsck_report.ts";
import { readImage } from "./images.ts";
import { type Category, walkRefs } from "./refs.ts";
import { openStreamObject } from "./streams.ts";

/** An entry of `images/` or `streams/`. */
interface Entry {
  /** Path relative to the repository. */
  readonly path: string;
  /** Its object. */
  readonly id: ObjectId;
}

/** The images and streams that need the damaged and missing objects, images first. */
export function findAffected(
  state: RepositoryState,
  broken: ReadonlySet<ObjectId>,
): AffectedUser[] {
  const found: Omit<AffectedUser, "refs">[] = [];
  const names = new Names();
  for (const category of ["images", "streams"] as const) {
    for (const item of walkRefs(state.root, category)) {
      if ("name" in item) {
        names.addRef(`${category}/${item.entry}`, `${category}/refs/${item.name}`);
      }
    }
    for (const entry of readableEntries(state, category)) {
      names.addEntry(entry);
      if (broken.has(entry.id)) found.push({ object: entry.id, user: entry.path });
      try {
        if (category === "images") found.push(...imageUsers(state, entry, broken));
        else found.push(...streamUsers(state, entry, { broken, names }));
      } catch (error) {
        // Cannot be read: it has an error of its own in the report.
        if (!(error instanceof ComposefsError)) throw error;
      }
    }
  }
  return found.map((item) => ({ ...item, refs: names.refsOf(item.user) }));
}

function* readableEntries(state: RepositoryState, category: Category): Generator<Entry> {
  for (const { name, isLink } of listEntries(state.root, category)) {
    if (!isLink) continue;
    try {
      const id = entryObject(state, category, name);
      if (id !== undefined) yield { path: `${category}/${name}`, id };
    } catch (error) {
      // Leads to no object: it has an error of its own in the report.
      if (!(error instanceof ComposefsError)) throw error;
    }
  }
}

function* imageUsers(
  state: RepositoryState,
  entry: Entry,
  broken: ReadonlySet<ObjectId>,
): Generator<Omit<AffectedUser, "refs">> {
  for (const [object, path] of findObjectUsers(readImage(state, entry.id), broken)) {
    yield { object, user: entry.path, path: displayByteString(path) };
  }
}

function* streamUsers(
  state: RepositoryState,
  entry: Entry,
  context: { broken: ReadonlySet<ObjectId>; names: Names },
): Generator<Omit<AffectedUser, "refs">> {
  const { broken, names } = context;
  const stream = openStreamObject(state, entry.id);
  for (const object of stream.objectRefs) {
    if (broken.has(object)) yield { object, user: entry.path };
  }
  for (const object of stream.streamRefs) {
    names.addParent(object, entry.path);
    if (broken.has(object)) yield { object, user: entry.path };
  }
}

/** The references that lead to entries, directly or by way of streams that name them. */
class Names {
  readonly #refs = new Map<string, string[]>();
  readonly #objects = new Map<string, ObjectId>();
  readonly #parents = new Map<ObjectId, string[]>();

  addRef(entry: string, ref: string): void {
    append(this.#refs, entry, ref);
  }

  addEntry({ path, id }: Entry): void {
    this.#objects.set(path, id);
  }

  addParent(object: ObjectId, stream: string): void {
    append(this.#parents, object, stream);
  }

  /** Paths of all references by which something is reached, sorted. */
  refsOf(entry: string): string[] {
    const refs = new Set<string>();
    const seen = new Set([entry]);
    // A set that grows while it is walked: each entry once, however the streams name each other.
    for (const path of seen) {
      for (const ref of this.#refs.get(path) ?? []) refs.add(ref);
      const id = this.#objects.get(path);
      for (const parent of (id && this.#parents.get(id)) ?? []) seen.add(parent);
    }
    return [...refs].sort();
  }
}

function append<K>(map: Map<K, string[]>, key: K, value: string): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
