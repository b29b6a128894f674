/** The JSON documents of an image: index, manifest, config (OCI image-spec 1.1). */
import { Digest, FormatError, UnsupportedError } from "../base/mod.ts";
import * as v from "./_valibot.ts";
import { INDEX_TYPE, MANIFEST_TYPE } from "./media_types.ts";

/** Largest JSON document that is read, in bytes; the registries' usual limit. */
export const MAX_DOCUMENT_SIZE = 4 * 1024 * 1024;

const digestSchema = v.pipe(
  v.string(),
  v.check(isDigest, "expected a digest such as sha256:<64 hex digits>"),
  v.transform((text) => Digest.parse(text)),
);
const sizeSchema = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2 ** 53 - 1));
const annotationsSchema = v.nullish(v.record(v.string(), v.string()));

const platformSchema = v.object({
  architecture: v.string(),
  os: v.string(),
  variant: v.nullish(v.string()),
});

const descriptorSchema = v.object({
  mediaType: v.string(),
  digest: digestSchema,
  size: sizeSchema,
  annotations: annotationsSchema,
  platform: v.nullish(platformSchema),
  artifactType: v.nullish(v.string()),
  urls: v.nullish(v.array(v.string())),
  data: v.nullish(v.string()),
});

/** A field of other documents: what one reader takes for a manifest must be no index to another. */
const foreignSchema = v.nullish(v.never("belongs to another kind of document"));

const manifestSchema = v.object({
  schemaVersion: v.literal(2),
  mediaType: v.nullish(v.string()),
  artifactType: v.nullish(v.string()),
  config: descriptorSchema,
  layers: v.array(descriptorSchema),
  subject: v.nullish(descriptorSchema),
  annotations: annotationsSchema,
  manifests: foreignSchema,
  fsLayers: foreignSchema,
  history: foreignSchema,
});

const indexSchema = v.object({
  schemaVersion: v.literal(2),
  mediaType: v.nullish(v.string()),
  manifests: v.array(descriptorSchema),
  annotations: annotationsSchema,
  config: foreignSchema,
  layers: foreignSchema,
  fsLayers: foreignSchema,
  history: foreignSchema,
});

const typeSchema = v.object({
  schemaVersion: v.optional(v.unknown()),
  mediaType: v.nullish(v.string()),
  manifests: v.optional(v.unknown()),
});

const configSchema = v.object({
  architecture: v.optional(v.string(), ""),
  os: v.optional(v.string(), ""),
  variant: v.nullish(v.string()),
  created: v.nullish(v.string()),
  config: v.nullish(v.object({ Labels: v.nullish(v.record(v.string(), v.string())) })),
  rootfs: v.object({ type: v.nullish(v.string()), diff_ids: v.nullish(v.array(digestSchema)) }),
});

const dockerArchiveSchema = v.array(v.object({
  Config: v.string(),
  RepoTags: v.nullish(v.array(v.string())),
  Layers: v.array(v.string()),
}));

/** Digests become parts of file names; this leaves room for what stands before them. */
const MAX_DIGEST = 200;

function isDigest(text: string): boolean {
  if (text.length > MAX_DIGEST) return false;
  try {
    Digest.parse(text);
    return true;
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}

/** What an image runs on. */
export interface Platform {
  /** Go's name of the architecture. */
  readonly architecture: string;
  /** Go's name of the operating system. */
  readonly os: string;
  /** Variant of the architecture. */
  readonly variant?: string | null | undefined;
}

/** Refers to a blob by digest and size. */
export interface Descriptor {
  /** Media type of the blob. */
  readonly mediaType: string;
  /** Digest of the blob. */
  readonly digest: Digest;
  /** Its size in bytes. */
  readonly size: number;
  /** Annotations. */
  readonly annotations?: Readonly<Record<string, string>> | null | undefined;
  /** Platform of an index entry. */
  readonly platform?: Platform | null | undefined;
  /** Type of artifact that an index entry leads to. */
  readonly artifactType?: string | null | undefined;
  /** Where else the blob can be had. */
  readonly urls?: readonly string[] | null | undefined;
  /** The blob itself in base64, when it is small. */
  readonly data?: string | null | undefined;
}

/** An image manifest. */
export interface Manifest {
  /** Always 2. */
  readonly schemaVersion: 2;
  /** Its own media type, when it says so. */
  readonly mediaType?: string | null | undefined;
  /** Type of artifact. */
  readonly artifactType?: string | null | undefined;
  /** The config blob. */
  readonly config: Descriptor;
  /** The layers, oldest first. */
  readonly layers: readonly Descriptor[];
  /** Manifest that this one refers to. */
  readonly subject?: Descriptor | null | undefined;
  /** Annotations. */
  readonly annotations?: Readonly<Record<string, string>> | null | undefined;
}

/** An image index. */
export interface ImageIndex {
  /** Always 2. */
  readonly schemaVersion: 2;
  /** Its own media type, when it says so. */
  readonly mediaType?: string | null | undefined;
  /** The entries. */
  readonly manifests: readonly Descriptor[];
  /** Annotations. */
  readonly annotations?: Readonly<Record<string, string>> | null | undefined;
}

/** The parts of an image config that are used here. */
export interface ImageConfig extends Platform {
  /** Time of creation. */
  readonly created?: string | null | undefined;
  /** Labels. */
  readonly labels: Readonly<Record<string, string>>;
  /** Digests of the uncompressed layers, oldest first. */
  readonly diffIds: readonly Digest[];
}

/** Parses JSON text and checks it against a schema. */
function parse<T extends v.GenericSchema>(
  bytes: Uint8Array,
  schema: T,
  what: string,
): v.InferOutput<T> {
  if (bytes.length > MAX_DOCUMENT_SIZE) {
    throw new FormatError(
      what,
      `${what} has ${bytes.length} bytes, more than ${MAX_DOCUMENT_SIZE}`,
    );
  }
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FormatError(what, `${what} is not valid JSON`, { cause });
  }
  const result = v.safeParse(schema, document);
  if (result.success) return result.output;
  const issue = result.issues[0];
  const path = issue.path?.map((item) => String(item.key)).join(".") ?? "";
  throw new FormatError(what, `${what}: ${path === "" ? "" : `field ${path}: `}${issue.message}`);
}

/**
 * Parses an image manifest.
 *
 * @throws {FormatError} naming the field
 */
export function parseManifest(bytes: Uint8Array): Manifest {
  return parse(bytes, manifestSchema, "image manifest");
}

/** Parses an image index. */
export function parseIndex(bytes: Uint8Array): ImageIndex {
  return parse(bytes, indexSchema, "image index");
}

/** Parses an image config. */
export function parseConfig(bytes: Uint8Array): ImageConfig {
  const config = parse(bytes, configSchema, "image config");
  return {
    architecture: config.architecture,
    os: config.os,
    variant: config.variant,
    created: config.created,
    labels: config.config?.Labels ?? {},
    diffIds: config.rootfs.diff_ids ?? [],
  };
}

/** An image of an archive that `docker save` writes. */
export interface DockerArchiveImage {
  /** Member with the config. */
  readonly config: string;
  /** Names of the image. */
  readonly tags: readonly string[];
  /** Members with the layers, oldest first. */
  readonly layers: readonly string[];
}

/** Parses the list of images of an archive that `docker save` writes. */
export function parseDockerArchive(bytes: Uint8Array): DockerArchiveImage[] {
  return parse(bytes, dockerArchiveSchema, "manifest.json").map((image) => ({
    config: image.Config,
    tags: image.RepoTags ?? [],
    layers: image.Layers,
  }));
}

/**
 * Media type of a manifest or index: what it says itself, else what its fields tell.
 *
 * @param announced what somebody else says, taken when the document does not tell
 * @throws {FormatError} when it is no JSON object
 * @throws {UnsupportedError} for Docker's first schema
 */
export function documentType(bytes: Uint8Array, announced = ""): string {
  const document = parse(bytes, typeSchema, "image manifest");
  if (document.schemaVersion === 1) {
    throw new UnsupportedError("Images of Docker's schema 1 are not supported");
  }
  if (document.mediaType) return document.mediaType;
  if (announced !== "") return announced;
  return document.manifests === undefined ? MANIFEST_TYPE : INDEX_TYPE;
}
