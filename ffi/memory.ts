/**
 * Addresses. V8 keeps typed arrays of up to 64 bytes in its own heap, where they move; so addresses
 * are taken only of buffers carved from bigger `ArrayBuffer`s that the caller keeps alive.
 */

const MIN_ADDRESSABLE = 65;

/** A buffer never moves, and a transferred one is a new object: known addresses stay right. */
const addresses = new WeakMap<ArrayBufferLike, number>();
let lastBuffer: ArrayBufferLike | undefined;
let lastAddress = 0;

/**
 * The address of `bytes[0]`. Valid as long as the underlying buffer is alive and not transferred.
 *
 * @throws {RangeError} for a buffer so small that V8 may move it
 */
export function addressOf(bytes: Uint8Array): number {
  const buffer = bytes.buffer;
  // The hot paths use one buffer over and over; asking V8 costs more than this comparison.
  if (buffer === lastBuffer) return lastAddress + bytes.byteOffset;
  if (buffer.byteLength < MIN_ADDRESSABLE) {
    throw new RangeError("Cannot take the address of a buffer of 64 bytes or less");
  }
  let address = addresses.get(buffer);
  if (address === undefined) {
    address = Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(new Uint8Array(buffer))));
    addresses.set(buffer, address);
  }
  lastAddress = address;
  lastBuffer = buffer;
  return address + bytes.byteOffset;
}

/** Forgets the remembered buffer; call before transferring a buffer whose address was taken. */
export function forgetAddress(): void {
  lastBuffer = undefined;
}

/** A view of `length` bytes that is safe to take the address of. */
export function addressable(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(Math.max(length, 4096)), 0, length);
}

/** The same bytes, in a buffer that is safe to take the address of. */
export function carved(bytes: Uint8Array): Uint8Array {
  if (bytes.buffer.byteLength >= MIN_ADDRESSABLE) return bytes;
  const copy = addressable(bytes.length);
  copy.set(bytes);
  return copy;
}

/** A path or name: text is passed as UTF-8, bytes as they are. Neither may contain NUL. */
export type PathArg = string | Uint8Array;

const SLOT_SIZE = 65536 + 16;
const SLOTS = 3;
const scratch = new Uint8Array(new ArrayBuffer(SLOT_SIZE * SLOTS));
const encoder = new TextEncoder();
let scratchAddress = 0;

/**
 * Writes a NUL-terminated path into scratch slot `slot` (0..2) and returns its address, which is
 * valid until the next use of the slot on this thread.
 *
 * @throws {TypeError} for a path with a NUL byte
 * @throws {RangeError} for a path longer than 65536 bytes
 */
export function cPath(path: PathArg, slot: 0 | 1 | 2 = 0): number {
  if (scratchAddress === 0) {
    scratchAddress = Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(scratch)));
  }
  const base = slot * SLOT_SIZE;
  const length = path.length;
  if (length > 65536) throw new RangeError(`Path of ${length} bytes is too long`);
  let end = base;
  if (typeof path === "string") {
    for (; end < base + length; end++) {
      const unit = path.charCodeAt(end - base);
      if (unit === 0) throw new TypeError(`Path contains a NUL byte: ${JSON.stringify(path)}`);
      if (unit > 127) {
        const target = scratch.subarray(end, base + SLOT_SIZE - 1);
        const { read, written } = encoder.encodeInto(path.slice(end - base), target);
        if (end - base + read !== length) throw new RangeError("Path is too long");
        if (target.subarray(0, written).includes(0)) {
          throw new TypeError(`Path contains a NUL byte: ${JSON.stringify(path)}`);
        }
        end += written;
        break;
      }
      scratch[end] = unit;
    }
  } else {
    if (path.includes(0)) throw new TypeError("Path contains a NUL byte");
    scratch.set(path, base);
    end = base + length;
  }
  scratch[end] = 0;
  return scratchAddress + base;
}

/**
 * Writes a NUL-terminated byte string (every unit one byte) into a scratch slot, as
 * {@linkcode cPath} does with text, and returns its address.
 *
 * @throws {TypeError} for a NUL byte or a unit above 255
 * @throws {RangeError} for more than 65536 bytes
 */
export function cBytes(text: string, slot: 0 | 1 | 2 = 0): number {
  if (scratchAddress === 0) {
    scratchAddress = Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(scratch)));
  }
  const base = slot * SLOT_SIZE;
  const length = text.length;
  if (length > 65536) throw new RangeError(`Path of ${length} bytes is too long`);
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 0 || unit > 255) throw new TypeError("Not a byte string without NUL");
    scratch[base + i] = unit;
  }
  scratch[base + length] = 0;
  return scratchAddress + base;
}

/** A path for error messages. */
export function showPath(path: PathArg): string {
  return typeof path === "string" ? path : new TextDecoder().decode(path);
}
