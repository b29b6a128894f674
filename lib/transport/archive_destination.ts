/** Pushing into an `oci-archive:` file: a layout in a tar (spec: oci 5). */
import { dirname } from "node:path/posix";
import { type Digest, FormatError } from "../base/mod.ts";
import { AT_FDCWD, carved, type Fd, isErrno, linkFd, openDir } from "../../ffi/mod.ts";
import { fsync, preadFull, pwriteAll, renameAt, statAt, syncfs, unlinkAt } from "../../ffi/mod.ts";
import { writeTarHeader } from "../tar/mod.ts";
import {
  type BlobSlot,
  type ImageDestination,
  type LayoutTarget,
  type PushedManifest,
  ScratchSlot,
} from "./destination.ts";
import type { Descriptor } from "./documents.ts";
import { IndexEntries, LAYOUT_FILE } from "./index_entries.ts";
import { openScratch } from "./scratch.ts";

const BLOCK = 512;
const PIECE = 1 << 20;

/** A stretch of the archive that waits for its blob. */
class Stretch implements BlobSlot {
  readonly fd: Fd;
  readonly offset: number;

  constructor(fd: Fd, offset: number) {
    this.fd = fd;
    this.offset = offset;
  }

  /** The descriptor is the archive's. */
  [Symbol.dispose](): void {}
}

/**
 * Writes an unnamed file that becomes the archive at the end. Blobs whose size is known beforehand
 * are written to their place; others wait in a file of their own.
 */
class ArchiveDestination implements ImageDestination {
  readonly name: string;
  readonly ordered = true;
  readonly remote = false;
  readonly #target: LayoutTarget;
  readonly #fd: Fd;
  readonly #header = new Uint8Array(4096).subarray(0, BLOCK);
  readonly #there = new Set<string>();
  /** Where the blobs of known size go. */
  readonly #places = new Map<string, number>();
  readonly #attached: PushedManifest[] = [];
  #end = 0;

  constructor(target: LayoutTarget) {
    const found = statAt(AT_FDCWD, target.path);
    if (found !== undefined && !found.isFile) {
      throw new FormatError("oci-archive", `${target.path} is not a regular file`);
    }
    this.name = target.path;
    this.#target = target;
    this.#fd = openScratch(dirname(target.path));
    try {
      this.#append("oci-layout", new TextEncoder().encode(LAYOUT_FILE));
      this.#directory("blobs/");
      this.#directory("blobs/sha256/");
    } catch (error) {
      this.#fd.close();
      throw error;
    }
  }

  #directory(name: string): void {
    writeTarHeader(this.#header, 0, { name, type: "directory" });
    pwriteAll(this.#fd, this.#header, this.#end);
    this.#end += BLOCK;
  }

  /** Writes a header and leaves room for the content; zeros are what a hole reads as. */
  #place(name: string, size: number): number {
    writeTarHeader(this.#header, 0, { name, size });
    pwriteAll(this.#fd, this.#header, this.#end);
    const at = this.#end + BLOCK;
    this.#end = at + Math.ceil(size / BLOCK) * BLOCK;
    return at;
  }

  #append(name: string, bytes: Uint8Array): void {
    pwriteAll(this.#fd, carved(bytes), this.#place(name, bytes.length));
  }

  has(blob: Pick<Descriptor, "digest">): Promise<boolean> {
    return Promise.resolve(this.#there.has(blob.digest.encoded));
  }

  /** Gives them their places at once: the archive is the same whoever is ready first. */
  expect(known: readonly { digest: Digest; size: number }[]): void {
    for (const { digest, size } of known) {
      const key = digest.encoded;
      if (!this.#places.has(key)) this.#places.set(key, this.#place(blobName(digest), size));
    }
  }

  reserve(known?: { digest: Digest; size: number }): BlobSlot {
    const place = known === undefined ? undefined : this.#places.get(known.digest.encoded);
    if (place === undefined) return new ScratchSlot(dirname(this.#target.path));
    return new Stretch(this.#fd, place);
  }

  commit(slot: BlobSlot, blob: { digest: Digest; size: number }): Promise<void> {
    const key = blob.digest.encoded;
    if (slot instanceof ScratchSlot && !this.#there.has(key)) {
      copyInto(slot.fd, this.#fd, {
        offset: this.#place(blobName(blob.digest), blob.size),
        ...blob,
      });
    }
    this.#there.add(key);
    return Promise.resolve();
  }

  document(bytes: Uint8Array, digest: Digest): Promise<void> {
    if (!this.#there.has(digest.encoded)) this.#append(blobName(digest), bytes);
    this.#there.add(digest.encoded);
    return Promise.resolve();
  }

  async attach(manifest: PushedManifest): Promise<void> {
    await this.document(manifest.bytes, manifest.descriptor.digest);
    this.#attached.push(manifest);
  }

  async finish(manifest: PushedManifest): Promise<void> {
    await this.document(manifest.bytes, manifest.descriptor.digest);
    const index = new IndexEntries();
    index.add(manifest, this.#target.tag);
    for (const attached of this.#attached) index.add(attached, attached.tag);
    this.#append("index.json", index.bytes());
    this.#header.fill(0);
    pwriteAll(this.#fd, this.#header, this.#end);
    pwriteAll(this.#fd, this.#header, this.#end + BLOCK);
    fsync(this.#fd);
    this.#publish();
  }

  /** Gives the file its name in one step, in the place of an archive that is there. */
  #publish(): void {
    const { path } = this.#target;
    using dir = openDir(AT_FDCWD, dirname(path));
    try {
      if (!linkFd(this.#fd, AT_FDCWD, path)) {
        const temporary = `${path}.${Deno.pid}.tmp`;
        unlinkAt(AT_FDCWD, temporary);
        linkFd(this.#fd, AT_FDCWD, temporary);
        renameAt(AT_FDCWD, temporary, AT_FDCWD, path);
      }
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
      this.#copyOut(path);
    }
    syncfs(dir);
  }

  /** For file systems whose unnamed files cannot get a name. */
  #copyOut(path: string): void {
    const temporary = `${path}.${Deno.pid}.tmp`;
    const from = this.#fd.procPath;
    Deno.copyFileSync(from, temporary);
    renameAt(AT_FDCWD, temporary, AT_FDCWD, path);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#fd.close();
    return Promise.resolve();
  }
}

function blobName(digest: Digest): string {
  return `blobs/${digest.algorithm}/${digest.encoded}`;
}

/** Copies a blob to its place. */
function copyInto(from: Fd, to: Fd, blob: { offset: number; size: number }): void {
  const piece = new Uint8Array(PIECE);
  for (let done = 0; done < blob.size;) {
    const got = preadFull(from, piece.subarray(0, Math.min(PIECE, blob.size - done)), done);
    if (got === 0) throw new FormatError("blob", `Blob ended after ${done} of ${blob.size} bytes`);
    pwriteAll(to, piece.subarray(0, got), blob.offset + done);
    done += got;
  }
}

/** Opens an archive to push to; one that is there is replaced when everything is written. */
export function openArchiveDestination(target: LayoutTarget): ImageDestination {
  return new ArchiveDestination(target);
}
