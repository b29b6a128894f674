/** Bodies of answers that go into files (spec: ostree 8.5). */
import { carved, type Fd, ftruncate, pwriteAll } from "../../ffi/mod.ts";
import type { BodyReceiver, BodySink } from "../http/mod.ts";

/** Writes a body into an open file, from its beginning; gives its size. */
export class FileBody implements BodyReceiver<number> {
  readonly borrows = true;
  readonly #fd: Fd;

  /** Takes the file, which stays the caller's. */
  constructor(fd: Fd) {
    this.#fd = fd;
  }

  whole(bytes: Uint8Array): number {
    using sink = this.open();
    sink.write(bytes);
    return sink.finish();
  }

  open(): BodySink<number> {
    const fd = this.#fd;
    // What came before the body had to begin anew is in the way.
    ftruncate(fd, 0);
    let size = 0;
    return {
      write(piece) {
        pwriteAll(fd, carved(piece), size);
        size += piece.length;
      },
      finish: () => size,
      [Symbol.dispose]() {},
    };
  }
}
