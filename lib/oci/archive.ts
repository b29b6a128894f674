/** `oci-archive:` files: a layout in a tar, read in place by offsets (spec: oci 5). */
import { FormatError, NotFoundError, withContext } from "../base/mod.ts";
import {
  AT_FDCWD,
  type Fd,
  fstat,
  isErrno,
  O,
  openAt,
  openPath,
  preadFull,
  writeAll,
} from "../../ffi/mod.ts";
import { locateTarMembers, type TarMember } from "../tar/mod.ts";
import { type Blob, checkBlobSize, readRange } from "./blob.ts";
import { type Descriptor, MAX_DOCUMENT_SIZE } from "./documents.ts";
import { blobPath, type LayoutStore } from "./layout.ts";
import { sniffCompression, unpack } from "./unpack.ts";

/** Most members that an archive may have. */
const MAX_MEMBERS = 100_000;
const READ_SIZE = 256 * 1024;

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
  let fd: Fd;
  try {
    fd = openPath(path, { flags: O.RDONLY | O.NONBLOCK });
  } catch (cause) {
    throw withContext(`Opening OCI archive ${path}`, cause);
  }
  try {
    if (!fstat(fd).isFile) throw new FormatError("oci-archive", `${path} is not a regular file`);
    const head = new Uint8Array(new ArrayBuffer(4096), 0, 4);
    const got = preadFull(fd, head, 0);
    const compression = sniffCompression(head.subarray(0, got));
    if (compression !== "none") {
      const plain = await unpackToTemporary(fd, compression);
      fd.close();
      fd = plain;
    }
    return new ArchiveLayout(path, fd, indexMembers(fd));
  } catch (cause) {
    fd.close();
    throw withContext(`Reading OCI archive ${path}`, cause);
  }
}

function indexMembers(fd: Fd): Map<string, TarMember> {
  const members = new Map<string, TarMember>();
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
  }
  return members;
}

async function unpackToTemporary(fd: Fd, compression: "gzip" | "zstd"): Promise<Fd> {
  const temporary = openTemporary(Deno.env.get("TMPDIR") ?? "/var/tmp");
  try {
    for await (const piece of unpack(readPieces(fd), compression)) writeAll(temporary, piece);
    return temporary;
  } catch (error) {
    temporary.close();
    throw error;
  }
}

/** A file without a name; it vanishes with its descriptor. */
function openTemporary(dir: string): Fd {
  try {
    return openAt(AT_FDCWD, dir, { flags: O.TMPFILE | O.RDWR, mode: 0o600 });
  } catch (error) {
    if (!isErrno(error, "EOPNOTSUPP", "EISDIR", "ENOSYS")) throw error;
  }
  const path = Deno.makeTempFileSync({ dir, prefix: "cfs-archive-" });
  try {
    return openPath(path, { flags: O.RDWR });
  } finally {
    Deno.removeSync(path);
  }
}

function* readPieces(fd: Fd): Generator<Uint8Array, void, undefined> {
  const piece = new Uint8Array(READ_SIZE);
  for (let offset = 0;;) {
    const got = preadFull(fd, piece, offset);
    if (got > 0) yield piece.subarray(0, got);
    if (got < piece.length) return;
    offset += got;
  }
}
