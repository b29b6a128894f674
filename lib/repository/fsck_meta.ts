/** Checking `meta.json` (spec: repository 9). */
import { fstat, openIfExists, preadFull } from "../../ffi/mod.ts";
import type { RepositoryState } from "./_state.ts";
import { addError, type FsckReport, reasonOf } from "./fsck_report.ts";
import {
  featureList,
  formatMetadata,
  type Metadata,
  newMetadata,
  parseMetadata,
  unknownReadOnlyFeatures,
} from "./meta.ts";

/** Checks `meta.json` once more; opening the repository has read it, perhaps a while ago. */
export function checkMetadata(state: RepositoryState, report: FsckReport): void {
  using fd = openIfExists(state.root, "meta.json");
  if (fd === undefined) return;
  try {
    const room = new Uint8Array(Math.max(4096, fstat(fd).size));
    const bytes = room.subarray(0, preadFull(fd, room, 0));
    const meta = parseMetadata(bytes);
    if (meta.algorithm.id !== state.algorithm.id) {
      addError(
        report,
        "metadata-algorithm-mismatch",
        `meta.json: expected ${meta.algorithm.id}, repository opened as ${state.algorithm.hash}`,
      );
    }
    const unknown = unknownReadOnlyFeatures(meta);
    if (unknown.length > 0) {
      report.warnings.push(
        `meta.json: unknown read-only-compatible features ${featureList(unknown)}`,
      );
    } else if (!isAsWritten(meta, bytes)) {
      report.warnings.push("meta.json: not in the form that is written; made by hand or damaged");
    }
  } catch (error) {
    addError(report, "metadata-parse-failed", `meta.json: ${reasonOf(error)}`);
  }
}

/** Whether the text is the one that is written for its settings; no changed byte gives another. */
function isAsWritten(meta: Metadata, bytes: Uint8Array): boolean {
  const { algorithm, erofsFormats } = meta;
  const written = { ...newMetadata(algorithm, erofsFormats.default), erofsFormats };
  return new TextDecoder().decode(bytes) === formatMetadata(written);
}
