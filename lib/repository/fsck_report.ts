/** What an integrity check found (spec: repository 9). */

/** Counters and errors of an integrity check; the names are those of the JSON output. */
export interface FsckReport {
  /** Whether there is no error. */
  ok: boolean;
  /** Whether `meta.json` is there. */
  has_metadata: boolean;
  /** Objects looked at. */
  objects_checked: number;
  /** Objects whose content is not what their name says. */
  objects_corrupted: number;
  /** Streams looked at. */
  streams_checked: number;
  /** Streams with at least one error. */
  streams_corrupted: number;
  /** Images looked at. */
  images_checked: number;
  /** Images with at least one error. */
  images_corrupted: number;
  /** Links that lead nowhere. */
  broken_links: number;
  /** References to objects that are not there. */
  missing_objects: number;
  /** One line an error, `fsck: <kind>: <text>`. */
  errors: string[];
  /** Who needs the damaged or missing objects: image, its names and a path in it, or stream. */
  affected: AffectedUser[];
  /** Left-overs that do no harm. */
  warnings: string[];
}

/** Something that uses a damaged or missing object. */
export interface AffectedUser {
  /** The object. */
  object: string;
  /** What uses it, for example `images/<id>` or `streams/<name>`. */
  user: string;
  /** Paths of the references that lead to the user, also by way of other streams. */
  refs: string[];
  /** A path in the image whose content the object is. */
  path?: string;
}

/** Kinds of errors; the first ones are the reference's, the last three ours. */
export type FsckKind =
  | "object-invalid-name"
  | "object-open-failed"
  | "object-digest-mismatch"
  | "object-verity-failed"
  | "object-verity-missing"
  | "entry-not-symlink"
  | "broken-symlink"
  | "stat-failed"
  | "unexpected-file-type"
  | "stream-open-failed"
  | "missing-object-ref"
  | "missing-named-ref"
  | "object-check-failed"
  | "stream-read-failed"
  | "image-open-failed"
  | "image-read-failed"
  | "image-invalid"
  | "image-missing-object"
  | "metadata-parse-failed"
  | "metadata-algorithm-mismatch"
  | "stream-content-invalid"
  | "image-name-mismatch"
  | "ref-target-invalid";

/** An empty report. */
export function newReport(hasMetadata: boolean): FsckReport {
  return {
    ok: true,
    has_metadata: hasMetadata,
    objects_checked: 0,
    objects_corrupted: 0,
    streams_checked: 0,
    streams_corrupted: 0,
    images_checked: 0,
    images_corrupted: 0,
    broken_links: 0,
    missing_objects: 0,
    errors: [],
    affected: [],
    warnings: [],
  };
}

/** Adds an error. */
export function addError(report: FsckReport, kind: FsckKind, text: string): void {
  report.ok = false;
  report.errors.push(`fsck: ${kind}: ${text}`);
}

/** The innermost reasons of an error in one line. */
export function reasonOf(error: unknown): string {
  const parts: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) parts.push(at.message);
  return parts.length === 0 ? String(error) : parts.join(": ");
}
