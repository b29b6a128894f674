/**
 * What a composefs image may not use of EROFS (spec: erofs 5.1).
 *
 * @module
 */
import { FormatError } from "../base/mod.ts";
import {
  BLOCK_BITS,
  COMPOSEFS_HEADER,
  COMPOSEFS_HEADER_VERSION,
  COMPOSEFS_MAGIC,
  EROFS_MAGIC,
  FEATURE_COMPAT_MTIME,
  FEATURE_COMPAT_SB_CHECKSUM,
  FEATURE_COMPAT_XATTR_FILTER,
  FEATURE_INCOMPAT_CHUNKED_FILE,
  SUPERBLOCK,
  SUPERBLOCK_OFFSET,
} from "./layout.ts";

const COMPAT_ALLOWED = FEATURE_COMPAT_SB_CHECKSUM | FEATURE_COMPAT_MTIME |
  FEATURE_COMPAT_XATTR_FILTER;
const LAST_VERSION = 2;

function hex(value: number): string {
  return "0x" + value.toString(16);
}

/** The first rule that the header or superblock breaks, in the order of the specification. */
function firstFault(view: DataView): string | undefined {
  const superblock = SUPERBLOCK_OFFSET;
  const u32 = (offset: number) => view.getUint32(offset, true);
  const magic = u32(COMPOSEFS_HEADER.magic[0]);
  if (magic !== COMPOSEFS_MAGIC) {
    return `bad composefs magic: expected ${hex(COMPOSEFS_MAGIC)}, got ${hex(magic)}`;
  }
  const headerVersion = u32(COMPOSEFS_HEADER.version[0]);
  if (headerVersion !== COMPOSEFS_HEADER_VERSION) {
    return "bad EROFS format version in composefs header: " +
      `expected ${COMPOSEFS_HEADER_VERSION}, got ${headerVersion}`;
  }
  const version = u32(COMPOSEFS_HEADER.composefsVersion[0]);
  if (version > LAST_VERSION) {
    return `unknown composefs_version ${version} (expected 0, 1, or ${LAST_VERSION})`;
  }
  const erofsMagic = u32(superblock + SUPERBLOCK.magic[0]);
  if (erofsMagic !== EROFS_MAGIC) {
    return `bad EROFS magic: expected ${hex(EROFS_MAGIC)}, got ${hex(erofsMagic)}`;
  }
  const blockBits = view.getUint8(superblock + SUPERBLOCK.blkszbits[0]);
  if (blockBits !== BLOCK_BITS) {
    return `composefs requires blkszbits=${BLOCK_BITS}, got ${blockBits}`;
  }
  // `>>> 0` makes the results of bit operations unsigned again.
  const compat = (u32(superblock + SUPERBLOCK.featureCompat[0]) & ~COMPAT_ALLOWED) >>> 0;
  if (compat !== 0) return `unsupported feature_compat flags: ${hex(compat)}`;
  const incompat =
    (u32(superblock + SUPERBLOCK.featureIncompat[0]) & ~FEATURE_INCOMPAT_CHUNKED_FILE) >>> 0;
  if (incompat !== 0) return `unsupported feature_incompat flags: ${hex(incompat)}`;
  if (view.getUint16(superblock + SUPERBLOCK.availableComprAlgs[0], true) !== 0) {
    return "composefs does not support compression";
  }
  const devices = view.getUint16(superblock + SUPERBLOCK.extraDevices[0], true);
  if (devices !== 0) return `composefs does not support multi-device (extra_devices=${devices})`;
  const extslots = view.getUint8(superblock + SUPERBLOCK.extslots[0]);
  if (extslots !== 0) return `composefs does not support extslots (extslots=${extslots})`;
  const packed = view.getBigUint64(superblock + SUPERBLOCK.packedNid[0], true);
  if (packed !== 0n) return `composefs does not support packed inodes (packed_nid=${packed})`;
  const meta = u32(superblock + SUPERBLOCK.metaBlkaddr[0]);
  if (meta !== 0) return `composefs requires meta_blkaddr=0, got ${meta}`;
  const prefixes = view.getUint8(superblock + SUPERBLOCK.xattrPrefixCount[0]);
  if (prefixes !== 0) return `composefs does not support custom xattr prefixes (count=${prefixes})`;
  return undefined;
}

/**
 * Checks header and superblock against the rules of composefs.
 *
 * @param view the image, at least header and superblock long
 * @throws {FormatError} with the message `Invalid image: …`
 */
export function checkRestricted(view: DataView): void {
  const fault = firstFault(view);
  if (fault !== undefined) throw new FormatError("erofs", `Invalid image: ${fault}`);
}
