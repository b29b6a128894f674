/**
 * OCI images in a composefs repository: pulling, tags, layers, trees and images.
 *
 * @example Pull an image from a layout that is made here
 * ```ts
 * import { listTags, openImageRef, pullImage } from "./mod.ts";
 * import { initRepository, Repository } from "../repository/mod.ts";
 * import assert from "node:assert/strict";
 * import { createHash } from "node:crypto";
 *
 * const dir = Deno.makeTempDirSync();
 * Deno.mkdirSync(`${dir}/layout/blobs/sha256`, { recursive: true });
 * const blob = (type: string, content: Uint8Array | object) => {
 *   const text = content instanceof Uint8Array ? content : JSON.stringify(content);
 *   const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
 *   const hash = createHash("sha256").update(bytes).digest("hex");
 *   Deno.writeFileSync(`${dir}/layout/blobs/sha256/${hash}`, bytes);
 *   const mediaType = `application/vnd.oci.image.${type}`;
 *   return { mediaType, digest: `sha256:${hash}`, size: bytes.length };
 * };
 * const layer = blob("layer.v1.tar", new Uint8Array(1024)); // a tar with nothing in it
 * const rootfs = { type: "layers", diff_ids: [layer.digest] };
 * const config = blob("config.v1+json", { os: "linux", architecture: "amd64", rootfs });
 * const manifest = blob("manifest.v1+json", { schemaVersion: 2, config, layers: [layer] });
 * const index = { schemaVersion: 2, manifests: [manifest] };
 * Deno.writeTextFileSync(`${dir}/layout/index.json`, JSON.stringify(index));
 *
 * initRepository(`${dir}/repo`, { insecure: true });
 * using repository = Repository.open(`${dir}/repo`);
 * await pullImage(repository, `oci:${dir}/layout`, { name: "empty" });
 * assert.deepEqual(listTags(repository).map(({ name }) => name), ["empty"]);
 * assert.equal(openImageRef(repository, "empty").manifestDigest.toString(), manifest.digest);
 * Deno.removeSync(dir, { recursive: true });
 * ```
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
