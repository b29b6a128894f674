/** What a static delta builds upon, and where what it makes goes (spec: ostree 7.4). */
import type { Checksum } from "./checksum.ts";
import type { DeltaSource } from "./delta_patch.ts";
import type { FileHeader } from "./file_header.ts";
import type { MetadataKind } from "./object_kind.ts";

/** A file object in pieces. */
export interface DeltaFileSink extends Disposable {
  /** Adds content; the bytes are valid during the call. */
  write(bytes: Uint8Array): void;
  /**
   * Ends the object.
   *
   * @throws {DigestMismatchError} when it is not the object with its checksum
   */
  finish(): void;
}

/** Takes the objects that a delta makes. */
export interface DeltaSink {
  /** Takes a metadata object whose checksum was verified; the bytes are valid during the call. */
  metadata(kind: MetadataKind, checksum: Checksum, bytes: Uint8Array): void;
  /**
   * Takes a whole file object; the content is valid during the call.
   *
   * @throws {DigestMismatchError} when it is not the object with the checksum
   */
  file(checksum: Checksum, header: FileHeader, content: Uint8Array): void;
  /** Starts a file object that comes in pieces; its header names the size. */
  open(checksum: Checksum, header: FileHeader): DeltaFileSink;
}

/** The file objects that a delta builds upon. */
export interface DeltaBase {
  /** Content of a file object; `undefined` when the base has none with this checksum. */
  open(checksum: Checksum): DeltaSource | undefined;
}

/** How many objects there were. */
export interface DeltaCounts {
  /** Dirtrees, dirmetas, commits. */
  readonly metadata: number;
  /** Files and symbolic links. */
  readonly files: number;
}
