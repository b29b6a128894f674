import type { ByteString } from "../base/mod.ts";
import { InvalidNameError, writeByteString } from "../base/mod.ts";
import { computeChecksum } from "./header.ts";
import { BLOCK, HEADER, TYPE, USTAR_MAGIC } from "./layout.ts";

/** What a header that is written says. */
export interface TarHeaderFields {
  /** Path of the member, up to 100 bytes. */
  readonly name: ByteString;
  /** Kind of member. @default "file" */
  readonly type?: "file" | "directory";
  /** Size of the content in bytes. @default 0 */
  readonly size?: number;
  /** Permission bits. @default 0o644 for files, 0o755 for directories */
  readonly mode?: number;
}

/** Largest size that eleven octal digits can tell. */
const MAX_OCTAL_SIZE = 8 ** 11 - 1;
const BASE_256 = 0x80;

/**
 * Writes a POSIX header with owner 0 and time 0, so that the same content gives the same archive
 * (spec: oci 2.2).
 *
 * @param out where it goes; cleared first
 * @param at offset in `out`; there must be room for a block of 512 bytes
 * @throws {InvalidNameError} for a name of more than 100 bytes
 */
export function writeTarHeader(out: Uint8Array, at: number, fields: TarHeaderFields): void {
  const { name } = fields;
  if (name.length > HEADER.name[1]) {
    throw new InvalidNameError(`A tar header has no room for the name ${JSON.stringify(name)}`);
  }
  const directory = fields.type === "directory";
  out.fill(0, at, at + BLOCK);
  const text = (field: readonly [number, number], value: string) =>
    writeByteString(value, out, at + field[0]);
  const octal = (field: readonly [number, number], value: number) =>
    text(field, value.toString(8).padStart(field[1] - 1, "0"));
  text(HEADER.name, name);
  octal(HEADER.mode, fields.mode ?? (directory ? 0o755 : 0o644));
  octal(HEADER.uid, 0);
  octal(HEADER.gid, 0);
  writeSize(out, at, fields.size ?? 0);
  octal(HEADER.mtime, 0);
  out[at + HEADER.type[0]] = directory ? TYPE.directory : TYPE.regular;
  text(HEADER.magic, USTAR_MAGIC);
  octal(HEADER.deviceMajor, 0);
  octal(HEADER.deviceMinor, 0);
  const sum = computeChecksum(out, at).toString(8).padStart(6, "0");
  text(HEADER.checksum, `${sum}\0 `);
}

/** Octal while it fits, then base 256 with the first bit set. */
function writeSize(out: Uint8Array, at: number, size: number): void {
  const [offset, length] = HEADER.size;
  if (size <= MAX_OCTAL_SIZE) {
    writeByteString(size.toString(8).padStart(length - 1, "0"), out, at + offset);
    return;
  }
  for (let i = at + offset + length - 1, left = size; i > at + offset; i--) {
    out[i] = left % 256;
    left = Math.floor(left / 256);
  }
  out[at + offset] = BASE_256;
}
