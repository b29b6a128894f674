/** What garbage collection keeps: everything that can be reached (spec: repository 8). */
import {
  ComposefsError,
  FormatError,
  NotFoundError,
  type ObjectId,
  withContext,
} from "../base/mod.ts";
import { isErrno, preadFull } from "../../ffi/mod.ts";
import { listObjects } from "../erofs/mod.ts";
import { isSplitstream, SPLITSTREAM_HEAD_SIZE } from "../splitstream/mod.ts";
import type { RepositoryState } from "./_state.ts";
import { entryObject, listEntries } from "./entries.ts";
import { imageDigest, readImage } from "./images.ts";
import { type Category, listRefs, UNREADABLE_DIRECTORY, walkRefs } from "./refs.ts";
import { openStreamObject } from "./streams.ts";

/** What has entries and references. */
export const CATEGORIES: readonly Category[] = ["images", "streams"];

/**
 * Whether an object can be reached; a file in the place of its directory is as good as nothing.
 *
 * @param id The object.
 */
export function objectIsThere(state: RepositoryState, id: ObjectId): boolean {
  try {
    return state.objects.size(id) !== undefined;
  } catch (error) {
    if (isErrno(error, "ENOTDIR")) return false;
    throw error;
  }
}

/** Finds everything that the roots need. */
export class Marker {
  readonly #state: RepositoryState;
  readonly #warnings: string[];
  readonly #live = new Set<ObjectId>();
  readonly #images = new Set<ObjectId>();
  readonly #streams = new Set<ObjectId>();
  /** Objects of the entries of `streams/` and `images/`, to tell what a named reference leads to. */
  readonly #streamObjects = new Set<ObjectId>();
  readonly #imageObjects = new Set<ObjectId>();

  /**
   * Starts with nothing marked.
   *
   * @param warnings Gets what was met and left alone.
   */
  constructor(state: RepositoryState, warnings: string[]) {
    this.#state = state;
    this.#warnings = warnings;
  }

  /**
   * Marks what all references and the roots need.
   *
   * @param stale References to streams that do not count.
   * @yields how many objects are marked, after each reference
   * @returns the objects that are needed
   */
  *mark(
    roots: readonly string[],
    stale: ReadonlySet<string>,
  ): Generator<number, ReadonlySet<ObjectId>, void> {
    this.#index("streams", this.#streamObjects);
    this.#index("images", this.#imageObjects);
    for (const category of CATEGORIES) {
      for (const item of walkRefs(this.#state.root, category)) {
        if (!("name" in item)) {
          if (item.fileType === UNREADABLE_DIRECTORY) {
            throw new ComposefsError(
              "CFS_FAILED",
              `Cannot look for references in ${item.path}, so nothing was removed`,
            );
          }
          this.#warnings.push(`${item.path} is no reference (${item.fileType}); left alone`);
          continue;
        }
        if (category === "streams" && stale.has(item.name)) continue;
        this.#markEntry(category, { entry: item.entry, ref: `${category}/refs/${item.name}` });
        yield this.#live.size;
      }
    }
    for (const root of roots) {
      this.#markRoot(root);
      yield this.#live.size;
    }
    return this.#live;
  }

  #index(category: Category, objects: Set<ObjectId>): void {
    for (const { name, isLink } of listEntries(this.#state.root, category)) {
      if (!isLink) {
        this.#warnings.push(`${category}/${name} is no symbolic link; left alone`);
        continue;
      }
      try {
        const id = entryObject(this.#state, category, name);
        if (id !== undefined) objects.add(id);
      } catch (error) {
        // No object's name is in the link, so nothing is lost; a link that cannot be read is no such.
        if (!(error instanceof FormatError)) throw error;
        this.#warnings.push(`${category}/${name}: ${error.message}`);
      }
    }
  }

  /** A root from the command line: an entry of either category, an image's digest, or a reference. */
  #markRoot(root: string): void {
    let found = false;
    const image = imageDigest(this.#state, root);
    for (const category of CATEGORIES) {
      const entries = new Set(listEntries(this.#state.root, category).map(({ name }) => name));
      const refs = listRefs(this.#state, category);
      const bare = root.startsWith("refs/") ? root.slice("refs/".length) : root;
      const entry = entries.has(root)
        ? root
        : category === "images" && image !== undefined && entries.has(image)
        ? image
        : refs.find((ref) => ref.name === bare)?.entry;
      if (entry === undefined) continue;
      found = true;
      this.#markEntry(category, { entry, ref: `--root ${root}` });
    }
    if (!found) throw new NotFoundError("root", root);
  }

  #markEntry(category: Category, root: { entry: string; ref: string }): void {
    let id: ObjectId | undefined;
    try {
      id = root.entry === "" ? undefined : entryObject(this.#state, category, root.entry);
      if (id === undefined || !objectIsThere(this.#state, id)) {
        this.#warnings.push(`${root.ref} leads nowhere (${root.entry}); it is pruned`);
        return;
      }
      if (category === "images") this.#markImage(id);
      else this.#markStreams(id);
    } catch (cause) {
      throw withContext(
        `Cannot read ${root.ref} (${category}/${root.entry}), so nothing was removed`,
        cause,
      );
    }
  }

  #markImage(id: ObjectId): void {
    this.#live.add(id);
    if (this.#images.has(id)) return;
    this.#images.add(id);
    const image = readImage(this.#state, id);
    for (const object of listObjects(image, { hash: this.#state.algorithm.hash })) {
      this.#live.add(object);
    }
  }

  /** Marks a stream and everything that can be reached from it. */
  #markStreams(first: ObjectId): void {
    const pending = [first];
    for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
      this.#live.add(id);
      if (this.#streams.has(id)) continue;
      this.#streams.add(id);
      const stream = openStreamObject(this.#state, id);
      for (const object of stream.objectRefs) this.#live.add(object);
      const images = new Set<ObjectId>();
      for (const [name, target] of stream.namedRefs) {
        if (name.startsWith("composefs.image")) images.add(target);
      }
      for (const target of stream.streamRefs) {
        this.#live.add(target);
        if (!objectIsThere(this.#state, target)) {
          this.#warnings.push(`object ${target}, named by stream object ${id}, is missing`);
        } else if (images.has(target) || this.#imageObjects.has(target)) this.#markImage(target);
        else if (this.#streamObjects.has(target) || isStream(this.#state, target)) {
          pending.push(target);
        }
      }
    }
  }
}

/**
 * Whether an object is a splitstream. A stream that got another object since it was referred to has
 * no name any more; what it needs is needed all the same.
 */
function isStream(state: RepositoryState, id: ObjectId): boolean {
  const { fd } = state.objects.open(id);
  using _fd = fd;
  const head = new Uint8Array(4096).subarray(0, SPLITSTREAM_HEAD_SIZE);
  return isSplitstream(head.subarray(0, preadFull(fd, head, 0)));
}
