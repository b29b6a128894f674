/**
 * The errors of composefs-ts. Each kind has a stable {@linkcode ComposefsError.code}; messages say
 * what was attempted on what, and carry no advice: the command line adds hints by code.
 *
 * @module
 */

/** The stable error codes; a code never changes its meaning. */
export type ErrorCode =
  | "CFS_FORMAT"
  | "CFS_ERRNO"
  | "CFS_DIGEST_MISMATCH"
  | "CFS_NOT_FOUND"
  | "CFS_UNSUPPORTED"
  | "CFS_POLICY"
  | "CFS_CONFLICT"
  | "CFS_INVALID_NAME"
  | "CFS_FAILED";

/**
 * What exactly is the matter, where somebody wants to tell apart what has the same code; like codes,
 * they never change their meaning.
 */
export type ErrorDetail =
  /** The directory of a repository cannot be opened. */
  | "repository-unopened"
  /** The repository does without fs-verity, and that was ruled out. */
  | "repository-without-verity"
  /** The file system has no fs-verity. */
  | "file-system-without-verity"
  /** What is to be written is on a read-only file system. */
  | "read-only"
  /** The disk is full, or would be. */
  | "no-space"
  /** An image could not be pulled; the causes say why. */
  | "pull-failed"
  /** The policy does not let an image in. */
  | "policy-refused"
  /** A reference to an image does not begin with the name of a transport. */
  | "no-transport"
  /** Stored images are damaged. */
  | "images-damaged"
  /** A layer lacks zeros at its end, which can be put back. */
  | "padding-lost"
  /** A server does not speak TLS. */
  | "no-tls"
  /** Nobody that is trusted has signed a server's certificate. */
  | "unknown-authority"
  /** A server wants to know who asks, or does not want him to. */
  | "access-denied";

/** What an error can be given. */
export interface ComposefsErrorOptions extends ErrorOptions {
  /** What exactly is the matter. */
  readonly detail?: ErrorDetail | undefined;
}

/** Base of every error this library throws on purpose. */
export class ComposefsError extends Error {
  /** Stable machine-readable kind. */
  readonly code: ErrorCode;
  /** What exactly is the matter, when there is something to tell apart. */
  readonly detail: ErrorDetail | undefined;

  /** Creates an error with a stable code, a message and, when wrapping, its cause. */
  constructor(code: ErrorCode, message: string, options?: ComposefsErrorOptions) {
    super(message, options);
    this.code = code;
    this.detail = options?.detail;
    this.name = new.target.name;
  }

  /** The facts of the error as plain data, for `--json` outputs. */
  toJSON(): Record<string, unknown> {
    const { code, name, message, detail } = this;
    return { code, name, message, ...(detail === undefined ? {} : { detail }) };
  }
}

/** Bytes that do not follow their format (EROFS, splitstream, tar, dumpfile, JSON documents). */
export class FormatError extends ComposefsError {
  /** Name of the format, for example `"splitstream"`. */
  readonly format: string;
  /** Byte offset (or line number for text formats) of the fault, when known. */
  readonly offset: number | undefined;

  /** Creates a format error; `offset` is in bytes from the start of the input. */
  constructor(
    format: string,
    message: string,
    options?: ComposefsErrorOptions & { offset?: number },
  ) {
    super("CFS_FORMAT", message, options);
    this.format = format;
    this.offset = options?.offset;
  }

  /** The facts of the error as plain data. */
  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), format: this.format, offset: this.offset };
  }
}

/** Content whose digest is not the one it was announced with. */
export class DigestMismatchError extends ComposefsError {
  /** What was hashed, for example `"layer"` or `"object"`. */
  readonly what: string;
  /** The digest that was announced. */
  readonly expected: string;
  /** The digest that was found. */
  readonly actual: string;

  /** Creates a mismatch error with the message `<what> digest mismatch: expected E, got A`. */
  constructor(
    what: string,
    expected: string,
    actual: string,
    options?: ComposefsErrorOptions & { message?: string },
  ) {
    super(
      "CFS_DIGEST_MISMATCH",
      options?.message ?? `${what} digest mismatch: expected ${expected}, got ${actual}`,
      options,
    );
    this.what = what;
    this.expected = expected;
    this.actual = actual;
  }

  /** The facts of the error as plain data. */
  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), what: this.what, expected: this.expected, actual: this.actual };
  }
}

/** A named thing (object, stream, image, reference, file) that is not there. */
export class NotFoundError extends ComposefsError {
  /** Kind of the thing, for example `"image"`. */
  readonly kind: string;
  /** Its name as asked for. */
  readonly id: string;

  /** Creates a not-found error; the default message is `<kind> not found: <id>`. */
  constructor(kind: string, id: string, options?: ComposefsErrorOptions & { message?: string }) {
    super("CFS_NOT_FOUND", options?.message ?? `${kind} not found: ${id}`, options);
    this.kind = kind;
    this.id = id;
  }

  /** The facts of the error as plain data. */
  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), kind: this.kind, id: this.id };
  }
}

/** Input that is valid but that this program, kernel or file system cannot handle. */
export class UnsupportedError extends ComposefsError {
  /** Creates an error for something that cannot be done here. */
  constructor(message: string, options?: ComposefsErrorOptions) {
    super("CFS_UNSUPPORTED", message, options);
  }
}

/** Something possible that a policy forbids (fs-verity required, read-only repository, ...). */
export class PolicyError extends ComposefsError {
  /** Creates a policy error. */
  constructor(message: string, options?: ComposefsErrorOptions) {
    super("CFS_POLICY", message, options);
  }
}

/** Existing state that contradicts the request, for example another algorithm in `meta.json`. */
export class ConflictError extends ComposefsError {
  /** Creates a conflict error. */
  constructor(message: string, options?: ComposefsErrorOptions) {
    super("CFS_CONFLICT", message, options);
  }
}

/** A name (reference, tag, file name, algorithm) that is not allowed. */
export class InvalidNameError extends ComposefsError {
  /** Creates an invalid-name error. */
  constructor(message: string, options?: ComposefsErrorOptions) {
    super("CFS_INVALID_NAME", message, options);
  }
}

/**
 * Adds a line of context: the result's message is `message`, its cause the original error.
 * Used where the reader needs to know which file, layer or reference was being worked on.
 */
export function withContext(
  message: string,
  cause: unknown,
  options: { detail?: ErrorDetail } = {},
): ComposefsError {
  const code = cause instanceof ComposefsError ? cause.code : "CFS_FAILED";
  return new ComposefsError(code, message, { cause, ...options });
}
