/**
 * Deltas between images: the tar-diff format, applying it to the files of the old image, and the
 * names of the artifact around it. Pure: bytes in, bytes out; knows no registry.
 *
 * @example Apply a tar-diff that is one literal
 * ```ts
 * import { TAR_DIFF_OP, TarDiffPatcher } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const file = { size: 3, read: (buffer: Uint8Array) => (buffer.fill(0x61), buffer.length) };
 * const patcher = new TarDiffPatcher({ source: { open: () => file } });
 * const { data, open, copy } = TAR_DIFF_OP;
 * const text = Uint8Array.of(data, 1, 0x3e, open, 1, 0x66, copy, 3);
 * const pieces = [...patcher.push(text), patcher.finish()];
 * assert.equal(new TextDecoder().decode(pieces[0]), ">aaa");
 * ```
 *
 * @module
 */
export {
  DELTA_ANNOTATION,
  DELTA_CONTENT,
  DELTA_TYPE,
  DELTA_TYPE_REDHAT,
  DELTA_TYPES,
  TAR_DIFF_LIMITS,
  TAR_DIFF_MAGIC,
  TAR_DIFF_OP,
  TAR_DIFF_TYPE,
  type TarDiffOp,
} from "./layout.ts";
export { OperationBudget } from "./budget.ts";
export { TarDiffReader, type TarDiffStep } from "./read.ts";
export {
  applyTarDiff,
  type ApplyTarDiffOptions,
  type TarDiffOptions,
  TarDiffPatcher,
  tarDiffText,
} from "./apply.ts";
export {
  DELTA_SOURCE_FORMAT,
  type DeltaSource,
  sourceFault,
  type SourceFile,
  sourceNotFound,
  sourcePath,
} from "./source.ts";
export {
  buildSourceTable,
  memoryFile,
  type SourceEntry,
  SourceTable,
  type SourceTableMemory,
  TableSource,
} from "./source_table.ts";
export { GeneratorView, treeSources } from "./source_view.ts";
export { ContentIndex, type ContentIndexParts, type Found } from "./content_index.ts";
export {
  type LayerPart,
  type LayerReader,
  type NewFile,
  type OldContents,
  PartDiffer,
  type PartDifferOptions,
} from "./create.ts";
export {
  listContents,
  type OldContent,
  Pairer,
  type Pairing,
  type TargetCompat,
} from "./pairing.ts";
export { type MatchSink, PairMatcher } from "./match.ts";
export { divideLayer } from "./parts.ts";
export { TarDiffWriter } from "./write.ts";
