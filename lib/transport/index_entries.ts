/** The index of a layout while images are added to it (OCI image-layout 1.1). */
import { ConflictError, type Digest, FormatError } from "../base/mod.ts";
import type { PushedManifest } from "./destination.ts";
import { parseIndex } from "./documents.ts";
import { INDEX_TYPE, REF_NAME_ANNOTATION } from "./media_types.ts";

/** An entry as it stands in the file; fields that mean nothing to us are kept. */
type Entry = Record<string, unknown> & {
  readonly digest: string;
  readonly annotations?: Record<string, string>;
};

/** Content of the file that says what a layout is. */
export const LAYOUT_FILE = '{"imageLayoutVersion":"1.0.0"}';

/** The entries of an `index.json`. */
export class IndexEntries {
  readonly #document: Record<string, unknown>;
  #entries: Entry[];

  /**
   * Starts with what is there.
   *
   * @param bytes the file's content; `undefined` for a new one
   * @throws {FormatError} when it is no index
   */
  constructor(bytes?: Uint8Array) {
    if (bytes === undefined) {
      this.#document = { schemaVersion: 2, mediaType: INDEX_TYPE };
      this.#entries = [];
      return;
    }
    parseIndex(bytes); // for its checks
    this.#document = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
    this.#entries = this.#document["manifests"] as Entry[];
    if (!Array.isArray(this.#entries)) throw new FormatError("image index", "no list of manifests");
  }

  /**
   * Adds a manifest. A tag leads to one manifest only, so others lose it; an entry without a tag
   * that is there already stays as it is.
   */
  add(manifest: PushedManifest, tag?: string): void {
    const digest = manifest.descriptor.digest.toString();
    if (tag === undefined) {
      if (this.#entries.some((entry) => entry.digest === digest)) return;
    } else {
      // The same image without a name would be a second entry for the same thing.
      this.#entries = this.#entries.filter((entry) =>
        tagOf(entry) !== tag && !(entry.digest === digest && tagOf(entry) === undefined)
      );
    }
    const { mediaType, size } = manifest.descriptor;
    const { artifactType } = manifest;
    this.#entries.push({
      mediaType,
      digest,
      size,
      ...(artifactType === undefined ? {} : { artifactType }),
      ...(tag === undefined ? {} : { annotations: { [REF_NAME_ANNOTATION]: tag } }),
    });
  }

  /**
   * Refuses to take a tag away from another manifest than this.
   *
   * @throws {ConflictError} when another one has it
   */
  assertFree(tag: string, digest: Digest): void {
    const other = this.#entries.find((entry) => tagOf(entry) === tag);
    if (other === undefined || other.digest === digest.toString()) return;
    throw new ConflictError(`Tag ${tag} leads to ${other.digest} already`);
  }

  /** The file's content. */
  bytes(): Uint8Array<ArrayBuffer> {
    return new TextEncoder().encode(
      JSON.stringify({ ...this.#document, manifests: this.#entries }),
    );
  }
}

function tagOf(entry: Entry): string | undefined {
  return entry.annotations?.[REF_NAME_ANNOTATION];
}
