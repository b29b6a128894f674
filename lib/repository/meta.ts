/** `meta.json`: version, algorithm, feature flags and EROFS formats (spec: repository 3). */
import { type Algorithm, FormatError, InvalidNameError, parseAlgorithm } from "../base/mod.ts";
import type { ErofsVersion } from "../erofs/mod.ts";
import { checkDuplicateKeys } from "./json.ts";

/** Newest repository format that this program understands. */
export const REPOSITORY_VERSION = 1;

/** The read-only-compatible feature that goes with EROFS format 1 as default. */
const V1_EROFS = "v1_erofs";
const KNOWN_RO_FEATURES: readonly string[] = [V1_EROFS];

/** Feature flags; unknown ones decide what may be done with a repository. */
export interface Features {
  /** Ignored when unknown. */
  readonly compatible: readonly string[];
  /** Reading is allowed when unknown, writing is not. */
  readonly readOnlyCompatible: readonly string[];
  /** Nothing is allowed when unknown. */
  readonly incompatible: readonly string[];
}

/** The EROFS formats that images are written in. */
export interface ErofsFormats {
  /** The format whose image gets the names. */
  readonly default: ErofsVersion;
  /** Further formats, ascending. */
  readonly extra: readonly ErofsVersion[];
}

/** Content of `meta.json`. */
export interface Metadata {
  /** Format version of the repository. */
  readonly version: number;
  /** fs-verity algorithm of all objects. */
  readonly algorithm: Algorithm;
  /** Feature flags. */
  readonly features: Features;
  /** EROFS formats as stored. */
  readonly erofsFormats: ErofsFormats;
}

/** Metadata of a new repository. */
export function newMetadata(algorithm: Algorithm, version: ErofsVersion): Metadata {
  return {
    version: REPOSITORY_VERSION,
    algorithm,
    features: {
      compatible: [],
      readOnlyCompatible: version === 1 ? [V1_EROFS] : [],
      incompatible: [],
    },
    erofsFormats: { default: version, extra: [] },
  };
}

/** The formats in effect: an old `default: 2` with `v1_erofs` means 1. */
export function effectiveFormats(meta: Metadata): ErofsVersion[] {
  const { default: first, extra } = meta.erofsFormats;
  if (first === 2 && extra.length === 0 && meta.features.readOnlyCompatible.includes(V1_EROFS)) {
    return [1];
  }
  return [first, ...extra.filter((v) => v !== first)];
}

/** Features that forbid writing. */
export function unknownReadOnlyFeatures(meta: Metadata): string[] {
  return meta.features.readOnlyCompatible.filter((f) => !KNOWN_RO_FEATURES.includes(f));
}

/** The exact text of `meta.json`. */
export function formatMetadata(meta: Metadata): string {
  const extra = meta.erofsFormats.extra;
  const document = {
    version: meta.version,
    algorithm: meta.algorithm.id,
    features: {
      compatible: meta.features.compatible,
      "read-only-compatible": meta.features.readOnlyCompatible,
      incompatible: meta.features.incompatible,
    },
    erofs_formats: extra.length === 0
      ? { default: meta.erofsFormats.default }
      : { default: meta.erofsFormats.default, extra: [...extra].sort((a, b) => a - b) },
  };
  return JSON.stringify(document, null, 2) + "\n";
}

/** Whether two repositories would be configured alike. */
export function sameMetadata(a: Metadata, b: Metadata): boolean {
  return formatMetadata(a) === formatMetadata(b);
}

function fail(message: string, cause?: unknown): never {
  throw new FormatError("meta.json", message, cause === undefined ? {} : { cause });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Parses `meta.json`.
 *
 * @throws {FormatError} for anything that is no valid metadata, a version above
 * {@linkcode REPOSITORY_VERSION} or an unknown incompatible feature
 */
export function parseMetadata(bytes: Uint8Array): Metadata {
  let document: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    document = JSON.parse(text);
    checkDuplicateKeys(text, "meta.json");
  } catch (error) {
    if (error instanceof FormatError) throw error;
    fail(`invalid JSON: ${error instanceof Error ? error.message : error}`, error);
  }
  if (!isRecord(document)) fail("expected an object");
  const version = parseVersion(document.version);
  const algorithm = parseAlgorithmField(document.algorithm);
  const features = parseFeatures(document.features);
  const erofsFormats = parseFormats(document.erofs_formats);
  if (version > REPOSITORY_VERSION) {
    fail(
      `unsupported repository format version ${version} (this tool supports up to ${REPOSITORY_VERSION})`,
    );
  }
  if (features.incompatible.length > 0) {
    fail(
      `repository requires unknown incompatible features: ${featureList(features.incompatible)}`,
    );
  }
  return { version, algorithm, features, erofsFormats };
}

/** Feature names as the reference prints them. */
export function featureList(features: readonly string[]): string {
  return `[${features.map((f) => JSON.stringify(f)).join(", ")}]`;
}

function parseVersion(value: unknown): number {
  if (value === undefined) fail("missing field `version`");
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 0xffffffff) {
    fail(`invalid value ${JSON.stringify(value)} for \`version\`, expected u32`);
  }
  return value;
}

function parseAlgorithmField(value: unknown): Algorithm {
  if (value === undefined) fail("missing field `algorithm`");
  if (typeof value !== "string") {
    fail(`invalid type ${JSON.stringify(value)} for \`algorithm\`, expected a string`);
  }
  try {
    return parseAlgorithm(value);
  } catch (error) {
    if (!(error instanceof InvalidNameError)) throw error;
    return fail(error.message, error);
  }
}

function parseFeatures(value: unknown): Features {
  if (value === undefined) return { compatible: [], readOnlyCompatible: [], incompatible: [] };
  if (!isRecord(value)) fail(`invalid value ${JSON.stringify(value)} for \`features\``);
  return {
    compatible: parseStrings(value, "compatible"),
    readOnlyCompatible: parseStrings(value, "read-only-compatible"),
    incompatible: parseStrings(value, "incompatible"),
  };
}

function parseStrings(record: Record<string, unknown>, key: string): string[] {
  const value = record[key];
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
    fail(`invalid value for \`features.${key}\`, expected a list of strings`);
  }
  return value;
}

function parseFormats(value: unknown): ErofsFormats {
  if (value === undefined) return { default: 2, extra: [] };
  if (!isRecord(value)) fail(`invalid value ${JSON.stringify(value)} for \`erofs_formats\``);
  if (value.default === undefined) fail("missing field `default` in `erofs_formats`");
  const { extra = [] } = value;
  if (!Array.isArray(extra)) fail("invalid value for `erofs_formats.extra`, expected a list");
  const versions = new Set(extra.map(parseErofsVersion));
  return {
    default: parseErofsVersion(value.default),
    extra: [...versions].sort((a, b) => a - b),
  };
}

function parseErofsVersion(value: unknown): ErofsVersion {
  if (value === 0 || value === 1 || value === 2) return value;
  return fail(`invalid value: ${JSON.stringify(value)}, expected one of: 0, 1, 2`);
}
