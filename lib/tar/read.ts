import type { ByteString, ObjectId } from "../base/mod.ts";
import { FormatError } from "../base/mod.ts";
import type { Splitstream } from "../splitstream/mod.ts";
import type { Stat } from "../tree/mod.ts";
import type { TarChunk, TarEntry, TarItem } from "./entry.ts";
import { isRegular, type TarHead } from "./head.ts";
import { TYPE } from "./layout.ts";
import { type TarEvents, TarMachine } from "./machine.ts";

const SLASH = 0x2f;
const MAX_DEVICE = 2 ** 32 - 1;
const NO_BYTES = new Uint8Array(0);

/** Type flags of the extension records as the reference names them in its messages. */
const EXTENSION_NAMES: Readonly<Record<number, string>> = {
  [TYPE.gnuLongName]: "GnuLongName",
  [TYPE.gnuLongLink]: "GnuLongLink",
  [TYPE.gnuSparse]: "GnuSparse",
  [TYPE.pax]: "XHeader",
};

function fail(message: string): FormatError {
  return new FormatError("tar", message);
}

/** `/` and the name without one leading and all trailing slashes; `/` alone becomes empty. */
function absolutePath(name: ByteString): ByteString {
  let end = name.length;
  while (end > 0 && name.charCodeAt(end - 1) === SLASH) end--;
  if (end === 0) return "";
  if (name.charCodeAt(0) !== SLASH) return "/" + (end === name.length ? name : name.slice(0, end));
  return end === name.length ? name : name.slice(0, end);
}

/** Linux's encoding of a device number (`makedev`). */
function device(major: number, minor: number): number {
  if (major < 0 || minor < 0) throw fail("Device entry without device numbers?");
  const high = Math.floor(minor / 256) * 2 ** 20;
  const rdev = minor % 256 + (major % 4096) * 256 + high;
  if (major >= 4096 || rdev > MAX_DEVICE) {
    throw fail(`Device number ${major}:${minor} is too large`);
  }
  return rdev;
}

/** Builds entries from the machine's events. */
class EntryBuilder implements TarEvents {
  /** Complete entries that were not handed out yet. */
  readonly ready: TarEntry[] = [];
  /** The object that stands for the content that is being told about. */
  object: ObjectId | undefined;
  #path: ByteString = "";
  #stat: Stat | undefined;
  #size = 0;
  #content: Uint8Array = NO_BYTES;
  #used = 0;

  inline(): void {}

  entry(head: TarHead): void {
    const path = absolutePath(head.path());
    const stat: Stat = {
      mode: head.mode,
      uid: head.uid,
      gid: head.gid,
      mtimeSec: head.mtimeSec(),
      mtimeNsec: head.mtimeNsec,
      xattrs: head.xattrs(),
    };
    if (isRegular(head.type)) {
      this.#path = path;
      this.#stat = stat;
      this.#size = head.size;
      if (head.size === 0) this.#finish({ type: "inline", data: NO_BYTES });
    } else this.ready.push({ path, stat, item: this.#item(head) });
  }

  #item(head: TarHead): TarItem {
    switch (head.type) {
      case TYPE.directory:
        return { type: "directory" };
      case TYPE.hardlink:
        return { type: "hardlink", target: absolutePath(head.link()) };
      case TYPE.symlink:
        return { type: "symlink", target: head.link() };
      case TYPE.char:
        return { type: "char", rdev: device(head.deviceMajor, head.deviceMinor) };
      case TYPE.block:
        return { type: "block", rdev: device(head.deviceMajor, head.deviceMinor) };
      case TYPE.fifo:
        return { type: "fifo" };
      default: {
        const shown = EXTENSION_NAMES[head.type] ?? `Other(${head.type})`;
        throw fail(`Unsupported entry type ${shown}`);
      }
    }
  }

  #finish(item: TarItem): void {
    this.ready.push({ path: this.#path, stat: this.#stat!, item });
  }

  small(bytes: Uint8Array, { start, end }: { start: number; end: number }): void {
    if (this.#used === 0) this.#content = new Uint8Array(this.#size);
    this.#content.set(bytes.subarray(start, end), this.#used);
    this.#used += end - start;
    if (this.#used < this.#size) return;
    this.#used = 0;
    this.#finish({ type: "inline", data: this.#content });
  }

  externalStart(): void {}

  externalData(): void {
    throw fail(`Splitstream incorrectly stored a large (${this.#size} byte) file inline`);
  }

  externalEnd(): void {
    this.#finish({ type: "external", digest: this.object!, size: this.#size });
  }
}

/**
 * Reads the entries of a split layer in order. Entries before a fault are handed out before it is
 * thrown. What follows the end marker is not read.
 *
 * @throws {FormatError} with the reference's words, while iterating (spec: oci 2.2)
 */
export function* readTarEntries(
  chunks: Iterable<TarChunk>,
): Generator<TarEntry, void, undefined> {
  const builder = new EntryBuilder();
  const machine = new TarMachine(builder);
  const { ready } = builder;
  for (const chunk of chunks) {
    let fault: unknown;
    let failed = false;
    try {
      if (chunk.type === "inline") machine.push(chunk.bytes);
      else {
        builder.object = chunk.id;
        machine.external();
      }
    } catch (error) {
      // Held back only until the entries in front of the fault are out.
      failed = true;
      fault = error;
    }
    for (let i = 0; i < ready.length; i++) yield ready[i]!;
    ready.length = 0;
    if (failed) throw fault;
    if (machine.ended) return;
  }
  machine.finish();
  yield* ready;
}

/** The chunks of an opened splitstream with the object ids in place. */
function* layerChunks(stream: Splitstream): Generator<TarChunk, void, undefined> {
  for (const chunk of stream.chunks()) {
    yield chunk.type === "inline"
      ? chunk
      : { type: "external", id: stream.objectRefs.id(chunk.index) };
  }
}

/**
 * Reads the entries of a layer from its splitstream.
 *
 * @throws {FormatError} while iterating, for faults of the splitstream and of the tar in it
 */
export function readLayerEntries(stream: Splitstream): Generator<TarEntry, void, undefined> {
  return readTarEntries(layerChunks(stream));
}
