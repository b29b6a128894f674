/**
 * A client for container registries: names, access, manifests, blobs, what refers to them, uploads.
 *
 * @example The full name of an image
 * ```ts
 * import { formatDockerReference, parseDockerReference } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const reference = parseDockerReference("busybox:1.36");
 * assert.equal(formatDockerReference(reference), "docker.io/library/busybox:1.36");
 * ```
 *
 * @module
 */
export type { Credentials } from "./auth.ts";
export { parseCredentials } from "./auth_files.ts";
export type { BlobRef, BlobSink } from "./blob.ts";
export { RegistryClient, type RegistryClientOptions } from "./client.ts";
export { RegistryError, type RegistryFault } from "./error.ts";
export type { RemoteDescriptor } from "./json.ts";
export type { BlobRange, RangeSink, RangesResult } from "./ranges.ts";
export {
  attachmentTag,
  DEFAULT_DOMAIN,
  type DockerReference,
  formatDockerReference,
  isTag,
  parseDockerReference,
  wanted,
} from "./reference.ts";
export {
  type ManifestHead,
  MAX_MANIFEST,
  type RemoteManifest,
  type StoredManifest,
} from "./manifest.ts";
export { type FetchOptions, RemoteRepository } from "./repository.ts";
export type { Surroundings } from "./surroundings.ts";
export {
  type BlobUpload,
  DEFAULT_CHUNK,
  type UploadOptions,
  type UploadResult,
  type UploadSource,
} from "./upload.ts";
