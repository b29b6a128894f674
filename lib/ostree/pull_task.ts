/** What is known of a commit while it is pulled (spec: ostree 6). */
import type { Repository } from "../repository/mod.ts";
import type { Bases } from "./bases.ts";
import type { Checksum } from "./checksum.ts";
import type { CommitBuilder } from "./commit_builder.ts";
import type { Commit } from "./commit_object.ts";
import type { OstreeSource } from "./source.ts";

/** A commit that is about to be pulled, for those who check signatures. */
export interface ArrivedCommit {
  /** Its checksum, which was verified. */
  readonly checksum: Checksum;
  /** The commit object's bytes. */
  readonly bytes: Uint8Array;
  /** The commit object. */
  readonly commit: Commit;
  /** Its detached metadata, not verified. */
  readonly detached: Uint8Array | undefined;
}

/** A commit whose objects may be brought together by other means than one by one. */
export interface PullTask {
  /** Where it is pulled to. */
  readonly repository: Repository;
  /** Where it is pulled from. */
  readonly source: OstreeSource;
  /** The commit. */
  readonly arrived: ArrivedCommit;
  /** Its objects so far. */
  readonly builder: CommitBuilder;
  /** What stored commits hold. */
  readonly bases: Bases;
}

/** What a static delta brought. */
export interface DeltaResult {
  /** Metadata objects in it, the commit included. */
  readonly metadata: number;
  /** Files in it. */
  readonly files: number;
  /** Its parts. */
  readonly parts: number;
}
