/** Comparing content that goes by with the digest that it was announced with. */
import { Digest, DigestMismatchError, nodeHash, type StreamHash, toHex } from "../base/mod.ts";
import { digestHash } from "../transport/mod.ts";
import { missingPadding } from "./padding.ts";

/** How a check speaks. */
export interface CheckOptions {
  /** What the error says. @default "<what> digest mismatch: expected E, got A" */
  readonly message?: (expected: string, actual: string) => string;
}

/** Checks a running hash against the digest it should give. */
export class Check {
  readonly #expected: Digest | undefined;
  readonly #hash: StreamHash | undefined;
  readonly #what: string;
  readonly #message: CheckOptions["message"];

  /** Expects a digest, or anything; `what` is what errors call the content. */
  constructor(expected: string | undefined, what: string, options: CheckOptions = {}) {
    this.#what = what;
    this.#message = options.message;
    if (expected === undefined) return;
    this.#expected = Digest.parse(expected);
    this.#hash = nodeHash.stream(digestHash(this.#expected));
  }

  /** Takes the next bytes. */
  update(bytes: Uint8Array): void {
    this.#hash?.update(bytes);
  }

  /**
   * Compares.
   *
   * @throws {DigestMismatchError} when it is another digest
   */
  finish(): void {
    if (this.#hash === undefined) return;
    const expected = this.#expected!.toString();
    const actual = `${this.#expected!.algorithm}:${toHex(this.#hash.digest())}`;
    if (actual === expected) return;
    const message = this.#message?.(expected, actual);
    const options = message === undefined ? {} : { message };
    throw new DigestMismatchError(this.#what, expected, actual, options);
  }

  /** Bytes of zeros with which the digest would be right; 0 when it is, or they do not help. */
  padding(): number {
    const [hash, expected] = [this.#hash, this.#expected];
    if (hash === undefined || toHex(hash.copy().digest()) === expected!.encoded) return 0;
    return missingPadding(hash, expected!.encoded) ?? 0;
  }

  /** The error of a stream that lacks zeros at its end. */
  paddingError(padding: number): DigestMismatchError {
    const expected = this.#expected!.toString();
    const actual = `${this.#expected!.algorithm}:${toHex(this.#hash!.digest())}`;
    return new DigestMismatchError(this.#what, expected, actual, {
      detail: "padding-lost",
      message:
        `${this.#what} digest mismatch: expected ${expected}, got ${actual} (the blob lacks ${padding} bytes of trailing zero padding: written by a faulty zstd:chunked encoder)`,
    });
  }
}

/** The check of a stored layer against its identity, in the reference's words. */
export function storedLayerCheck(expected: string | undefined): Check {
  return new Check(expected, "layer", {
    message: (wanted, actual) =>
      `layer content does not match declared diff_id: expected ${wanted}, got ${actual}`,
  });
}
