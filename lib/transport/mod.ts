/**
 * Where images come from and go to: the transports of containers-transports(5), and the documents
 * that they carry.
 *
 * @example What does a name mean?
 * ```ts
 * import { parseImageReference } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const { transport, rest } = parseImageReference("oci-archive:/tmp/os.tar:41");
 * assert.deepEqual([transport, rest], ["oci-archive", "/tmp/os.tar:41"]);
 * ```
 *
 * @module
 */
export { indexMembers, openArchive, openTar } from "./archive.ts";
export { Arrival, waitForMore } from "./arrival.ts";
export {
  type Blob,
  type BlobStore,
  checkDocumentSize,
  digestHash,
  readDocument,
  readRange,
  verifyBytes,
} from "./blob.ts";
export type { BlobSlot, ImageDestination, PushedManifest } from "./destination.ts";
export { openScratch, temporaryDirectory } from "./scratch.ts";
export {
  type Descriptor,
  type ImageConfig,
  type ImageIndex,
  type Manifest,
  MAX_DOCUMENT_SIZE,
  parseConfig,
  parseIndex,
  parseManifest,
  type Platform,
} from "./documents.ts";
export { LAYOUT_FILE } from "./index_entries.ts";
export type { LayoutStore } from "./layout.ts";
export { layoutAttachments } from "./layout_attachments.ts";
export {
  type Compression,
  CONFIG_TYPE,
  DOCKER_CONFIG_TYPE,
  DOCKER_MANIFEST_TYPE,
  INDEX_TYPE,
  isImageConfigType,
  isSignatureLayer,
  MANIFEST_TYPE,
  REF_NAME_ANNOTATION,
  tarCompression,
} from "./media_types.ts";
export { type DestinationOptions, openDestination } from "./open_destination.ts";
export { openSource, type RegistryAccess, type SourceOptions } from "./open_source.ts";
export { formatPlatform, nativePlatform, parsePlatform, platformRank } from "./platform.ts";
export { RangeArrival, waitForRange } from "./range_arrival.ts";
export {
  type EntrySelector,
  type ImageReference,
  isTransportReference,
  type LayoutReference,
  parseImageReference,
  parseLayoutReference,
  type Transport,
} from "./reference.ts";
export type { RegistrySourceOptions } from "./registry_source.ts";
export type {
  BlobOptions,
  ByteRange,
  Document,
  ImageSource,
  RangeSink,
  SelectedManifest,
} from "./source.ts";
export { sniffCompression, unpack } from "./unpack.ts";
