import { FormatError, withContext } from "../lib/base/mod.ts";

/** Where bytes come from. */
export interface ByteSource {
  /** Reads some bytes and returns how many, null at the end. */
  readSync(buffer: Uint8Array): number | null;
}

/** Standard input, with errors that say what it is. */
export const STDIN: ByteSource = {
  readSync(buffer) {
    try {
      return Deno.stdin.readSync(buffer);
    } catch (cause) {
      throw withContext("Reading standard input", cause);
    }
  },
};

const FIRST_BUFFER = 1 << 16;

/**
 * Reads everything up to a limit.
 *
 * @param source Where from.
 * @param options `limit`: most bytes that are accepted.
 * @throws {FormatError} when there is more
 */
export function readInput(
  source: ByteSource,
  options: { limit: number },
): Uint8Array<ArrayBuffer> {
  let buffer = new Uint8Array(FIRST_BUFFER);
  let length = 0;
  for (;;) {
    if (length === buffer.length) {
      const bigger = new Uint8Array(buffer.length * 2);
      bigger.set(buffer);
      buffer = bigger;
    }
    const count = source.readSync(buffer.subarray(length));
    if (count === null) return buffer.subarray(0, length);
    length += count;
    if (length > options.limit) {
      throw new FormatError("input", `Standard input has more than ${options.limit} bytes`);
    }
  }
}

const PIECE = 1 << 18;

/**
 * Reads everything in pieces; each is a buffer of its own.
 *
 * @param source Where from.
 */
export async function* readPieces(source: ByteSource): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (;;) {
    const buffer = new Uint8Array(PIECE);
    const count = source.readSync(buffer);
    if (count === null) return;
    yield buffer.subarray(0, count);
  }
}
