import type { ByteString } from "../base/mod.ts";
import { FormatError } from "../base/mod.ts";
import { isRegular, type TarHead } from "./head.ts";
import { BLOCK, padded, TYPE } from "./layout.ts";
import { type TarEvents, TarMachine } from "./machine.ts";

/** Longest path that Linux takes (limits.h); extension records could hold a megabyte for each. */
const PATH_MAX = 4096;

/** Where the content of a member is in an archive. */
export interface TarMember {
  /** Name as in the archive, without leading `./` and slashes. */
  readonly path: ByteString;
  /** Kind of member; others than these are left out. */
  readonly type: "file" | "symlink" | "hardlink";
  /** Where the content starts in the archive, in bytes; 0 for links. */
  readonly offset: number;
  /** Size of the content in bytes. */
  readonly size: number;
  /** Target of a link. */
  readonly target: ByteString;
}

/** Notes the entry that a header announces. */
class Locator implements TarEvents {
  member: Omit<TarMember, "offset"> | undefined;
  skip = 0;

  inline(): void {}

  entry(head: TarHead): void {
    const name = head.path();
    if (name.length > PATH_MAX) return;
    const path = name.replace(/^(?:\.?\/)+/, "");
    const type = isRegular(head.type)
      ? "file"
      : head.type === TYPE.symlink
      ? "symlink"
      : head.type === TYPE.hardlink
      ? "hardlink"
      : undefined;
    if (type === undefined) return;
    const target = type === "file" ? "" : head.link();
    if (target.length > PATH_MAX) return;
    this.member = { path, type, size: type === "file" ? head.size : 0, target };
  }

  small(): void {}

  externalStart(size: number): void {
    this.skip = size;
  }

  externalData(): void {
    throw new FormatError("tar", "Archive content met while looking for headers");
  }

  externalEnd(): void {}
}

/**
 * Finds the members of an archive that can be read at any place, without reading file contents.
 * Members with paths or targets of more than 4096 bytes are left out: nothing can refer to them.
 *
 * @param read fills a buffer from an offset of the archive; returns the byte count
 * @param size size of the archive in bytes
 * @throws {FormatError} for a malformed archive
 */
export function* locateTarMembers(
  read: (buffer: Uint8Array, offset: number) => number,
  size: number,
): Generator<TarMember, void, undefined> {
  const locator = new Locator();
  const machine = new TarMachine(locator);
  const block = new Uint8Array(new ArrayBuffer(4096), 0, BLOCK);
  for (let at = 0; at < size && !machine.ended;) {
    const got = read(block, at);
    if (got === 0) break;
    machine.push(got === BLOCK ? block : block.subarray(0, got));
    at += got;
    if (locator.member !== undefined) {
      const { member } = locator;
      locator.member = undefined;
      if (member.type === "file" && member.size > size - at) {
        throw new FormatError("tar", "unexpected EOF reading tar entry", { offset: at });
      }
      yield { ...member, offset: member.type === "file" ? at : 0 };
    }
    if (locator.skip === 0) continue;
    const { skip } = locator;
    locator.skip = 0;
    machine.external();
    const padding = padded(skip) - skip;
    at += skip;
    if (padding === 0) continue;
    const tail = block.subarray(0, padding);
    machine.push(tail.subarray(0, read(tail, at)));
    at += padding;
  }
  machine.finish();
}
