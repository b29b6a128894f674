/**
 * Errors across threads. Structured clone turns every error into a plain `Error`; these two
 * functions keep the kind, the fields and the causes.
 *
 * @module
 */
import {
  ComposefsError,
  ConflictError,
  DigestMismatchError,
  FormatError,
  InvalidNameError,
  NotFoundError,
  PolicyError,
  UnsupportedError,
} from "./errors.ts";

/** An error as plain data that can be posted to another thread. */
export interface WireError {
  /** Class name, for example `FormatError`. */
  readonly kind: string;
  /** The message. */
  readonly message: string;
  /** Where it was thrown, in the other thread. */
  readonly stack: string | undefined;
  /** Own fields that are strings, numbers, big integers, booleans or undefined. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** The error it wraps. */
  readonly cause: WireError | undefined;
}

/** A class of errors; its instances keep what they know in plain public fields. */
export interface ErrorKind {
  /** Class name. */
  readonly name: string;
  /** What instances inherit from. */
  readonly prototype: Error;
}

/** Causes deeper than this are cut off. */
const MAX_CAUSES = 16;

const kinds = new Map<string, ErrorKind>();

/** Makes a class of errors known, so that {@linkcode decodeError} gives instances of it. */
export function registerErrorKind(kind: ErrorKind): void {
  kinds.set(kind.name, kind);
}

for (
  const kind of [
    ComposefsError,
    ConflictError,
    DigestMismatchError,
    FormatError,
    InvalidNameError,
    NotFoundError,
    PolicyError,
    UnsupportedError,
    Error,
    TypeError,
    RangeError,
    SyntaxError,
  ]
) registerErrorKind(kind);

function isPlain(value: unknown): boolean {
  return value === undefined || ["string", "number", "bigint", "boolean"].includes(typeof value);
}

/** Turns whatever was thrown into plain data. */
export function encodeError(error: unknown, depth = 0): WireError {
  if (!(error instanceof Error)) {
    return {
      kind: "Error",
      message: String(error),
      stack: undefined,
      fields: {},
      cause: undefined,
    };
  }
  const fields: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(error)) {
    if (key !== "cause" && isPlain(value)) fields[key] = value;
  }
  return {
    kind: error instanceof DOMException ? "DOMException" : error.constructor.name,
    message: error.message,
    stack: error.stack,
    fields: error instanceof DOMException ? { name: error.name } : fields,
    cause: error.cause === undefined || depth >= MAX_CAUSES
      ? undefined
      : encodeError(error.cause, depth + 1),
  };
}

/** The error that {@linkcode encodeError} was given: same class when that is known here. */
export function decodeError(wire: WireError): Error {
  if (wire.kind === "DOMException") {
    return new DOMException(wire.message, String(wire.fields.name));
  }
  const cause = wire.cause === undefined ? undefined : { cause: decodeError(wire.cause) };
  // A real Error whose prototype is replaced: constructors of the kinds take different arguments.
  const error = new Error(wire.message, cause);
  const kind = kinds.get(wire.kind) ??
    (typeof wire.fields.code === "string" ? ComposefsError : undefined);
  if (kind !== undefined) Object.setPrototypeOf(error, kind.prototype);
  Object.assign(error, wire.fields);
  if (wire.stack !== undefined) {
    Object.defineProperty(error, "stack", {
      value: wire.stack,
      configurable: true,
      writable: true,
    });
  }
  return error;
}
