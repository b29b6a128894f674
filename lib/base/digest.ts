/**
 * Digests and identities as types: object ids (fs-verity digests), algorithms, and content digests
 * in the `sha256:<hex>` form of OCI.
 *
 * @module
 */
import { HASH_SIZE, type HashName } from "./hash.ts";
import { FormatError, InvalidNameError } from "./errors.ts";
import { toHex } from "./bytes.ts";

/** Makes {@linkcode ObjectId} a type of its own; exists in types only. */
export declare const objectIdBrand: unique symbol;

/** An fs-verity digest in lower-case hex (64 or 128 digits): the name of an object. */
export type ObjectId = string & { readonly [objectIdBrand]: true };

/** An fs-verity algorithm as composefs writes it: hash function and log2 of the block size. */
export interface Algorithm {
  /** Hash function. */
  readonly hash: HashName;
  /** log2 of the block size; 12 in every composefs repository. */
  readonly lgBlockSize: 12;
  /** Kernel's number: 1 sha256, 2 sha512 (`FS_VERITY_HASH_ALG_*` in linux/fsverity.h). */
  readonly kernelId: 1 | 2;
  /** Digest size in bytes. */
  readonly size: 32 | 64;
  /** `fsverity-sha256-12` or `fsverity-sha512-12`. */
  readonly id: string;
}

/** The two algorithms a repository can have. */
export const ALGORITHMS: Readonly<Record<HashName, Algorithm>> = {
  sha256: { hash: "sha256", lgBlockSize: 12, kernelId: 1, size: 32, id: "fsverity-sha256-12" },
  sha512: { hash: "sha512", lgBlockSize: 12, kernelId: 2, size: 64, id: "fsverity-sha512-12" },
};

/**
 * Parses an algorithm id such as `fsverity-sha256-12` (spec: repository 1.2).
 *
 * @throws {InvalidNameError} with the reference's words for each fault
 */
export function parseAlgorithm(text: string): Algorithm {
  const prefix = "fsverity-";
  if (!text.startsWith(prefix)) {
    throw new InvalidNameError("algorithm must start with 'fsverity-'");
  }
  const rest = text.slice(prefix.length);
  const dash = rest.lastIndexOf("-");
  if (dash < 0) {
    throw new InvalidNameError("algorithm must be 'fsverity-<hash>-<lg_blocksize>'");
  }
  const hash = rest.slice(0, dash);
  const lgText = rest.slice(dash + 1);
  if (!/^\+?[0-9]+$/.test(lgText) || Number(lgText) > 255) {
    throw new InvalidNameError(`invalid lg_blocksize '${lgText}'`);
  }
  if (Number(lgText) !== 12) {
    throw new InvalidNameError(
      `unsupported lg_blocksize ${Number(lgText)} (only 12 is currently supported)`,
    );
  }
  if (hash !== "sha256" && hash !== "sha512") {
    throw new InvalidNameError(`unsupported hash algorithm '${hash}' (expected sha256 or sha512)`);
  }
  return ALGORITHMS[hash];
}

/**
 * Parses an object id in hex of either case.
 *
 * @param hash when given, the length must be that of this hash function
 * @throws {FormatError} `Invalid string length` or `Invalid character 'c' at position n`
 */
export function parseObjectId(text: string, hash?: HashName): ObjectId {
  const want = hash === undefined ? undefined : HASH_SIZE[hash] * 2;
  if (want === undefined ? text.length !== 64 && text.length !== 128 : text.length !== want) {
    throw new FormatError("object id", "Invalid string length");
  }
  const bad = text.search(/[^0-9a-fA-F]/);
  if (bad >= 0) {
    const shown = String.fromCodePoint(text.codePointAt(bad)!);
    throw new FormatError("object id", `Invalid character '${shown}' at position ${bad}`, {
      offset: bad,
    });
  }
  return text.toLowerCase() as ObjectId;
}

/** The object id of raw digest bytes `bytes[start, end)`. */
export function objectIdFromBytes(
  bytes: Uint8Array,
  start = 0,
  end: number = bytes.length,
): ObjectId {
  return toHex(bytes, start, end) as ObjectId;
}

/** The path of an object below `objects/`: two digits, a slash, the rest. */
export function objectPath(id: ObjectId): string {
  return id.slice(0, 2) + "/" + id.slice(2);
}

/** Hex lengths that are enforced for the registered digest algorithms of OCI. */
const DIGEST_HEX_LENGTH: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 };

/** A content digest `algorithm:encoded`, as OCI descriptors use it (spec: oci 1.3). */
export class Digest {
  /** The algorithm component, for example `sha256`. */
  readonly algorithm: string;
  /** The encoded part, lower-case hex for the sha algorithms. */
  readonly encoded: string;

  private constructor(algorithm: string, encoded: string) {
    this.algorithm = algorithm;
    this.encoded = encoded;
  }

  /**
   * Parses `algorithm:encoded`.
   *
   * @throws {FormatError} naming what is wrong
   */
  static parse(text: string): Digest {
    const colon = text.indexOf(":");
    if (colon < 0) throw new FormatError("digest", `missing ':' in digest "${text}"`);
    const algorithm = text.slice(0, colon);
    const encoded = text.slice(colon + 1);
    if (!/^[a-z0-9]+(?:[+._-][a-z0-9]+)*$/.test(algorithm)) {
      throw new FormatError("digest", `invalid algorithm in digest "${text}"`);
    }
    const length = DIGEST_HEX_LENGTH[algorithm];
    if (length !== undefined) {
      if (encoded.length !== length) {
        throw new FormatError(
          "digest",
          `Invalid digest length ${encoded.length} expected ${length}: "${text}"`,
        );
      }
      if (!/^[0-9a-f]+$/.test(encoded)) {
        throw new FormatError("digest", `invalid character in digest "${text}"`);
      }
    } else if (!/^[a-zA-Z0-9=_-]+$/.test(encoded)) {
      throw new FormatError("digest", `invalid character in digest "${text}"`);
    }
    return new Digest(algorithm, encoded);
  }

  /** The sha256 digest with these 32 raw bytes. */
  static sha256(bytes: Uint8Array): Digest {
    return new Digest("sha256", toHex(bytes));
  }

  /** Whether both name the same content by the same algorithm. */
  equals(other: Digest): boolean {
    return this.algorithm === other.algorithm && this.encoded === other.encoded;
  }

  /** `algorithm:encoded`. */
  toString(): string {
    return `${this.algorithm}:${this.encoded}`;
  }

  /** `algorithm:encoded`, so that it can be put into JSON as it is. */
  toJSON(): string {
    return this.toString();
  }
}
