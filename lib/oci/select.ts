/** Finding one manifest in an index (spec: oci 5.1). */
import { FormatError, NotFoundError, withContext } from "../base/mod.ts";
import { readDocument } from "./blob.ts";
import {
  type Descriptor,
  type ImageIndex,
  type Manifest,
  parseConfig,
  parseIndex,
  parseManifest,
  type Platform,
} from "./documents.ts";
import type { LayoutSource } from "./layout.ts";
import {
  isImageConfigType,
  isIndexType,
  isManifestType,
  REF_NAME_ANNOTATION,
} from "./media_types.ts";
import { formatPlatform, platformRank } from "./platform.ts";
import type { LayoutReference } from "./reference.ts";

/** A manifest that was chosen, its bytes verified. */
export interface SelectedManifest {
  /** Its descriptor. */
  readonly descriptor: Descriptor;
  /** Its exact bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The parsed document. */
  readonly manifest: Manifest;
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
export function selectManifest(
  source: LayoutSource,
  options: { select: LayoutReference["select"]; platform: Platform },
): SelectedManifest {
  const index = parseIndex(source.index);
  const entries = entriesFor(index, options.select);
  const found = new Selection(source, options.platform);
  for (const entry of entries) found.consider(entry, 0);
  const best = found.best;
  if (best !== undefined) return best;
  // An artifact has no platform that could fit: it must be meant, or the only thing there is.
  const meant = entries.length === 1 || options.select !== undefined;
  const artifact = meant ? found.artifacts[0] : undefined;
  if (artifact !== undefined) return artifact;
  if (found.unexpected !== undefined) {
    throw new FormatError("image index", `Unexpected media type ${found.unexpected}`);
  }
  const seen = found.seen.slice(0, MAX_LISTED).join(", ") +
    (found.seen.length > MAX_LISTED ? ", ..." : "");
  throw new NotFoundError("manifest", source.name, {
    message: `No manifest found for platform ${formatPlatform(options.platform)}; available: ${
      seen === "" ? "(no platform info)" : seen
    }`,
  });
}

function entriesFor(index: ImageIndex, select: LayoutReference["select"]): readonly Descriptor[] {
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

/** Walks the entries, remembering what fits best. */
class Selection {
  readonly #source: LayoutSource;
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

  constructor(source: LayoutSource, platform: Platform) {
    this.#source = source;
    this.#platform = platform;
  }

  consider(descriptor: Descriptor, depth: number): void {
    if (++this.#entries > MAX_ENTRIES) {
      throw new FormatError("image index", `Image index has more than ${MAX_ENTRIES} entries`);
    }
    const { mediaType, platform } = descriptor;
    if (isIndexType(mediaType)) {
      if (depth >= MAX_NESTING) {
        throw new FormatError("image index", "Image indices are nested too deeply");
      }
      if (!this.#first(descriptor)) return;
      const nested = parseIndex(this.#document(descriptor, "image index"));
      for (const entry of nested.manifests) this.consider(entry, depth + 1);
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
      const rank = platformRank(this.#platform, platform);
      if (rank !== undefined && this.#better(rank)) this.best = { ...this.#read(descriptor), rank };
      return;
    }
    if (!this.#first(descriptor)) return;
    const read = this.#read(descriptor);
    if (!isImageConfigType(read.manifest.config.mediaType)) {
      this.artifacts.push(read);
      return;
    }
    const config = parseConfig(this.#document(read.manifest.config, "image config"));
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

  #document(descriptor: Descriptor, what: string): Uint8Array<ArrayBuffer> {
    this.#bytes += descriptor.size;
    if (this.#bytes > MAX_READ) {
      throw new FormatError("image index", `Image index leads to more than ${MAX_READ} bytes`);
    }
    return readDocument(this.#source, descriptor, what);
  }

  #read(descriptor: Descriptor): SelectedManifest {
    try {
      const bytes = this.#document(descriptor, "image manifest");
      const manifest = parseManifest(bytes);
      // One document must not be an image to us and an index to somebody else.
      if (manifest.mediaType && !isManifestType(manifest.mediaType)) {
        throw new FormatError("image manifest", `Unexpected media type ${manifest.mediaType}`);
      }
      return { descriptor, bytes, manifest };
    } catch (cause) {
      throw withContext(`Reading manifest ${descriptor.digest} from ${this.#source.name}`, cause);
    }
  }
}
