import { FormatError, withContext } from "../lib/base/mod.ts";
import { type ErofsImage, MAX_IMAGE_SIZE, openImage } from "../lib/erofs/mod.ts";
import { addressable, type Fd, fstat, openPath, preadFull } from "../ffi/mod.ts";

/**
 * Opens a file for reading, with an error that says what for.
 *
 * @param path The file.
 * @param what What it is, for the message.
 * @throws {ComposefsError} `Failed to open <what>: "<path>"` with the reason
 */
export function openFile(path: string, what: string): Fd {
  try {
    return openPath(path);
  } catch (cause) {
    throw withContext(`Failed to open ${what}: ${JSON.stringify(path)}`, cause);
  }
}

/**
 * Opens and checks an image that is a file of its own.
 *
 * @param path The file.
 * @throws {ComposefsError} `Failed to open image: …` or `Failed to parse image: …`
 */
export function readImageFile(path: string): ErofsImage {
  using fd = openFile(path, "image");
  try {
    const { size } = fstat(fd);
    if (size > MAX_IMAGE_SIZE) {
      throw new FormatError("erofs", `Invalid image: larger than ${MAX_IMAGE_SIZE} bytes`);
    }
    const bytes = addressable(Math.max(size, 1)).subarray(0, size);
    return openImage(bytes.subarray(0, preadFull(fd, bytes, 0)));
  } catch (cause) {
    throw withContext(`Failed to parse image: ${JSON.stringify(path)}`, cause);
  }
}
