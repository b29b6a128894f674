/** Images: EROFS files by digest and by name (spec: repository 2.4, 7). */
import {
  DigestMismatchError,
  FormatError,
  InvalidNameError,
  NotFoundError,
  type ObjectId,
  objectPath,
  parseObjectId,
} from "../base/mod.ts";
import { type ErofsImage, listObjects, openImage } from "../erofs/mod.ts";
import { assertWritable, type RepositoryState, syncRepository } from "./_state.ts";
import { entryObject } from "./entries.ts";
import { placeLink, readLinkText } from "./links.ts";
import { checkRefName } from "./names.ts";
import { listRefs } from "./refs.ts";

/** An image by name. */
export interface ImageRef {
  /** Name below `images/refs`. */
  readonly name: string;
  /** Object id of the image. */
  readonly digest: string;
}

/** All named images, sorted by name. */
export function listImages(state: RepositoryState): ImageRef[] {
  return listRefs(state, "images").map((ref) => ({ name: ref.name, digest: ref.entry }));
}

/**
 * Finds an image by digest (bare, `sha256:…` or `@sha256:…`), by `refs/…` or by a flat name.
 *
 * @throws {NotFoundError} `image not found: NAME`
 * @throws {DigestMismatchError} when the entry's link leads to another object than its name says
 */
export function findImage(state: RepositoryState, name: string): ObjectId {
  const asked = plainDigest(state, name);
  checkRefName(asked);
  if (!asked.includes("/")) {
    const id = entryObject(state, "images", asked);
    if (id !== undefined) return checkEntry(state, asked, id);
  }
  const path = asked.startsWith("refs/")
    ? asked
    : asked.includes("/")
    ? undefined
    : `refs/${asked}`;
  const text = path === undefined ? undefined : readLinkText(state.root, `images/${path}`);
  if (text === undefined) throw new NotFoundError("image", name);
  const entry = text.slice(text.lastIndexOf("/") + 1);
  const id = entryObject(state, "images", entry);
  if (id === undefined) {
    throw new NotFoundError("image", name, {
      message: `image not found: ${name} leads to ${entry}`,
    });
  }
  return checkEntry(state, entry, id);
}

/** An entry's name is the digest of what it leads to. */
function checkEntry(state: RepositoryState, entry: string, id: ObjectId): ObjectId {
  const expected = parseObjectId(entry, state.algorithm.hash);
  if (expected !== id) throw new DigestMismatchError("image", expected, id);
  return id;
}

const DIGEST = /^@?(sha256|sha512):([0-9a-fA-F]+)$/;

/** The hex of a digest of this repository's kind, in the spellings that other commands print. */
export function imageDigest(state: RepositoryState, name: string): string | undefined {
  const match = DIGEST.exec(name);
  return match?.[1] === state.algorithm.hash ? match[2]!.toLowerCase() : undefined;
}

function plainDigest(state: RepositoryState, name: string): string {
  const digest = imageDigest(state, name);
  if (digest !== undefined || !DIGEST.test(name)) return digest ?? name;
  throw new InvalidNameError(
    `${name} is not a digest of this repository, whose algorithm is ${state.algorithm.id}`,
  );
}

/** Opens and validates an image by its object id. */
export function readImage(state: RepositoryState, id: ObjectId): ErofsImage {
  return openImage(state.objects.read(id));
}

/** The objects that an image needs, sorted. */
export function imageObjects(state: RepositoryState, name: string): ObjectId[] {
  const image = readImage(state, findImage(state, name));
  return listObjects(image, { hash: state.algorithm.hash });
}

/**
 * Stores an image and makes its entry: object, sync, links, sync.
 *
 * @param options.name name to make below `images/refs`
 * @param options.force store bytes that are no composefs image
 * @returns the image's id
 */
export function writeImageObject(
  state: RepositoryState,
  bytes: Uint8Array,
  options: { name?: string; force?: boolean } = {},
): ObjectId {
  const { name } = options;
  if (name !== undefined) checkRefName(name);
  assertWritable(state);
  if (!options.force) {
    try {
      openImage(bytes);
    } catch (cause) {
      throw new FormatError("erofs", "Not a composefs image", { cause });
    }
  }
  const { id, outcome } = state.objects.write(bytes);
  if (outcome === "repaired") state.notice(`repaired damaged object ${id}`);
  syncRepository(state);
  linkImage(state, id);
  if (name !== undefined) placeLink(state.root, `images/refs/${name}`, `images/${id}`);
  syncRepository(state);
  return id;
}

/** Makes the entry of an image that is stored and durable already. */
export function linkImage(state: RepositoryState, id: ObjectId): void {
  placeLink(state.root, `images/${id}`, `objects/${objectPath(id)}`);
}
