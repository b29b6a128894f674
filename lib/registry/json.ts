/** Small JSON documents of registries, looked at by hand: they are few, and mostly one field each. */
import { Digest, FormatError } from "../base/mod.ts";

/** Parses JSON; `undefined` when it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    // Documented result: the caller says what it makes of it.
    if (!(error instanceof SyntaxError)) throw error;
    return undefined;
  }
}

/** Whether a value is an object with fields. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Parses a document that must be an object.
 *
 * @throws {FormatError} when it is none
 */
export function parseRecord(bytes: Uint8Array, what: string): Record<string, unknown> {
  const document = parseJson(new TextDecoder().decode(bytes));
  if (!isRecord(document)) throw new FormatError(what, `${what} is not a JSON object`);
  return document;
}

/** A field with text; `undefined` when it is missing or something else. */
export function textField(record: Record<string, unknown>, name: string): string | undefined {
  const value = Object.hasOwn(record, name) ? record[name] : undefined;
  return typeof value === "string" ? value : undefined;
}

/** Refers to a manifest or blob of a registry. */
export interface RemoteDescriptor {
  /** Media type. */
  readonly mediaType: string;
  /** Digest of the content. */
  readonly digest: Digest;
  /** Its size in bytes. */
  readonly size: number;
  /** Type of artifact; empty when it is not said. */
  readonly artifactType: string;
  /** Annotations. */
  readonly annotations: Readonly<Record<string, string>>;
}

/**
 * The entries of an index.
 *
 * @param limit most entries
 * @throws {FormatError} when it is no index, or an entry is no descriptor
 */
export function parseIndexEntries(bytes: Uint8Array, limit: number): RemoteDescriptor[] {
  const { manifests } = parseRecord(bytes, "image index");
  if (!Array.isArray(manifests)) throw new FormatError("image index", "image index: no manifests");
  if (manifests.length > limit) {
    throw new FormatError("image index", `image index: more than ${limit} manifests`);
  }
  return manifests.map((entry) => {
    const { size } = isRecord(entry) ? entry : {};
    const digest = isRecord(entry) ? textField(entry, "digest") : undefined;
    if (!isRecord(entry) || digest === undefined || !isSize(size)) {
      throw new FormatError("image index", "image index: an entry without digest and size");
    }
    const annotations = isRecord(entry["annotations"]) ? entry["annotations"] : {};
    return {
      mediaType: textField(entry, "mediaType") ?? "",
      digest: Digest.parse(digest),
      size,
      artifactType: textField(entry, "artifactType") ?? "",
      annotations: Object.fromEntries(
        Object.entries(annotations).filter((pair): pair is [string, string] =>
          typeof pair[1] === "string"
        ),
      ),
    };
  });
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
