/**
 * Composefs repositories: objects named by their fs-verity digest, streams and images over them,
 * references, garbage collection and the integrity check.
 *
 * @example Make a repository and store something
 * ```ts
 * import { initRepository, Repository } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const path = Deno.makeTempDirSync();
 * initRepository(path, { insecure: true });
 * using repository = Repository.open(path);
 * const { id } = repository.objects.write(new TextEncoder().encode("hello"));
 * assert.equal(new TextDecoder().decode(repository.objects.read(id)), "hello");
 * Deno.removeSync(path, { recursive: true });
 * ```
 *
 * @module
 */
export type { DamageFindings, KnownDamage } from "./damage_list.ts";
export { type DownloadFile, Downloads } from "./downloads.ts";
export type { FsckOptions } from "./fsck.ts";
export { type AffectedUser, type FsckKind, type FsckReport, reasonOf } from "./fsck_report.ts";
export type { GcOptions, GcResult } from "./gc.ts";
export { forgetHealed, healingWrites, soundObjects } from "./healing.ts";
export type { ImageRef } from "./images.ts";
export { type InitOptions, initRepository, type InitResult } from "./init.ts";
export { checkDuplicateKeys } from "./json.ts";
export {
  effectiveFormats,
  type ErofsFormats,
  type Features,
  formatMetadata,
  type Metadata,
  newMetadata,
  parseMetadata,
  REPOSITORY_VERSION,
} from "./meta.ts";
export { checkRefName, decodeRefComponent, encodeRefComponent, randomName } from "./names.ts";
export type { ObjectFile, StoredObject, StoreOutcome } from "./object_file.ts";
export { ObjectDirectory, type ObjectDirectoryOptions } from "./object_write.ts";
export { SpaceWatch } from "./space_watch.ts";
export {
  DiskObjectStore,
  MAX_BUFFERED_OBJECT,
  type ObjectPruner,
  type ObjectReader,
  type ObjectSink,
  type ObjectWriter,
  type StrayFile,
} from "./objects.ts";
export type { Category, Ref } from "./refs.ts";
export { type OpenRepositoryOptions, Repository } from "./repository.ts";
export { ObjectContentSink, objectSinkSource } from "./scan_sink.ts";
export {
  type OpenStream,
  singleObject,
  streamContent,
  type StreamContentOptions,
} from "./streams.ts";
