import type { ByteString } from "../base/mod.ts";
import { FormatError } from "../base/mod.ts";
import type { Xattrs } from "../tree/mod.ts";
import { NO_XATTRS } from "../tree/mod.ts";
import { base256, isBase256, isGnu, isUstar, name, octal } from "./header.ts";
import type { Field } from "./header.ts";
import { HEADER, TYPE } from "./layout.ts";
import type { PaxValues } from "./pax.ts";

const MAX_ID = 2 ** 32 - 1;
const MODE_BITS = 0o7777;

/** The extension data that stands before an entry, as ranges resolved by the state machine. */
export interface Extensions {
  /** Data of the GNU long name record without its final NUL. */
  readonly longName: ByteString | undefined;
  /** Data of the GNU long link record without its final NUL. */
  readonly longLink: ByteString | undefined;
  /** The records of the PAX extended header. */
  readonly pax: PaxValues | undefined;
}

/** Whether a type flag is that of a regular file. */
export function isRegular(type: number): boolean {
  return type === TYPE.regular || type === TYPE.oldRegular || type === TYPE.contiguous;
}

function size(bytes: Uint8Array, at: number, pax: PaxValues | undefined): number {
  // The header's own field must be readable even when it is overridden.
  const own = isBase256(bytes, at, HEADER.size)
    ? base256(bytes, at, HEADER.size)
    : octal(bytes, at, HEADER.size);
  const value = pax?.size ?? own;
  if (value > Number.MAX_SAFE_INTEGER) {
    throw new FormatError("tar", `invalid entry size: ${value}`);
  }
  return Number(value);
}

function id(
  bytes: Uint8Array,
  at: number,
  { what, field, pax }: { what: string; field: Field; pax: bigint | undefined },
): number {
  const own = isBase256(bytes, at, field) ? base256(bytes, at, field) : octal(bytes, at, field);
  const value = pax ?? own;
  if (value > MAX_ID) throw new FormatError("tar", `${what} ${value} is out of range`);
  return Number(value);
}

/**
 * The size field of a header, before anything overrides it.
 *
 * @throws {FormatError} when it is no number below 2^53
 */
export function headerSize(bytes: Uint8Array, at: number): number {
  return size(bytes, at, undefined);
}

/**
 * One entry's metadata with its extensions applied. The state machine reuses one object for all
 * entries; it, and the names it reads from the header block, are valid only during the callback.
 */
export class TarHead {
  /** Type flag. */
  type = 0;
  /** Size of the content that follows, in bytes. */
  size = 0;
  /** Owner. */
  uid = 0;
  /** Group. */
  gid = 0;
  /** Permission bits. */
  mode = 0;
  /** Whole seconds when they fit a number, otherwise see `mtimeBig`. */
  mtime = 0;
  /** Seconds when they come from a binary field or a PAX record. */
  mtimeBig: bigint | undefined;
  /** Nanoseconds. */
  mtimeNsec = 0;
  /** Device numbers; -1 in headers that have none. */
  deviceMajor = -1;
  /** Device numbers; -1 in headers that have none. */
  deviceMinor = -1;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #ustar = false;
  #extensions: Extensions | undefined;

  /**
   * Reads the header at `at`.
   *
   * @throws {FormatError} at fields that are no numbers or out of range, and at empty names
   */
  read(bytes: Uint8Array, at: number, extensions: Extensions | undefined): void {
    this.#bytes = bytes;
    this.#at = at;
    this.#extensions = extensions;
    this.#ustar = isUstar(bytes, at);
    const pax = extensions?.pax;
    this.type = bytes[at + HEADER.type[0]]!;
    this.size = size(bytes, at, pax);
    this.uid = id(bytes, at, { what: "uid", field: HEADER.uid, pax: pax?.uid });
    this.gid = id(bytes, at, { what: "gid", field: HEADER.gid, pax: pax?.gid });
    if (isBase256(bytes, at, HEADER.mtime)) {
      this.mtimeBig = BigInt.asIntN(64, base256(bytes, at, HEADER.mtime));
    } else {
      this.mtime = octal(bytes, at, HEADER.mtime);
      this.mtimeBig = undefined;
    }
    this.mtimeNsec = 0;
    if (pax?.mtimeSec !== undefined) {
      this.mtimeBig = pax.mtimeSec;
      this.mtimeNsec = pax.mtimeNsec;
    }
    if (this.#hasEmptyPath()) throw new FormatError("tar", "entry has empty path");
    this.mode = isBase256(bytes, at, HEADER.mode)
      ? Number(BigInt.asUintN(12, base256(bytes, at, HEADER.mode)))
      : octal(bytes, at, HEADER.mode) & MODE_BITS;
    if (this.#ustar || isGnu(bytes, at)) {
      this.deviceMajor = octal(bytes, at, HEADER.deviceMajor);
      this.deviceMinor = octal(bytes, at, HEADER.deviceMinor);
    } else {
      this.deviceMajor = -1;
      this.deviceMinor = -1;
    }
  }

  #hasEmptyPath(): boolean {
    const override = this.#extensions?.pax?.path ?? this.#extensions?.longName;
    if (override !== undefined) return override === "";
    return this.#bytes[this.#at + HEADER.name[0]] === 0 &&
      !(this.#ustar && this.#bytes[this.#at + HEADER.prefix[0]] !== 0);
  }

  /** The name as the archive has it: PAX, then GNU long name, then the header. */
  path(): ByteString {
    const override = this.#extensions?.pax?.path ?? this.#extensions?.longName;
    if (override !== undefined) return override;
    const own = name(this.#bytes, this.#at, HEADER.name);
    const prefix = this.#ustar ? name(this.#bytes, this.#at, HEADER.prefix) : "";
    return prefix === "" ? own : `${prefix}/${own}`;
  }

  /** The link target: PAX, then GNU long link, then the header; empty when there is none. */
  link(): ByteString {
    const override = this.#extensions?.pax?.linkPath ?? this.#extensions?.longLink;
    return override ?? name(this.#bytes, this.#at, HEADER.linkName);
  }

  /** The extended attributes. */
  xattrs(): Xattrs {
    return this.#extensions?.pax?.xattrs ?? NO_XATTRS;
  }

  /** Modification time, whole seconds. */
  mtimeSec(): bigint {
    return this.mtimeBig ?? BigInt(this.mtime);
  }
}
