/** Making a layer from a tar-diff and the old image's files; runs in a worker (spec: oci 7.4). */
import { type ObjectId, objectPath, type TaskContext } from "../base/mod.ts";
import { type Fd, fstat, O, openAt, preadFull } from "../../ffi/mod.ts";
import {
  applyTarDiff,
  type SourceFile,
  SourceTable,
  type SourceTableMemory,
  TableSource,
} from "../delta/mod.ts";
import type { BlobTask } from "./blob_pieces.ts";
import { Check } from "./digest_check.ts";
import {
  type ImportedLayer,
  importUnpacked,
  type LayerTarget,
  PackedReader,
} from "./layer_import.ts";
import { unpack } from "../transport/mod.ts";

/** A layer to make from a tar-diff, as sent to a worker. */
export interface DeltaTask extends LayerTarget {
  /** The tar-diff. */
  readonly blob: BlobTask;
  /** Its digest. */
  readonly digest: string;
  /** Files of the old image. */
  readonly files: SourceTableMemory;
  /** Most bytes that the layer may have. */
  readonly limit: number;
}

/** Copied files that are remembered until they are asked for. */
const MAX_COPIES = 100_000;

/** Opens objects one after the other; only the last one stays open. */
class ObjectFiles implements Disposable {
  readonly #dir: number;
  #fd: Fd | undefined;
  #id: ObjectId | undefined;

  constructor(dir: number) {
    this.#dir = dir;
  }

  open(id: ObjectId, size: number): SourceFile {
    if (this.#id !== id) {
      this.#fd?.close();
      this.#id = undefined;
      this.#fd = openAt(this.#dir, objectPath(id), {
        flags: O.RDONLY | O.NOFOLLOW | O.NONBLOCK,
      });
      this.#id = id;
    }
    const { number } = this.#fd!;
    const object = fstat(this.#fd!).size === size ? id : undefined;
    return { size, object, read: (buffer, position) => preadFull(number, buffer, position) };
  }

  [Symbol.dispose](): void {
    this.#fd?.close();
    this.#fd = undefined;
    this.#id = undefined;
  }
}

/**
 * Files of the old image that are copied whole: where one is a whole file of the new layer too, it
 * is the same object, and need not be hashed to know that. That its bytes are right is seen from
 * the layer's digest.
 */
class Copies {
  readonly #objects = new Map<number, { id: ObjectId; size: number }>();

  add({ object, size }: SourceFile, offset: number): void {
    if (object === undefined) return;
    // Those that nobody asks for are in no file of their own; no sound layer has many.
    if (this.#objects.size >= MAX_COPIES) this.#objects.clear();
    this.#objects.set(offset, { id: object, size });
  }

  take(offset: number, size: number): ObjectId | undefined {
    const copy = this.#objects.get(offset);
    if (copy === undefined) return undefined;
    this.#objects.delete(offset);
    return copy.size === size ? copy.id : undefined;
  }
}

/**
 * Makes a layer from a tar-diff: the patched bytes go straight into the splitter, which checks them
 * against the diff_id. Wrong or damaged files of the old image show there.
 *
 * @param beforeWait called before this thread blocks until another one is done with a batch
 * @throws {FormatError} for a faulty tar-diff, or one that does not fit the old image's files
 * @throws {DigestMismatchError} when blob or layer are not what was announced
 */
export async function applyDelta(
  task: DeltaTask,
  context: TaskContext,
  beforeWait?: () => void,
): Promise<ImportedLayer> {
  const packed = new Check(task.digest, "blob");
  const reader = new PackedReader(task, { packed, context });
  using files = new ObjectFiles(task.objects.dir);
  const table = new SourceTable(task.files);
  const copies = new Copies();
  const pieces = applyTarDiff(reader.pieces(), {
    source: new TableSource(table, (id, size) => files.open(id, size)),
    unpack: (text) => unpack(text, "zstd"),
    limit: task.limit,
    copied: (file, offset) => copies.add(file, offset),
  });
  return await importUnpacked(task, {
    pieces,
    check: () => packed.finish(),
    counted: (objects) => reader.objects = objects,
    stored: (offset, size) => copies.take(offset, size),
    beforeWait,
  }, context);
}
