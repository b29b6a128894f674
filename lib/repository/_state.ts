/** What the parts of a repository share; no other room sees it. */
import type { Algorithm } from "../base/mod.ts";
import { PolicyError } from "../base/mod.ts";
import { checkWritable, type Fd, fstatfs, syncfs } from "../../ffi/mod.ts";
import { featureList, type Metadata, unknownReadOnlyFeatures } from "./meta.ts";
import type { DiskObjectStore } from "./objects.ts";
import type { ErofsVersion } from "../erofs/mod.ts";

/** The inner state of an open repository. */
export interface RepositoryState {
  /** Path as given. */
  readonly path: string;
  /** The repository directory; carries the lock. */
  readonly root: Fd;
  /** Content of `meta.json`, or what stands for it in an old read-only repository. */
  readonly meta: Metadata;
  /** Whether `meta.json` is there. */
  readonly hasMetadata: boolean;
  /** Algorithm of the objects. */
  readonly algorithm: Algorithm;
  /** Whether every object must have fs-verity. */
  readonly secure: boolean;
  /** EROFS formats to write, the default first. */
  readonly formats: readonly ErofsVersion[];
  /** The objects. */
  readonly objects: DiskObjectStore;
  /** Told about repairs and decisions that the user should know of. */
  readonly notice: (text: string) => void;
}

/**
 * Checks that the repository can be written to, before anything is changed.
 *
 * @throws {PolicyError} with the reason
 */
export function assertWritable(state: RepositoryState): void {
  if (fstatfs(state.root).readOnly) {
    const message = "Repository is not writable: read-only file system";
    throw new PolicyError(message, { detail: "read-only" });
  }
  try {
    checkWritable(state.root);
  } catch (cause) {
    throw new PolicyError("Repository is not writable", { cause });
  }
  const unknown = unknownReadOnlyFeatures(state.meta);
  if (unknown.length > 0) {
    throw new PolicyError(
      `repository has unknown read-only-compatible features: ${
        featureList(unknown)
      }; refusing to write`,
    );
  }
}

/** Makes all objects durable; always before a name is made that leads to them. */
export function syncRepository(state: RepositoryState): void {
  syncfs(state.root);
}
