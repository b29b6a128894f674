import { type ByteString, displayByteString, FormatError, type ObjectId } from "../base/mod.ts";

/** A regular file of the old image. */
export interface SourceFile {
  /** Its size in bytes. */
  readonly size: number;
  /** Object that its content is, when it is one of that size. */
  readonly object?: ObjectId | undefined;
  /**
   * Reads at a place until `buffer` is full or the file ends.
   *
   * @returns the number of bytes that were read
   */
  read(buffer: Uint8Array, position: number): number;
}

/** The files of the old image, from which a delta copies. */
export interface DeltaSource {
  /**
   * Finds a file; the one before it is not read any more.
   *
   * @param path as in the tar-diff
   * @throws {FormatError} of format {@linkcode DELTA_SOURCE_FORMAT}, `Source file not found: PATH`
   */
  open(path: ByteString): SourceFile;
}

/** `format` of errors that another idea of the old image could do away with. */
export const DELTA_SOURCE_FORMAT = "delta source";

/** An error about the old image's files rather than the delta's bytes. */
export function sourceFault(message: string, cause?: unknown): FormatError {
  return new FormatError(DELTA_SOURCE_FORMAT, message, cause === undefined ? {} : { cause });
}

/**
 * The error for a path that leads to no regular file.
 *
 * @param reason for example `Directory entry "x" does not exist`
 */
export function sourceNotFound(path: ByteString, reason: string): FormatError {
  const shown = displayByteString(path);
  return sourceFault(`Source file not found: ${shown}`, sourceFault(reason));
}

/**
 * The components of a path in a tar-diff, joined by `/`: relative and absolute mean the same, empty
 * components and `.` mean nothing (spec: oci 7.3).
 *
 * @throws {FormatError} for paths that are empty or hold `..` or NUL
 */
export function sourcePath(path: ByteString): ByteString {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.length === 0 || parts.includes("..") || path.includes("\0")) {
    throw sourceNotFound(path, `Invalid filename "${displayByteString(path)}"`);
  }
  return parts.join("/");
}
