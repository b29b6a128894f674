/**
 * OSTree: the serialization of its objects, its repositories, and commits in composefs repositories.
 *
 * @example Look into a directory object
 * ```ts
 * import { encodeDirTree, parseDirTree, checksumOf } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const checksum = checksumOf(new TextEncoder().encode("any object"));
 * const bytes = encodeDirTree({ files: [{ name: "file", checksum }], dirs: [] });
 * assert.equal(parseDirTree(bytes).files[0]?.checksum, checksum);
 * ```
 *
 * @module
 */
export { swap32, swap64, Variant, type VariantValue } from "./variant.ts";
export { decodeVariant, type DecodeVariantOptions } from "./variant_read.ts";
export { encodeVariant } from "./variant_write.ts";
export {
  type Checksum,
  CHECKSUM_SIZE,
  type checksumBrand,
  checksumBytes,
  checksumFromBytes,
  checksumOf,
  isChecksum,
  parseChecksum,
} from "./checksum.ts";
export {
  corruptedObject,
  kindOfNumber,
  MAX_METADATA_SIZE,
  type MetadataKind,
  OBJECT_NUMBER,
  type ObjectExtension,
  type ObjectKind,
  ostreeObjectPath,
} from "./object_kind.ts";
export {
  type Commit,
  COMMIT_TYPE,
  contentChecksum,
  encodeCommit,
  encodeMetadata,
  METADATA_TYPE,
  type MetadataEntries,
  metadataValue,
  parseCommit,
  parseMetadata,
  refBinding,
} from "./commit_object.ts";
export { type ObjectSize, objectSizes } from "./commit_sizes.ts";
export { type DirMeta, DIRMETA_TYPE, encodeDirMeta, parseDirMeta } from "./dirmeta.ts";
export {
  checkFileName,
  type DirTree,
  DIRTREE_TYPE,
  encodeDirTree,
  parseDirTree,
  type TreeDirectory,
  type TreeFile,
} from "./dirtree.ts";
export {
  ARCHIVE_HEADER_TYPE,
  checkFileHeader,
  encodeArchiveHeader,
  encodeStreamHeader,
  type FileHeader,
  FRAME_SIZE,
  frameHeader,
  isSymlink,
  MAX_HEADER_SIZE,
  parseArchiveHeader,
  parseFrame,
  parseStreamHeader,
  STREAM_HEADER_TYPE,
} from "./file_header.ts";
export { type CheckOptions, xattrsFromVariant, xattrsToVariant } from "./xattr_list.ts";
export {
  type FileImport,
  type ImportedFile,
  type ImportedObject,
  type ImportOptions,
  type ImportTarget,
  inlineLimit,
  type OstreeSource,
  type ResolvedRef,
} from "./source.ts";
export { type Keyfile, keyfileBoolean, keyfileList, parseKeyfile } from "./keyfile.ts";
export { ContentImporter } from "./content_import.ts";
export { ArchiveSink, ContentSink } from "./content_sink.ts";
export { LocalRepository } from "./local_repository.ts";
export type { ObjectsPlace, RepositoryMode } from "./local_objects.ts";
export { CommitChunk, type CommitEntry, encodeChunk, type EncodedChunk } from "./commit_chunk.ts";
export {
  commitStreamName,
  type CommitTag,
  commitTagRef,
  findCommit,
  listCommits,
  listCommitTags,
  resolveCommitTag,
  tagCommit,
  untagCommit,
} from "./commit_names.ts";
export {
  type CommitContent,
  createCommitImage,
  openCommit,
  readDetachedMetadata,
  storeCommit,
  type StoredCommit,
} from "./stored_commit.ts";
export {
  type CommitImages,
  commitTree,
  type EntryLookup,
  type FileEntry,
  fileEntry,
  storeCommitImage,
  storeCommitImages,
} from "./commit_tree.ts";
export { Bases } from "./bases.ts";
export { Suspects } from "./suspects.ts";
export { CommitBuilder } from "./commit_builder.ts";
export {
  type ArrivedCommit,
  type DeltaResult,
  type OstreePullOptions,
  type OstreePullResult,
  type OstreePullStats,
  pullCommit,
  type PullTask,
} from "./pull.ts";
export { formatMetadataValue, metadataToJson } from "./inspect.ts";
export {
  deltaIndexPath,
  type DeltaName,
  deltaPath,
  type ListedDelta,
  listedDeltas,
  parseDeltaIndex,
  parseDeltaName,
} from "./delta_names.ts";
export {
  type DeltaEnvelope,
  type DeltaFallback,
  type DeltaPartEntry,
  type DeltaSuperblock,
  type InlinePart,
  MAX_SUPERBLOCK_SIZE,
  openDeltaEnvelope,
  parseDeltaSuperblock,
} from "./delta_superblock.ts";
export type { DeltaSource } from "./delta_patch.ts";
export type { PartFileContent } from "./delta_part.ts";
export type { OpenScratch } from "./delta_xz.ts";
export type { DeltaBase, DeltaCounts, DeltaFileSink, DeltaSink } from "./delta_sink.ts";
export { applyDelta, type ApplyDeltaOptions, type DeltaParts } from "./delta_apply.ts";
export { applyDeltaToPull, applyLocalDelta, type ApplyLocalDeltaOptions } from "./delta_pull.ts";
export { RemoteSource, type RemoteSourceOptions } from "./remote_source.ts";
export type { ArrivedSummary, RemoteSummaryOptions } from "./remote_summary.ts";
export { pullRemote, type RemotePullOptions } from "./remote_pull.ts";
export { PartFile } from "./part_file.ts";
export { type JournalEntry, pruneJournals, PullJournal } from "./pull_journal.ts";
export { remoteClientOptions, type RemoteTransport } from "./remote_client.ts";
export {
  type CachedSummary,
  encodeCachedSummary,
  parseCachedSummary,
  repositorySummaryCache,
  type SummaryCache,
  summaryCacheKey,
} from "./summary_cache.ts";
export {
  parseSummary,
  parseSummaryIndex,
  type Summary,
  summaryCommit,
  type SummaryIndex,
  type SummaryRef,
} from "./summary.ts";
export {
  type GpgKeyFile,
  GpgKeyring,
  type GpgStatus,
  type GpgVerdict,
  type GpgVerifyOptions,
} from "../signature/mod.ts";
export {
  isSignType,
  NO_SIGN_KEYS,
  parseSignKey,
  parseSignKeys,
  SIGN_TYPES,
  SignKey,
  type SignKeys,
  type SignType,
} from "./sign_keys.ts";
export {
  NO_VERIFICATION,
  type SignRequirement,
  verifiesCommits,
  verifiesSummary,
  type VerifyPolicy,
} from "./verify_policy.ts";
export {
  GPG_SIGNATURES,
  type ValidSignature,
  verifyCommit,
  verifyDelta,
  type VerifyOptions,
  type VerifyReport,
  verifySummary,
} from "./verify.ts";
export {
  gpgKeyFiles,
  type KeyArguments,
  keyPolicy,
  remotePolicy,
  type RemotePolicyOptions,
  SYSTEM_TRUST,
  type TrustPlaces,
} from "./trusted_keys.ts";
export {
  checkRemoteName,
  Remote,
  REMOTE_OPTIONS,
  remoteGroup,
  type RemoteOption,
} from "./remote.ts";
export { type AddRemoteOptions, keyringName, REMOTES_DIRECTORY, RemoteStore } from "./remotes.ts";
export { type CommitDiff, diffCommits, type DiffSide } from "./diff.ts";
export { type ReachableObject, reachableObjects } from "./reachable.ts";
export {
  type CheckCommitOptions,
  checkStoredCommit,
  type CommitFsckReport,
} from "./commit_fsck.ts";
export { commitImage, type CommitImageOptions, type CreatedCommit } from "./commit_image.ts";
export { exportCommit, type ExportOptions, type ExportResult } from "./export.ts";
export { deltaFromServer, type DeltaServer, type ServerDeltaOptions } from "./delta_remote.ts";
export { DeltaDirectory, type LocalDelta, readLocalDelta, writeLocalDelta } from "./delta_files.ts";
export { type GeneratedDelta, generateDelta, type GenerateDeltaOptions } from "./delta_generate.ts";
export { SecretKey } from "./secret_key.ts";
