/** The keys and certificates that a policy names, read when they are first needed. */
import { FormatError, NotFoundError } from "../base/mod.ts";
import {
  Certificate,
  type GpgKeyFile,
  GpgKeyring,
  MAX_CHAIN,
  PublicKey,
  readKeyFile,
} from "../signature/mod.ts";
import type { KeySource } from "./policy.ts";

/** Most anchors of one policy entry. */
const MAX_ANCHORS = 256;

const decoder = new TextDecoder();

/** Reads keys; each file once for each place in a policy that names it. */
export class PolicyKeys {
  readonly #keyrings = new Map<KeySource, GpgKeyring>();
  readonly #keys = new Map<KeySource, readonly PublicKey[]>();
  readonly #certificates = new Map<KeySource, readonly Certificate[]>();

  /**
   * OpenPGP keys.
   *
   * @throws {NotFoundError} for a file that is not there
   */
  keyring(source: KeySource): GpgKeyring {
    return cached(this.#keyrings, source, () => new GpgKeyring(readFiles(source)));
  }

  /**
   * Other public keys, one a file.
   *
   * @throws {NotFoundError} for a file that is not there
   * @throws {FormatError} for one with no key in it, or several
   */
  publicKeys(source: KeySource): readonly PublicKey[] {
    return cached(this.#keys, source, () =>
      readFiles(source).map(({ name, bytes }) => {
        try {
          return PublicKey.fromPem(decoder.decode(bytes));
        } catch (error) {
          throw named(name, error);
        }
      }));
  }

  /**
   * Certificates, any number a file.
   *
   * @throws {NotFoundError} for a file that is not there
   * @throws {FormatError} for one with something else in it
   */
  certificates(source: KeySource): readonly Certificate[] {
    return cached(this.#certificates, source, () =>
      readFiles(source).flatMap(({ name, bytes }) => {
        try {
          return Certificate.listFromPem(decoder.decode(bytes), { max: MAX_ANCHORS });
        } catch (error) {
          throw named(name, error);
        }
      }));
  }
}

/**
 * The certificates of a chain that came with a signature, without the last, which is taken for the
 * root.
 *
 * @throws {FormatError} when it is no list of certificates, or too long
 */
export function chainIntermediates(pem: string | undefined): readonly Certificate[] {
  if (pem === undefined) return [];
  return Certificate.listFromPem(pem, { max: MAX_CHAIN }).slice(0, -1);
}

function cached<T>(cache: Map<KeySource, T>, source: KeySource, read: () => T): T {
  const found = cache.get(source) ?? read();
  cache.set(source, found);
  return found;
}

function readFiles(source: KeySource): GpgKeyFile[] {
  const files = source.paths.map((path) => {
    const bytes = readKeyFile(path);
    if (bytes !== undefined) return { name: path, bytes };
    throw new NotFoundError("key file", path, {
      message: `open ${path}: no such file or directory`,
    });
  });
  return [...files, ...source.data.map((bytes) => ({ name: "keys in the policy", bytes }))];
}

function named(name: string, error: unknown): unknown {
  if (!(error instanceof FormatError)) return error;
  return new FormatError(error.format, `${name}: ${error.message}`, { cause: error });
}
