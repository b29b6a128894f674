import { FormatError, withContext } from "../lib/base/mod.ts";
import { type ErofsImage, MAX_IMAGE_SIZE, openImage } from "../lib/erofs/mod.ts";
import { addressable, type Fd, fstat, openPath, preadFull, read, S_IF } from "../ffi/mod.ts";
import { readInput } from "./input.ts";

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

/** The whole content of a file, or of a pipe that stands for one. */
function readAll(fd: Fd): Uint8Array {
  const source = (buffer: Uint8Array) => read(fd, buffer) || null;
  const { size, mode } = fstat(fd);
  if ((mode & S_IF.MT) !== S_IF.REG) {
    return readInput({ readSync: source }, { limit: MAX_IMAGE_SIZE });
  }
  if (size > MAX_IMAGE_SIZE) {
    throw new FormatError("erofs", `Invalid image: larger than ${MAX_IMAGE_SIZE} bytes`);
  }
  const bytes = addressable(Math.max(size, 1)).subarray(0, size);
  return bytes.subarray(0, preadFull(fd, bytes, 0));
}

/**
 * Opens and checks an image that is a file of its own.
 *
 * @param path The file.
 * @throws {ComposefsError} `Failed to open image: …`, `Failed to read …` or `Failed to parse …`
 */
export function readImageFile(path: string): ErofsImage {
  using fd = openFile(path, "image");
  let bytes: Uint8Array;
  try {
    bytes = readAll(fd);
  } catch (cause) {
    throw withContext(`Failed to read image: ${JSON.stringify(path)}`, cause);
  }
  try {
    return openImage(bytes);
  } catch (cause) {
    throw withContext(`Failed to parse image: ${JSON.stringify(path)}`, cause);
  }
}
