/** The value of each base64 character; 255 for all others. */
const VALUES = new Uint8Array(256).fill(255);
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
for (let i = 0; i < ALPHABET.length; i++) VALUES[ALPHABET.charCodeAt(i)] = i;

const PAD = 0x3d;
const LETTERS = 4;
const BYTES = 3;

/** Bytes that base64 text of this length can stand for at most. */
export function base64Bound(length: number): number {
  return Math.floor(length / LETTERS) * BYTES;
}

/**
 * Decodes standard base64 with its padding from `bytes[start, end)` into `out`, which has room for
 * {@linkcode base64Bound} bytes.
 *
 * @returns the number of bytes; -1 for anything that is not canonical base64
 */
export function decodeBase64(
  bytes: Uint8Array,
  out: Uint8Array,
  { start, end }: { start: number; end: number },
): number {
  if ((end - start) % LETTERS !== 0) return -1;
  const pads = end > start && bytes[end - 1] === PAD ? bytes[end - 2] === PAD ? 2 : 1 : 0;
  const whole = pads > 0 ? end - LETTERS : end;
  let at = 0;
  for (let i = start; i < whole; i += LETTERS) {
    const a = VALUES[bytes[i]!]!;
    const b = VALUES[bytes[i + 1]!]!;
    const c = VALUES[bytes[i + 2]!]!;
    const d = VALUES[bytes[i + 3]!]!;
    if ((a | b | c | d) > 63) return -1;
    const word = a << 18 | b << 12 | c << 6 | d;
    out[at++] = word >> 16;
    out[at++] = word >> 8;
    out[at++] = word;
  }
  if (pads === 0) return at;
  const a = VALUES[bytes[whole]!]!;
  const b = VALUES[bytes[whole + 1]!]!;
  const c = pads === 2 ? 0 : VALUES[bytes[whole + 2]!]!;
  if ((a | b | c) > 63) return -1;
  const word = a << 18 | b << 12 | c << 6;
  if ((word & (pads === 2 ? 0xffff : 0xff)) !== 0) return -1;
  out[at++] = word >> 16;
  if (pads === 1) out[at++] = word >> 8;
  return at;
}
