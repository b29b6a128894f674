/** Where the bodies of answers go. */
import { HttpError } from "./error.ts";

/** Takes a body in pieces; disposed of when it was not finished. */
export interface BodySink<T> extends Disposable {
  /** Takes the next piece; it is the caller's again afterwards. */
  write(piece: Uint8Array): void;
  /** Called once at the end of the body. */
  finish(): T;
}

/** Takes one body, whole when it is small. */
export interface BodyReceiver<T> {
  /** Takes a body in one piece. */
  whole(bytes: Uint8Array): T;
  /** Whether {@linkcode BodyReceiver.whole} keeps nothing of what it is given. @default false */
  readonly borrows?: boolean;
  /** Whether a body of so many bytes is to come in one piece. @default up to 262144 */
  fits?(size: number): boolean;
  /** Takes a body in pieces; called again when it has to begin anew. */
  open(): BodySink<T>;
  /** What an earlier download left; asked for once, before the first request. */
  kept?(): { readonly sink: BodySink<T>; readonly received: number } | undefined;
}

/** Keeps a body of bounded size in memory. */
export function bytesReceiver(url: URL, maxSize: number): BodyReceiver<Uint8Array> {
  return { whole: (bytes) => bytes, open: () => new BytesSink(url, maxSize) };
}

class BytesSink implements BodySink<Uint8Array> {
  readonly #url: URL;
  readonly #maxSize: number;
  #bytes = new Uint8Array(64 * 1024);
  #size = 0;

  constructor(url: URL, maxSize: number) {
    this.#url = url;
    this.#maxSize = maxSize;
  }

  write(piece: Uint8Array): void {
    const size = this.#size + piece.length;
    if (size > this.#maxSize) throw tooLarge(this.#url, this.#maxSize);
    if (size > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(size, Math.min(2 * this.#bytes.length, this.#maxSize)));
      grown.set(this.#bytes.subarray(0, this.#size));
      this.#bytes = grown;
    }
    this.#bytes.set(piece, this.#size);
    this.#size = size;
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#size);
  }

  [Symbol.dispose](): void {}
}

/** The error for a body above its limit. */
export function tooLarge(url: URL, maxSize: number): HttpError {
  return new HttpError(url, `The answer is larger than ${maxSize} bytes`);
}
