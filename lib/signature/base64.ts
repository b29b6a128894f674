/** Base64 as keys and signatures use it (RFC 4648, 4). */

/** Bytes of a base64 text with its padding; `undefined` when it is none. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined;
  return Uint8Array.fromBase64(text);
}
