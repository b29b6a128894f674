import { detectHash } from "./objects.ts";
import { readTree } from "./image_tree.ts";
import { openImage } from "./read.ts";
import { writeImage } from "./write.ts";

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/**
 * Reads an image and writes its tree again in the same format version, as `composefs-dump` does
 * (spec: erofs 7.3); any format is accepted. An image that one of the peers wrote comes out as the
 * same bytes wherever the image says everything that its tree was made from.
 *
 * @param bytes the whole image
 * @returns the new image
 * @throws {FormatError} when the image cannot be read (or a ComposefsError whose cause it is)
 */
export function rewriteImage(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const image = openImage(bytes);
  const { version } = image;
  const tree = readTree(image);
  const hash = detectHash(image) ?? "sha256";
  const first = writeImage(tree, { version, hash });
  // The peers write some trees differently, and an image does not say which of them wrote it.
  if (!image.isEpoch1 || isEqual(first, bytes)) return first;
  return writeImage(tree, { version, hash, dialect: "c" });
}
