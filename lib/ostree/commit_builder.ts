/** The objects of a commit while they come together (spec: ostree 4, 6). */
import { FormatError } from "../base/mod.ts";
import { type Checksum, checksumOf } from "./checksum.ts";
import type { CommitEntry } from "./commit_chunk.ts";
import { corruptedObject, type MetadataKind } from "./object_kind.ts";
import type { ImportedFile } from "./source.ts";

/** Collects the objects of a commit; each is checked before it gets in. */
export class CommitBuilder {
  readonly #entries = new Map<Checksum, CommitEntry>();
  readonly #files = new Set<Checksum>();

  /** All objects so far. */
  get entries(): ReadonlyMap<Checksum, CommitEntry> {
    return this.#entries;
  }

  /** Whether an object is there. */
  has(checksum: Checksum): boolean {
    return this.#entries.has(checksum);
  }

  /** An object; `undefined` when it is not there. */
  get(checksum: Checksum): CommitEntry | undefined {
    return this.#entries.get(checksum);
  }

  /**
   * Adds a metadata object.
   *
   * @throws {DigestMismatchError} when its bytes have another checksum
   */
  addMetadata(kind: MetadataKind, checksum: Checksum, bytes: Uint8Array): void {
    const actual = checksumOf(bytes);
    if (actual !== checksum) throw corruptedObject(kind, checksum, actual);
    this.#entries.set(checksum, { data: bytes, external: undefined });
  }

  /** Adds a file object that was checked and stored. */
  addFile(file: ImportedFile): void {
    this.addEntry(file.checksum, { data: file.data, external: file.object?.id });
  }

  /** Adds a file object as another stored commit has it. */
  addEntry(checksum: Checksum, entry: CommitEntry): void {
    this.#files.add(checksum);
    this.#entries.set(checksum, entry);
  }

  /**
   * Takes note that a checksum is used as a file's, or as that of metadata.
   *
   * @throws {FormatError} when the same one is used as both
   */
  claim(checksum: Checksum, as: "file" | "metadata"): void {
    const isFile = this.#files.has(checksum);
    if (as === "file") {
      if (!isFile && this.#entries.has(checksum)) throw both(checksum);
      this.#files.add(checksum);
    } else if (isFile) throw both(checksum);
  }
}

function both(checksum: Checksum): FormatError {
  return new FormatError("ostree commit", `Object ${checksum} is used as a file and as metadata`);
}
