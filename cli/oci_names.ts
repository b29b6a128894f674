/** How users name images and digests on the command line. */
import { Digest, FormatError, InvalidNameError, NotFoundError } from "../lib/base/mod.ts";
import { type OciImage, openImageRef, openManifest } from "../lib/oci/mod.ts";
import type { Repository } from "../lib/repository/mod.ts";

const BARE_SHA256 = /^[0-9a-f]{64}$/;

/**
 * Checks an image argument before anything is opened: a tag, `sha256:…`, `@sha256:…` or bare hex.
 *
 * @param text The argument.
 * @throws {InvalidNameError} for a broken digest after `@`
 */
export function parseImageArgument(text: string): string {
  if (!text.startsWith("@")) return text;
  try {
    Digest.parse(text.slice(1));
    return text;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new InvalidNameError("Invalid OCI digest after '@'");
  }
}

/**
 * Parses a digest argument: `sha256:…`, `@sha256:…` or bare hex.
 *
 * @param text The argument.
 * @throws {FormatError} naming what is wrong
 */
export function parseDigestArgument(text: string): Digest {
  const plain = text.startsWith("@") ? text.slice(1) : text;
  return Digest.parse(BARE_SHA256.test(plain) ? `sha256:${plain}` : plain);
}

/**
 * Opens the image an argument names; a tag wins over a bare digest.
 *
 * @param repository The repository.
 * @param text The argument.
 * @throws {NotFoundError} when there is none
 */
export function openImageArgument(repository: Repository, text: string): OciImage {
  try {
    return openImageRef(repository, text);
  } catch (error) {
    if (!(error instanceof NotFoundError) || !BARE_SHA256.test(text)) throw error;
    return openManifest(repository, Digest.parse(`sha256:${text}`));
  }
}
