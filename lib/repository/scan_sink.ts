/** Storing what a directory scan reads as objects. */
import type { ObjectId } from "../base/mod.ts";
import type { ContentPieces, ContentSink, SinkSource } from "../scan/mod.ts";
import { ObjectDirectory, type ObjectDirectoryOptions } from "./object_write.ts";

/** Stores each file's content as an object; every thread has its own. */
export class ObjectContentSink implements ContentSink {
  readonly #directory: ObjectDirectory;

  /** Creates a sink over an object directory. */
  constructor(options: ObjectDirectoryOptions) {
    this.#directory = new ObjectDirectory(options);
  }

  /** Stores a whole file. */
  whole(bytes: Uint8Array, size: number): ObjectId {
    return this.#directory.store(bytes, { end: size }).id;
  }

  /** Stores a file in pieces. */
  begin(): ContentPieces {
    const file = this.#directory.begin();
    return {
      write: (bytes) => file.write(bytes),
      finish: () => file.finish().id,
      [Symbol.dispose]: () => file[Symbol.dispose](),
    };
  }
}

/**
 * Lets a directory scan store contents as objects. Sync the repository before naming anything that
 * needs them.
 *
 * @param options the object directory; its descriptor must stay open during the scan
 */
export function objectSinkSource(options: ObjectDirectoryOptions): SinkSource {
  return {
    worker: new URL("./scan_worker.ts", import.meta.url),
    argument: options,
    local: new ObjectContentSink(options),
  };
}
