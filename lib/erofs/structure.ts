/**
 * The structural check of an image (spec: erofs 5.5, 8.2).
 *
 * @module
 */
import { DirectoryCursor, isStubName } from "./directory.ts";
import { BLOCK_SIZE, LAYOUT_INLINE, S_IF } from "./layout.ts";
import type { ErofsImage } from "./read.ts";
import { InodeCursor } from "./read_inode.ts";
import { walkInodes } from "./walk.ts";

/** How many names of two hex digits there are. */
const STUBS = 256;

/** What a symbolic link's place does to kernels before 6.12, if it does. */
function linkFault(inode: InodeCursor): string | undefined {
  if (inode.type !== S_IF.symlink || inode.layout !== LAYOUT_INLINE) return undefined;
  const position = inode.offset % BLOCK_SIZE;
  const head = inode.headerSize + inode.xattrSize;
  const size = inode.tailSize;
  const total = position + head + size;
  if (size === 0 || total <= BLOCK_SIZE) return undefined;
  return `inode at nid ${inode.nid} (FlatInline symlink, inode_pos_in_block=${position}, ` +
    `inode_and_xattr_size=${head}, inline_size=${size}) would trigger EUCLEAN on kernels ` +
    `older than 6.12: ${position} + ${head} + ${size} = ${total} > ${BLOCK_SIZE}`;
}

/** What one walk over an image finds. */
interface Findings {
  inodes: number;
  /** The first symbolic link in the wrong place. */
  link: string | undefined;
  /** Whether there is a native whiteout that is not in the root. */
  hiddenWhiteout: boolean;
}

function findings(image: ErofsImage): Findings {
  const result: Findings = { inodes: 0, link: undefined, hiddenWhiteout: false };
  const child = new InodeCursor(image);
  const { rootNid } = image;
  walkInodes(image, {
    inode(inode) {
      result.inodes++;
      result.link ??= linkFault(inode);
    },
    entry(entry, directory) {
      if (directory === rootNid || result.hiddenWhiteout) return;
      child.load(entry.nid);
      if (child.isNativeWhiteout) result.hiddenWhiteout = true;
    },
  });
  return result;
}

/** How many of the names 00 to ff the root has. */
function countStubNames(image: ErofsImage): number {
  const inode = new InodeCursor(image);
  const entries = new DirectoryCursor(image);
  const names = new Set<string>();
  inode.load(image.rootNid);
  if (!inode.isDirectory) return 0;
  entries.open(inode);
  while (entries.next()) {
    if (isStubName(image.bytes, entries.nameStart, entries.nameEnd)) names.add(entries.name);
  }
  return names.size;
}

/** The rules of spec erofs 5.5 that the image breaks; only formats 0 and 1 have any. */
function brokenRules(image: ErofsImage, found: Findings): string[] {
  const rules: string[] = [];
  if (found.link !== undefined) rules.push(found.link);
  if (found.hiddenWhiteout) {
    rules.push("Epoch1 image contains native whiteout outside root stubs");
  }
  const stubs = countStubNames(image);
  if (stubs !== STUBS) {
    rules.push(`Epoch1 image has ${stubs} hex-named root entries, expected ${STUBS} (00–ff)`);
  }
  return rules;
}

/**
 * The first rule of spec erofs 5.5 that the image breaks.
 *
 * @returns the rule in the reference's words, or undefined
 * @throws {FormatError} when the image is not readable
 */
export function brokenRule(image: ErofsImage): string | undefined {
  // Format 2 has no rules (spec: erofs 8.3), so it need not be walked.
  return image.isEpoch1 ? brokenRules(image, findings(image))[0] : undefined;
}

/**
 * Checks the structure of an image beyond what reading its tree checks: the rules of spec erofs 5.5
 * and the counts in the superblock (spec: erofs 8.2).
 *
 * @param image the image
 * @returns what is wrong, one sentence each; empty for a sound image
 * @throws {FormatError} when the image is not readable
 */
export function checkStructure(image: ErofsImage): string[] {
  const found = findings(image);
  const faults = image.isEpoch1 ? brokenRules(image, found) : [];
  if (image.claimedInodes !== BigInt(found.inodes)) {
    faults.push(`superblock claims ${image.claimedInodes} inodes, found ${found.inodes}`);
  }
  const blocks = image.bytes.length / image.blockSize;
  if (image.claimedBlocks !== blocks) {
    faults.push(`superblock claims ${image.claimedBlocks} blocks, the image has ${blocks}`);
  }
  return faults;
}
