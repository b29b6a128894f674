/** Checking streams, images and references (spec: repository 9, 14.6). */
import { DigestMismatchError, FormatError, type ObjectId } from "../base/mod.ts";
import { ErrnoError, errnoText, type PathArg, statAt } from "../../ffi/mod.ts";
import { checkStructure, type ErofsImage, listObjects, openImage } from "../erofs/mod.ts";
import type { RepositoryState } from "./_state.ts";
import { entryObject, listEntries } from "./entries.ts";
import { addError, type FsckReport, reasonOf } from "./fsck_report.ts";
import { type Category, walkRefs } from "./refs.ts";
import { type OpenStream, openStreamObject } from "./streams.ts";

/** Where the checks of names put what they find. */
export interface EntryPhase {
  /** Counters and errors. */
  readonly report: FsckReport;
  /** Collects objects that are missing or damaged. */
  readonly broken: Set<ObjectId>;
  /** Whether the content of streams is walked. */
  readonly content: boolean;
  /** What is known of objects. */
  readonly presence: Presence;
}

/** What is known of objects by id; each is looked up once however many names need it. */
export class Presence {
  readonly #state: RepositoryState;
  readonly #known = new Map<ObjectId, number | undefined | ErrnoError>();

  constructor(state: RepositoryState) {
    this.#state = state;
  }

  /** Size of an object in bytes, `undefined` when it is missing, or why it cannot be told. */
  of(id: ObjectId): number | undefined | ErrnoError {
    if (!this.#known.has(id)) this.#known.set(id, this.#look(id));
    return this.#known.get(id);
  }

  #look(id: ObjectId): number | undefined | ErrnoError {
    try {
      return this.#state.objects.size(id);
    } catch (error) {
      if (error instanceof ErrnoError) return error; // reported with each user of the object
      throw error;
    }
  }
}

/** One of the kinds for an object that is not there. */
type MissingKind = "missing-object-ref" | "missing-named-ref" | "image-missing-object";

/** Checks that a needed object is there; `user` says who needs it. */
function checkNeeded(
  phase: EntryPhase,
  need: { kind: MissingKind; id: ObjectId; path: string; user: string },
): void {
  const { report, broken, presence } = phase;
  const { kind, id, path, user } = need;
  const found = presence.of(id);
  if (typeof found === "number") return;
  broken.add(id);
  if (found === undefined) {
    report.missing_objects++;
    addError(report, kind, `${user}: ${id}`);
  } else addError(report, "object-check-failed", `${path}: ${id}: ${errnoText(found.errno)}`);
}

/** Checks all streams and their references. */
export function checkStreams(state: RepositoryState, phase: EntryPhase): void {
  const { report } = phase;
  for (const { name, isLink } of listEntries(state.root, "streams")) {
    report.streams_checked++;
    const sound = checkEntry(state, { path: `streams/${name}`, isLink, report });
    if (sound === "bad" || (sound === "good" && !checkStream(state, name, phase))) {
      report.streams_corrupted++;
    }
  }
  checkRefs(state, "streams", report);
}

/** Checks a stream; false when the stream itself is damaged (not just objects it needs). */
function checkStream(
  state: RepositoryState,
  name: string,
  phase: EntryPhase,
): boolean {
  const { report } = phase;
  const path = `streams/${name}`;
  let stream: OpenStream;
  try {
    stream = openStreamObject(state, entryObject(state, "streams", name)!);
  } catch (error) {
    addError(report, "stream-open-failed", `${path}: Opening stream '${name}': ${reasonOf(error)}`);
    return false;
  }
  for (const id of stream.objectRefs) {
    checkNeeded(phase, { kind: "missing-object-ref", id, path, user: path });
  }
  for (const [ref, id] of stream.namedRefs) {
    checkNeeded(phase, { kind: "missing-named-ref", id, path, user: `${path}: ref ${ref}` });
  }
  if (!phase.content) return true;
  const fault = contentFault(stream, phase.presence);
  if (fault === undefined) return true;
  addError(report, "stream-content-invalid", `${path}: ${fault}`);
  return false;
}

/** Walks all chunks; the reason when they cannot be read or do not add up. */
function contentFault(stream: OpenStream, presence: Presence): string | undefined {
  let total = 0;
  try {
    for (const chunk of stream.chunks()) {
      if (chunk.type === "inline") total += chunk.bytes.length;
      else {
        const size = presence.of(stream.objectRefs.id(chunk.index));
        // A missing object has been reported; the total can then not be told.
        total += typeof size === "number" ? size : NaN;
      }
    }
  } catch (error) {
    return reasonOf(error);
  }
  if (Number.isNaN(total) || BigInt(total) === stream.streamSize) return undefined;
  return `content has ${total} bytes, the header says ${stream.streamSize}`;
}

/** Checks all images and their references. */
export function checkImages(state: RepositoryState, phase: EntryPhase): void {
  const { report } = phase;
  for (const { name, isLink } of listEntries(state.root, "images")) {
    report.images_checked++;
    const sound = checkEntry(state, { path: `images/${name}`, isLink, report });
    if (sound === "bad" || (sound === "good" && !checkImage(state, name, phase))) {
      report.images_corrupted++;
    }
  }
  checkRefs(state, "images", report);
}

/** Checks an image; false when the image itself is damaged (not just objects it needs). */
function checkImage(
  state: RepositoryState,
  name: string,
  phase: EntryPhase,
): boolean {
  const { report } = phase;
  const path = `images/${name}`;
  let id: ObjectId;
  try {
    id = entryObject(state, "images", name)!;
  } catch (error) {
    addError(report, "image-open-failed", `${path}: ${reasonOf(error)}`);
    return false;
  }
  if (id !== name) addError(report, "image-name-mismatch", `${path}: leads to object ${id}`);
  try {
    const image = soundImage(state, id);
    for (const object of listObjects(image, { hash: state.algorithm.hash, structure: false })) {
      checkNeeded(phase, { kind: "image-missing-object", id: object, path, user: path });
    }
    return id === name;
  } catch (error) {
    const kind = error instanceof ErrnoError ? "image-read-failed" : "image-invalid";
    addError(report, kind, `${path}: ${reasonOf(error)}`);
    return false;
  }
}

/** Opens an image and checks all of it; of a damaged one, what is wrong with its structure. */
function soundImage(state: RepositoryState, id: ObjectId): ErofsImage {
  try {
    return openWhole(state.objects.read(id));
  } catch (error) {
    // "cannot parse header" says more than that the digest is not the right one.
    if (error instanceof DigestMismatchError) openWhole(state.objects.read(id, { verify: false }));
    throw error;
  }
}

function openWhole(bytes: Uint8Array<ArrayBuffer>): ErofsImage {
  const image = openImage(bytes);
  const [fault] = checkStructure(image);
  if (fault !== undefined) throw new FormatError("erofs", `Invalid image: ${fault}`);
  return image;
}

/**
 * Checks what an entry is: `bad` when it counts as corrupted, `unknown` when only its link cannot
 * be followed, which the reference does not count.
 */
function checkEntry(
  state: RepositoryState,
  entry: { path: string; isLink: boolean; report: FsckReport },
): "good" | "bad" | "unknown" {
  const { path, report } = entry;
  if (!entry.isLink) {
    addError(report, "entry-not-symlink", path);
    return "bad";
  }
  const found = checkLink(state, { path, report });
  return found === "broken" ? "bad" : found;
}

/** Checks that a link leads to something; reports when it does not. */
function checkLink(
  state: RepositoryState,
  link: { path: string; place?: PathArg; report: FsckReport },
): "good" | "broken" | "unknown" {
  const { path, place = path, report } = link;
  try {
    if (statAt(state.root, place) !== undefined) return "good";
    report.broken_links++;
    addError(report, "broken-symlink", path);
    return "broken";
  } catch (error) {
    const text = error instanceof ErrnoError ? errnoText(error.errno) : reasonOf(error);
    addError(report, "stat-failed", `${path}: ${text}`);
    return "unknown";
  }
}

function checkRefs(state: RepositoryState, category: Category, report: FsckReport): void {
  for (const item of walkRefs(state.root, category)) {
    if (!("name" in item)) {
      addError(report, "unexpected-file-type", `${item.path}: ${item.fileType}`);
      continue;
    }
    const path = `${category}/refs/${item.name}`;
    if (checkLink(state, { path, place: item.place, report }) !== "good") continue;
    // A reference is `..` up to its category, then the entry.
    const depth = item.name.split("/").length;
    if (item.text !== "../".repeat(depth) + item.entry) {
      addError(report, "ref-target-invalid", `${path}: ${item.text}`);
    }
  }
}
