/** Files that are to become objects. */
import {
  type Fd,
  isErrno,
  linkFd,
  O,
  openAt,
  preadFull,
  renameNoReplace,
  reopenReadOnly,
  unlinkAt,
  writeAll,
} from "../../ffi/mod.ts";

const COPY_PIECE = 1 << 20;

let piece: Uint8Array | undefined;

/** One buffer a thread for reading and copying files. */
export function pieceBuffer(): Uint8Array {
  return piece ??= new Uint8Array(COPY_PIECE);
}

/** A temporary file that disappears unless it is linked. */
export class Temporary implements Disposable {
  readonly #dir: number;
  #name: string | undefined;
  #fd: Fd;

  /** Takes over a file in directory number `dir`; `name` is what it is called, if anything. */
  constructor(dir: number, fd: Fd, name?: string) {
    this.#dir = dir;
    this.#fd = fd;
    this.#name = name;
  }

  /** The file, writable until it is sealed. */
  get fd(): Fd {
    return this.#fd;
  }

  /** Exchanges the writable descriptor for a read-only one, as fs-verity requires. */
  seal(): void {
    const sealed = reopenReadOnly(this.#fd);
    this.#fd.close();
    this.#fd = sealed;
  }

  /** Replaces the (sealed) file by a sealed copy of it. */
  copyAnew(): void {
    const copy = openAt(this.#dir, ".", { flags: O.TMPFILE | O.RDWR, mode: 0o644 });
    try {
      const piece = pieceBuffer();
      for (let offset = 0;;) {
        const got = preadFull(this.#fd, piece, offset);
        writeAll(copy, piece.subarray(0, got));
        offset += got;
        if (got < piece.length) break;
      }
    } catch (error) {
      copy.close();
      throw error;
    }
    this.#fd.close();
    this.#fd = copy;
    this.seal();
  }

  /** Gives the file its name; false when the name is taken. */
  linkTo(name: string): boolean {
    if (this.#name === undefined) return linkFd(this.#fd, this.#dir, name);
    try {
      const renamed = renameNoReplace(this.#dir, this.#name, this.#dir, name);
      if (renamed) this.#name = undefined;
      return renamed;
    } catch (error) {
      // EINVAL: a file system that has neither unnamed files nor this kind of rename.
      if (!isErrno(error, "EINVAL", "ENOSYS")) throw error;
      return linkFd(this.#fd, this.#dir, name);
    }
  }

  /** Closes the file, and removes the name that it has, which is not its own. */
  [Symbol.dispose](): void {
    this.#fd.close();
    if (this.#name !== undefined) {
      const name = this.#name;
      this.#name = undefined;
      unlinkAt(this.#dir, name);
    }
  }
}
