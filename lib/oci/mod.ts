/**
 * OCI images in a composefs repository: pulling, tags, layers, trees and images.
 *
 * @module
 */
export {
  buildTree,
  imageBytes,
  ImageTree,
  type ImageTreeOptions,
  type LayerRef,
} from "./erofs_image.ts";
export {
  type DocumentStream,
  imageRefName,
  layerObject,
  linkedImage,
  listReferrers,
  mountableImage,
  type OciImage,
  type OpenConfig,
  openConfig,
  openImageRef,
  openManifest,
  resolveReference,
  staleReferrers,
} from "./image.ts";
export {
  type Admission,
  type ImageTrust,
  type JudgedManifest,
  judgeImage,
  type KeepSignatures,
  policyAdmission,
  policyImage,
  type TrustOptions,
} from "./admission.ts";
export { imageLinks, type TrustLink, type TrustLinkOptions } from "./trust_links.ts";
export { trustBundle, type TrustExportOptions } from "./trust_bundle.ts";
export {
  isReference,
  reportBundle,
  type ReportedSignature,
  reportRemote,
  reportStored,
  shownRequirement,
  simpleSignatures,
  type TrustReport,
  type TrustReportOptions,
} from "./trust_report.ts";
export { checkImages, type OciFsckOptions, type OciFsckReport } from "./fsck.ts";
export {
  type ImportLayerResult,
  importLayerStream,
  layerEntries,
  type LayerInfo,
  layerInfo,
  openLayer,
} from "./layer.ts";
export type { PullStats } from "./image_import.ts";
export { inspectBlobToc, type InspectedToc, inspectImageTocs } from "./inspect_toc.ts";
export type { LayerReport, PartialMode } from "./chunked_supply.ts";
export { pruneContentIndexes } from "./content_index_files.ts";
export type { ChunkedForecast } from "./chunked_layer.ts";
export type { DeltaMode } from "./delta_pull.ts";
export {
  type PlannedDelta,
  type PlannedLayer,
  type PlannedWay,
  planPull,
  type PullPlan,
} from "./plan.ts";
export { pullImage, type PullOptions, type PullResult } from "./pull.ts";
export { copyImage, type CopyOptions, type CopyResult } from "./copy.ts";
export { repairImage, type RepairOptions, type RepairResult } from "./repair.ts";
export { pushImage, type PushOptions, type PushResult, type PushStats } from "./push.ts";
export type { ManifestFormat } from "./repack.ts";
export { type SiblingImage, siblingImages } from "./sibling_images.ts";
export { gcRoot, listTags, resolveTag, type Tag, tagImage, tagRef, untagImage } from "./tags.ts";
export { createDelta, type DeltaCreateOptions } from "./delta_create.ts";
export {
  type DeltaInfo,
  type DeltaInfoOptions,
  type DeltaLayerInfo,
  type OperationCount,
  readDeltaInfo,
  type TarDiffFacts,
} from "./delta_info.ts";
export type { CreatedLayer, DeltaCreateResult } from "./delta_publish.ts";
