/**
 * Delta fixtures without a repository: layouts as maps of blobs, old images as tables of files.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import type { ObjectId } from "../../lib/base/mod.ts";
import {
  applyTarDiff,
  DELTA_ANNOTATION,
  GeneratorView,
  memoryFile,
  SourceTable,
  type SourceTableMemory,
  TableSource,
  TAR_DIFF_TYPE,
  treeSources,
} from "../../lib/delta/mod.ts";
import { LayerTreeBuilder } from "../../lib/oci/layer_tree.ts";
import { unpack } from "../../lib/transport/unpack.ts";
import {
  locateTarMembers,
  readTarEntries,
  type TarChunk,
  type TarEntry,
  TarSplitter,
} from "../../lib/tar/mod.ts";
import { ROOT } from "../helpers/run.ts";

/** Where the fixtures are. */
export const FIXTURES = `${ROOT}fixtures/oci/delta/`;

/** A row of `expected.json`; generated and handwritten deltas have different fields. */
export interface DeltaRow {
  ref_exit_v2_repo: number;
  ref_stderr?: string;
  target_manifest?: string;
  target_config?: string;
  target_erofs_v1?: string;
  target_erofs_v2?: string;
  tar_diffs?: { to: string; size: number; ops: [string, number, string][] }[];
  base?: string;
  ref_error_or_first_line?: string;
}

/** What the reference made of the deltas. */
export function expectedDeltas(): Record<string, DeltaRow> {
  return JSON.parse(Deno.readTextFileSync(`${FIXTURES}expected.json`));
}

/** Name of the old image that a delta starts from. */
export function oldImage(name: string): string {
  if (name.startsWith("hand-")) return "hand-old";
  return name.startsWith("gen-") ? `${name}-old` : "main-old";
}

/** Name of the new image that a sound delta makes. */
export function newImage(name: string): string {
  if (name.startsWith("hand-")) return "hand-new";
  if (name === "run") return "run-new";
  return name.startsWith("gen-") ? `${name}-new` : "main-new";
}

interface JsonDescriptor {
  mediaType: string;
  digest: string;
  annotations?: Record<string, string>;
}

/** The blobs of a layout and the manifest in its index. */
export class Layout {
  readonly #files = new Map<string, Uint8Array>();
  readonly manifest: {
    config: JsonDescriptor;
    layers: JsonDescriptor[];
    annotations?: Record<string, string>;
  };

  /** Reads a fixture. */
  constructor(name: string) {
    const archive = Deno.readFileSync(`${FIXTURES}${name}.oci.tar`);
    const read = (buffer: Uint8Array, offset: number) => {
      const part = archive.subarray(offset, offset + buffer.length);
      buffer.set(part);
      return part.length;
    };
    for (const member of locateTarMembers(read, archive.length)) {
      this.#files.set(member.path, archive.subarray(member.offset, member.offset + member.size));
    }
    this.manifest = this.json(this.#json("index.json").manifests[0]);
  }

  // deno-lint-ignore no-explicit-any -- documents of fixtures
  #json(path: string): any {
    return JSON.parse(new TextDecoder().decode(this.#files.get(path)));
  }

  /** A blob. */
  blob({ digest }: { digest: string }): Uint8Array {
    return this.#files.get(`blobs/${digest.replace(":", "/")}`)!;
  }

  // deno-lint-ignore no-explicit-any -- documents of fixtures
  json(descriptor: { digest: string }): any {
    return JSON.parse(new TextDecoder().decode(this.blob(descriptor)));
  }

  /** The tar-diffs by the layer they make. */
  tarDiffs(): [to: string, bytes: Uint8Array][] {
    return this.manifest.layers.filter(({ mediaType }) => mediaType === TAR_DIFF_TYPE)
      .map((layer) => [layer.annotations?.[DELTA_ANNOTATION.to] ?? "", this.blob(layer)]);
  }
}

/** Objects of the layers that were split, by ids that only serve to find them again. */
const objects = new Map<ObjectId, Uint8Array>();

function entriesOf(tar: Uint8Array): TarEntry[] {
  const chunks: TarChunk[] = [];
  let parts: Uint8Array[] = [];
  const splitter = new TarSplitter({
    inline: (bytes) => void chunks.push({ type: "inline", bytes: bytes.slice() }),
    externalStart: () => parts = [],
    externalData: (bytes) => void parts.push(bytes.slice()),
    externalEnd: () => {
      const content = Buffer.concat(parts);
      const id = createHash("sha256").update(content).digest("hex") as ObjectId;
      objects.set(id, content);
      chunks.push({ type: "external", id });
    },
  });
  splitter.push(tar);
  splitter.finish();
  return [...readTarEntries(chunks)];
}

/** A fixture's layers as plain tars. */
export function layersOf(name: string): Uint8Array[] {
  const layout = new Layout(name);
  return layout.manifest.layers.map((layer) => {
    const packed = layout.blob(layer);
    if (packed[0] === 0x1f) return gunzipSync(packed);
    return packed[0] === 0x28 ? zstdDecompressSync(packed) : packed;
  });
}

/** Both ideas of an old image's files. */
export function sourceTables(name: string): Record<"true" | "generator", SourceTableMemory> {
  const builder = new LayerTreeBuilder();
  const generator = new GeneratorView();
  for (const [i, tar] of layersOf(name).entries()) {
    const entries = entriesOf(tar);
    builder.applyLayer(entries, `${i}`);
    generator.add(entries);
  }
  return { true: treeSources(builder.tree), generator: generator.finish() };
}

/** The files of a table, read from memory. */
export function tableSource(memory: SourceTableMemory): TableSource {
  return new TableSource(new SourceTable(memory), (id) => memoryFile(objects.get(id)!));
}

/** Cuts bytes into pieces. */
export function* pieces(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Applies a tar-diff to memory; returns the layer. */
export async function applied(
  bytes: Uint8Array,
  memory: SourceTableMemory,
  options: { pieceSize?: number; limit?: number } = {},
): Promise<Buffer> {
  const out: Uint8Array[] = [];
  const packed = pieces(bytes, options.pieceSize ?? bytes.length);
  for await (
    const piece of applyTarDiff(packed, {
      source: tableSource(memory),
      unpack: (pieces) => unpack(pieces, "zstd"),
      ...(options.limit === undefined ? {} : { limit: options.limit }),
    })
  ) out.push(piece.slice());
  return Buffer.concat(out);
}

/** `sha256:` digest. */
export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
