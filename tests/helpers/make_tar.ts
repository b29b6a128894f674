/**
 * Making tar streams for tests: one header at a time with full control, and random layers.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Rng } from "../fuzz/_mutate.ts";

/** A header; what is absent is zero or empty. Texts are Latin-1, one unit a byte. */
export interface HeaderFields {
  /** Name field, at most 100 bytes. */
  name: string;
  /** Type flag. @default "0" */
  type?: string;
  /** Size field, and nothing else: content is added by the caller. */
  size?: number;
  /** Permission bits. */
  mode?: number;
  /** Owner. */
  uid?: number;
  /** Group. */
  gid?: number;
  /** Modification time in seconds. */
  mtime?: number;
  /** Link name field. */
  link?: string;
  /** Device numbers. */
  device?: readonly [major: number, minor: number];
  /** Prefix field. */
  prefix?: string;
  /** Magic and version. @default "ustar\0" "00" */
  magic?: "ustar" | "gnu" | "v7";
}

const MAGIC = { ustar: "ustar\x0000", gnu: "ustar  \0", v7: "" } as const;

/** One header block with a right checksum. */
export function header(fields: HeaderFields): Buffer {
  const block = Buffer.alloc(512);
  const text = (value: string, offset: number, length: number) =>
    block.write(value.slice(0, length), offset, "latin1");
  const octal = (value: number, offset: number, length: number) => {
    const digits = value.toString(8).padStart(length - 1, "0");
    if (digits.length < length) text(digits, offset, length);
    else {
      // The binary form: big-endian with the high bit of the field set.
      let rest = BigInt(value);
      for (let i = length - 1; i > 0; i--, rest >>= 8n) block[offset + i] = Number(rest & 255n);
      block[offset] = 0x80;
    }
  };
  text(fields.name, 0, 100);
  octal(fields.mode ?? 0o644, 100, 8);
  octal(fields.uid ?? 0, 108, 8);
  octal(fields.gid ?? 0, 116, 8);
  octal(fields.size ?? 0, 124, 12);
  octal(fields.mtime ?? 0, 136, 12);
  text(fields.type ?? "0", 156, 1);
  text(fields.link ?? "", 157, 100);
  text(MAGIC[fields.magic ?? "ustar"], 257, 8);
  if (fields.device !== undefined) {
    octal(fields.device[0], 329, 8);
    octal(fields.device[1], 337, 8);
  }
  text(fields.prefix ?? "", 345, 155);
  return seal(block);
}

/** Gives a header block the right checksum. */
export function seal(block: Buffer): Buffer {
  block.fill(" ", 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(sum.toString(8).padStart(6, "0") + "\0 ", 148, "latin1");
  return block;
}

/** Content with its padding. */
export function content(bytes: Uint8Array | string): Buffer {
  const data = typeof bytes === "string" ? Buffer.from(bytes, "latin1") : Buffer.from(bytes);
  return Buffer.concat([data, Buffer.alloc((512 - data.length % 512) % 512)]);
}

/** One record of a PAX header. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) {
    length = String(length).length + rest.length;
  }
  return length + rest;
}

/** A PAX extended header with its data. */
export function pax(records: Record<string, string>): Buffer {
  const data = Object.entries(records).map(([key, value]) => paxRecord(key, value)).join("");
  return Buffer.concat([header({ name: "pax", type: "x", size: data.length }), content(data)]);
}

/** A GNU long name (`L`) or long link (`K`) record. */
export function gnuLong(type: "L" | "K", value: string): Buffer {
  const data = value + "\0";
  const name = "././@LongLink";
  return Buffer.concat([
    header({ name, type, size: data.length, magic: "gnu" }),
    content(data),
  ]);
}

/** The end of an archive. */
export const END = Buffer.alloc(1024);

/** A regular file: its header and its content. */
export function file(name: string, bytes: Uint8Array | string): Buffer {
  return Buffer.concat([header({ name, size: bytes.length }), content(bytes)]);
}

/** A whole tar of such members. */
export function tar(...members: Buffer[]): Uint8Array {
  return Buffer.concat([...members, END]);
}

function randomBytes(rng: Rng, length: number): Buffer {
  const out = Buffer.alloc(length);
  const kind = rng.below(3);
  const byte = rng.below(256);
  for (let i = 0; i < length; i++) out[i] = kind === 0 ? rng.next() : kind === 1 ? byte : i >> 4;
  return out;
}

const SIZES = [0, 1, 63, 64, 65, 100, 511, 512, 513, 4095, 4096, 4097, 20_000, 70_000];
const NAME_UNITS = "abcdefghijklmnopqrstuvwxyz0123456789._-+ \xc3\xa9\xff\\=";

function randomName(rng: Rng, length: number): string {
  let name = "n";
  while (name.length < length) name += NAME_UNITS[rng.below(NAME_UNITS.length)];
  return name;
}

/** The extension records for a path and link that may not fit, and what goes into the fields. */
function names(rng: Rng, { path, link }: { path: string; link: string }): {
  before: Buffer[];
  fields: Pick<HeaderFields, "name" | "link" | "magic" | "prefix">;
} {
  const before: Buffer[] = [];
  const gnu = rng.oneIn(3);
  const fields = { name: path.slice(0, 100), link: link.slice(0, 100), prefix: "" };
  const slash = path.lastIndexOf("/", 155);
  if (!gnu && path.length > 100 && slash > 0 && path.length - slash - 1 <= 100 && rng.oneIn(2)) {
    fields.prefix = path.slice(0, slash);
    fields.name = path.slice(slash + 1);
  } else if (path.length > 100 || rng.oneIn(10)) {
    before.push(gnu ? gnuLong("L", path) : pax({ path }));
  }
  if (link.length > 100) {
    if (gnu || before.length > 0) before.push(gnuLong("K", link));
    else before.push(pax({ linkpath: link }));
  }
  return { before, fields: { ...fields, magic: gnu ? "gnu" : "ustar" } };
}

/** Options of {@linkcode randomLayer}. */
export interface RandomLayerOptions {
  /** How many entries. */
  entries: number;
  /** Sizes of regular files. */
  sizes?: readonly number[];
}

/** A random valid layer: all entry types, long names, extended attributes, repeated contents. */
export function randomLayer(rng: Rng, options: RandomLayerOptions): Buffer {
  const parts: Buffer[] = [header({ name: "usr/", type: "5", mode: 0o755, mtime: 7 })];
  const directories = ["usr"];
  const files: string[] = [];
  const contents = [randomBytes(rng, 100)];
  const add = (path: string, fields: Partial<HeaderFields>, link = "") => {
    const named = names(rng, { path, link });
    parts.push(
      ...named.before,
      header({
        mode: rng.below(0o10000),
        uid: rng.oneIn(5) ? rng.below(2 ** 31) : rng.below(2000),
        gid: rng.below(2000),
        mtime: rng.oneIn(5) ? 2 ** 34 : rng.below(2 ** 31),
        ...fields,
        ...named.fields,
      }),
    );
  };
  for (let i = 0; i < options.entries; i++) {
    const length = rng.oneIn(8) ? 100 + rng.below(150) : 1 + rng.below(30);
    const path = `${rng.pick(directories)}/${randomName(rng, length)}`;
    switch (rng.below(12)) {
      case 0:
        add(path + "/", { type: "5" });
        if (path.length < 600) directories.push(path);
        break;
      case 1:
        add(path, { type: "2" }, randomName(rng, rng.oneIn(4) ? 250 : 20));
        break;
      case 2:
        if (files.length > 0) add(path, { type: "1" }, rng.pick(files));
        break;
      case 3:
        add(path, { type: rng.pick(["3", "4"]), device: [rng.below(4096), rng.below(2 ** 18)] });
        break;
      case 4:
        add(path, { type: "6" });
        break;
      case 5: {
        parts.push(pax({
          path,
          mtime: `${rng.below(2 ** 31)}.${rng.below(10 ** 9)}`,
          "SCHILY.xattr.user.x": randomName(rng, rng.below(200)),
          "SCHILY.xattr.security.capability": "\x01\0\0\x02" + "\0".repeat(16),
        }));
        parts.push(header({ name: "short", size: 5, mtime: 1 }), content("hello"));
        break;
      }
      default: {
        const data = rng.oneIn(4)
          ? rng.pick(contents)
          : randomBytes(rng, rng.pick(options.sizes ?? SIZES));
        if (contents.length < 20) contents.push(data);
        add(path, { type: rng.pick(["0", "0", "0", "\0", "7"]), size: data.length });
        parts.push(content(data));
        files.push(path);
      }
    }
  }
  const end = rng.below(4);
  if (end > 0) parts.push(END);
  if (end > 1) parts.push(Buffer.alloc(512 * rng.below(20)));
  if (end > 2) parts.push(Buffer.from("garbage behind the end"));
  return Buffer.concat(parts);
}
