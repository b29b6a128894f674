/** Finding one manifest in an index (spec: oci 5.1). */
import { FormatError, NotFoundError, withContext } from "../base/mod.ts";
import {
  type Descriptor,
  type ImageIndex,
  type Manifest,
  parseConfig,
  parseIndex,
  parseManifest,
  type Platform,
} from "./documents.ts";
import {
  isImageConfigType,
  isIndexType,
  isManifestType,
  REF_NAME_ANNOTATION,
} from "./media_types.ts";
import { formatPlatform, platformRank } from "./platform.ts";
import type { LayoutReference } from "./reference.ts";
import type { Document, SelectedManifest } from "./source.ts";

/** Reads and verifies a document. */
export type ReadDocument = (
  descriptor: Descriptor,
  what: string,
) => Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>;

/** Among what to choose. */
export interface Choice {
  /** What the source is called in messages. */
  readonly name: string;
  /** The entries that a reference means. */
  readonly entries: readonly Descriptor[];
  /** Whether the reference says which one, so that it can be an artifact. */
  readonly meant: boolean;
  /** The index that they are from, when it is a document of its own. */
  readonly index?: Document | undefined;
  /** The platform to choose for. */
  readonly platform: Platform;
}

/** Index in an index in an index…: one level is what tools write, two are accepted. */
const MAX_NESTING = 2;
const MAX_LISTED = 10;
/** Most entries that are looked at, and most bytes of documents read for them. */
const MAX_ENTRIES = 20_000;
const MAX_READ = 256 * 1024 * 1024;

interface Candidate extends SelectedManifest {
  readonly rank: number;
}

/**
 * Chooses the manifest for a platform among the entries that a reference means.
 *
 * @throws {NotFoundError} when the tag is not there or nothing fits the platform
 */
export async function selectManifest(
  read: ReadDocument,
  choice: Choice,
): Promise<SelectedManifest> {
  const { entries, platform } = choice;
  const found = new Selection(read, choice);
  for (const entry of entries) await found.consider(entry, { depth: 0, index: choice.index });
  const best = found.best;
  if (best !== undefined) return best;
  // An artifact has no platform that could fit: it must be meant, or the only thing there is.
  const meant = entries.length === 1 || choice.meant;
  const artifact = meant ? found.artifacts[0] : undefined;
  if (artifact !== undefined) return artifact;
  if (found.unexpected !== undefined) {
    throw new FormatError("image index", `Unexpected media type ${found.unexpected}`);
  }
  const seen = found.seen.slice(0, MAX_LISTED).join(", ") +
    (found.seen.length > MAX_LISTED ? ", ..." : "");
  throw new NotFoundError("manifest", choice.name, {
    message: `No manifest found for platform ${formatPlatform(platform)}; available: ${
      seen === "" ? "(no platform info)" : seen
    }`,
  });
}

/**
 * The entries of an index that a reference means.
 *
 * @throws {NotFoundError} when there are none
 */
export function entriesFor(
  index: ImageIndex,
  select: LayoutReference["select"],
): readonly Descriptor[] {
  const { manifests } = index;
  if (manifests.length === 0) {
    throw new NotFoundError("manifest", "index.json", {
      message: "Image index contains no manifests",
    });
  }
  if (select === undefined) return manifests;
  const chosen = select.by === "tag"
    ? manifests.filter((m) => m.annotations?.[REF_NAME_ANNOTATION] === select.tag)
    : select.by === "digest"
    ? manifests.filter((m) => m.digest.equals(select.digest)).slice(0, 1)
    : manifests.slice(select.position, select.position + 1);
  if (chosen.length > 0) return chosen;
  const message = select.by === "tag"
    ? `Tag '${select.tag}' not found in image index`
    : select.by === "digest"
    ? `Digest ${select.digest} not found in image index`
    : `Image index has no entry ${select.position}`;
  throw new NotFoundError("manifest", "index.json", { message });
}

/** Marks an instance whose layers are zstd, beside one of the same platform with gzip layers. */
const ZSTD_ANNOTATION = "io.github.containers.compression.zstd";

/** Of two that fit equally well, the one with zstd layers is better (spec: zstd-chunked 1). */
function preference(descriptor: Descriptor): number {
  return descriptor.annotations?.[ZSTD_ANNOTATION] === "true" ? 0.5 : 0;
}

/** Walks the entries, remembering what fits best. */
class Selection {
  readonly #name: string;
  readonly #readDocument: ReadDocument;
  readonly #platform: Platform;
  /** Indexes that were walked, and manifests without a platform that were read. */
  readonly #done = new Set<string>();
  #entries = 0;
  #bytes = 0;
  readonly seen: string[] = [];
  readonly artifacts: SelectedManifest[] = [];
  best: Candidate | undefined;
  /** Media type of an entry that is nothing we know. */
  unexpected: string | undefined;

  constructor(read: ReadDocument, choice: Choice) {
    this.#readDocument = read;
    this.#name = choice.name;
    this.#platform = choice.platform;
  }

  async consider(
    descriptor: Descriptor,
    from: { depth: number; index?: Document | undefined },
  ): Promise<void> {
    const { depth, index } = from;
    if (++this.#entries > MAX_ENTRIES) {
      throw new FormatError("image index", `Image index has more than ${MAX_ENTRIES} entries`);
    }
    const { mediaType, platform } = descriptor;
    if (isIndexType(mediaType)) {
      if (depth >= MAX_NESTING) {
        throw new FormatError("image index", "Image indices are nested too deeply");
      }
      if (!this.#first(descriptor)) return;
      const bytes = await this.#document(descriptor, "image index");
      const nested = { depth: depth + 1, index: { descriptor, bytes } };
      for (const entry of parseIndex(bytes).manifests) await this.consider(entry, nested);
      return;
    }
    if (!isManifestType(mediaType)) {
      // Other things in a nested index (attestations…) are none of our business.
      if (depth === 0) this.unexpected ??= mediaType;
      return;
    }
    if (platform) {
      // Variants are of interest to who asked for one.
      const { os, architecture } = platform;
      this.seen.push(formatPlatform(this.#platform.variant ? platform : { os, architecture }));
      const fit = platformRank(this.#platform, platform);
      const rank = fit === undefined ? undefined : fit - preference(descriptor);
      if (rank !== undefined && this.#better(rank)) {
        this.best = { ...await this.#read(descriptor), rank, index };
      }
      return;
    }
    if (!this.#first(descriptor)) return;
    const read = { ...await this.#read(descriptor), index };
    if (!isImageConfigType(read.manifest.config.mediaType)) {
      this.artifacts.push(read);
      return;
    }
    const config = parseConfig(await this.#document(read.manifest.config, "image config"));
    const rank = platformRank(this.#platform, config);
    if (rank !== undefined && this.#better(rank)) this.best = { ...read, rank };
  }

  /** The first of the best rank wins. */
  #better(rank: number): boolean {
    return this.best === undefined || rank < this.best.rank;
  }

  /** Whether this is the first entry with its digest; the others can only say the same. */
  #first({ digest }: Descriptor): boolean {
    const key = digest.toString();
    if (this.#done.has(key)) return false;
    this.#done.add(key);
    return true;
  }

  async #document(descriptor: Descriptor, what: string): Promise<Uint8Array<ArrayBuffer>> {
    this.#bytes += descriptor.size;
    if (this.#bytes > MAX_READ) {
      throw new FormatError("image index", `Image index leads to more than ${MAX_READ} bytes`);
    }
    return await this.#readDocument(descriptor, what);
  }

  async #read(descriptor: Descriptor): Promise<SelectedManifest> {
    try {
      const bytes = await this.#document(descriptor, "image manifest");
      return { descriptor, bytes, manifest: parseTypedManifest(bytes) };
    } catch (cause) {
      throw withContext(`Reading manifest ${descriptor.digest} from ${this.#name}`, cause);
    }
  }
}

/**
 * Parses a manifest that is no other document at the same time: one must not be an image to us and
 * an index to somebody else.
 */
export function parseTypedManifest(bytes: Uint8Array): Manifest {
  const manifest = parseManifest(bytes);
  if (manifest.mediaType && !isManifestType(manifest.mediaType)) {
    throw new FormatError("image manifest", `Unexpected media type ${manifest.mediaType}`);
  }
  return manifest;
}
