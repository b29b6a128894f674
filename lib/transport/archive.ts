/** `oci-archive:` files: a layout in a tar, read in place by offsets (spec: oci 5). */
import { dirname, join } from "node:path/posix";
import { FormatError, NotFoundError, UnsupportedError, withContext } from "../base/mod.ts";
import { type Fd, fstat, O, openPath, preadFull } from "../../ffi/mod.ts";
import { locateTarMembers, type TarMember } from "../tar/mod.ts";
import { type Blob, checkBlobSize, readRange } from "./blob.ts";
import { type Descriptor, MAX_DOCUMENT_SIZE } from "./documents.ts";
import { blobPath, type LayoutStore } from "./layout.ts";
import { sniffBlob, unpackToTemporary } from "./temporary.ts";

/** Most members that an archive may have. */
const MAX_MEMBERS = 100_000;
/** First bytes of files in formats that nothing here unpacks. */
const OTHER_PACKINGS = [
  { name: "xz", magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
  { name: "bzip2", magic: [0x42, 0x5a, 0x68] },
  { name: "zip", magic: [0x50, 0x4b, 0x03, 0x04] },
] as const;
/** Most symbolic links from a name to its file. */
const MAX_HOPS = 8;

class ArchiveLayout implements LayoutStore {
  readonly name: string;
  readonly index: Uint8Array;
  readonly #fd: Fd;
  readonly #members: ReadonlyMap<string, TarMember>;

  constructor(name: string, fd: Fd, members: ReadonlyMap<string, TarMember>) {
    this.name = name;
    this.#fd = fd;
    this.#members = members;
    const member = members.get("index.json");
    if (member === undefined) {
      throw new NotFoundError("image index", name, {
        message: `Cannot find the Image Index (index.json) in ${name}`,
      });
    }
    if (member.size > MAX_DOCUMENT_SIZE) {
      throw new FormatError("image index", `index.json of ${name} has ${member.size} bytes`);
    }
    this.index = readRange({ fd, offset: member.offset, size: member.size }, "index.json");
  }

  blob(descriptor: Descriptor): Blob {
    const member = this.#members.get(blobPath(descriptor));
    if (member === undefined) {
      throw new NotFoundError("blob", descriptor.digest.toString(), {
        message: `Blob ${descriptor.digest} is not in ${this.name}`,
      });
    }
    checkBlobSize(descriptor, member.size);
    const { offset, size } = member;
    // The descriptor is shared by all blobs and closed with the source.
    return { fd: this.#fd, offset, size, [Symbol.dispose]: () => {} };
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }
}

/** Opens an archive; a compressed one is unpacked into an unnamed temporary file first. */
export async function openArchive(path: string): Promise<LayoutStore> {
  const fd = await openTar(path);
  try {
    return new ArchiveLayout(path, fd, indexMembers(fd));
  } catch (cause) {
    fd.close();
    throw withContext(`Reading OCI archive ${path}`, cause);
  }
}

/** Opens a tar whose members can be read in place; a compressed one is unpacked first. */
export async function openTar(path: string, what = "OCI archive"): Promise<Fd> {
  let fd: Fd;
  try {
    fd = openPath(path, { flags: O.RDONLY | O.NONBLOCK });
  } catch (cause) {
    throw withContext(`Opening ${what} ${path}`, cause);
  }
  try {
    const { isFile, size } = fstat(fd);
    if (!isFile) throw new FormatError("archive", `${path} is not a regular file`);
    assertUnpackable(fd);
    const compression = sniffBlob({ fd, offset: 0, size });
    if (compression !== "none") {
      const plain = await unpackToTemporary({ fd, offset: 0, size }, compression);
      fd.close();
      fd = plain;
    }
    return fd;
  } catch (cause) {
    fd.close();
    throw withContext(`Reading ${what} ${path}`, cause);
  }
}

/**
 * Tells what is the matter with an archive in a packing that is not understood.
 *
 * @throws {UnsupportedError} naming it
 */
function assertUnpackable(fd: Fd): void {
  const head = new Uint8Array(new ArrayBuffer(4096), 0, 8);
  const got = head.subarray(0, preadFull(fd, head, 0));
  const packing = OTHER_PACKINGS.find(({ magic }) => magic.every((byte, i) => got[i] === byte));
  if (packing === undefined) return;
  throw new UnsupportedError(`It is packed with ${packing.name}: unpack it first`);
}

/**
 * The files of a tar by path, hard links followed.
 *
 * @param options.symlinks whether symbolic links lead to other members. @default false
 */
export function indexMembers(
  fd: Fd,
  options: { symlinks?: boolean } = {},
): Map<string, TarMember> {
  const members = new Map<string, TarMember>();
  const links = new Map<string, string>();
  const read = (buffer: Uint8Array, offset: number) => preadFull(fd, buffer, offset);
  let count = 0;
  for (const member of locateTarMembers(read, fstat(fd).size)) {
    if (++count > MAX_MEMBERS) {
      throw new FormatError("oci-archive", `More than ${MAX_MEMBERS} members in the archive`);
    }
    if (member.type === "file") members.set(member.path, member);
    else if (member.type === "hardlink") {
      const target = members.get(member.target.replace(/^(?:\.?\/)+/, ""));
      if (target !== undefined) members.set(member.path, target);
    } else members.delete(member.path);
    if (member.type !== "symlink") links.delete(member.path);
    else if (options.symlinks) {
      // Resolved as a path: absolute ones begin at the archive's top, none leads out of it.
      links.set(member.path, join("/", dirname(member.path), member.target).slice(1));
    }
  }
  for (const name of links.keys()) {
    let target: string | undefined = name;
    for (let hops = 0; target !== undefined && links.has(target) && hops < MAX_HOPS; hops++) {
      target = links.get(target);
    }
    const member = target === undefined ? undefined : members.get(target);
    if (member !== undefined) members.set(name, member);
  }
  return members;
}
