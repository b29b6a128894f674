/**
 * Importing a tar layer in memory: what the repository does with disks and workers, in a few lines.
 *
 * @module
 */
import type { Algorithm, ByteString, ObjectId } from "../../lib/base/mod.ts";
import { ALGORITHMS, nodeHash, nodeZstd, toByteString } from "../../lib/base/mod.ts";
import { objectIdOf } from "../../lib/fsverity/mod.ts";
import { CONTENT_TYPE, openSplitstream, SplitstreamWriter } from "../../lib/splitstream/mod.ts";
import { readLayerEntries, type TarEntry, TarSplitter } from "../../lib/tar/mod.ts";
import type { Directory, FileTree, Leaf, Node } from "../../lib/tree/mod.ts";

/** A layer in memory. */
export interface MemoryLayer {
  /** The splitstream file. */
  file: Uint8Array<ArrayBuffer>;
  /** Its object id. */
  id: ObjectId;
  /** The objects it refers to. */
  objects: Map<ObjectId, Uint8Array>;
  /** Entries in the tar stream. */
  entries: number;
  /** Size of the reassembled stream. */
  streamSize: number;
  /** Inline bytes. */
  inlineSize: number;
  /** External bytes, each occurrence counted. */
  externalSize: number;
  /** External chunks, each occurrence counted. */
  externalCount: number;
}

/**
 * Imports a tar stream.
 *
 * @param tar The uncompressed stream.
 * @param options The repository's algorithm, and in pieces of how many bytes to push.
 */
export function importLayer(
  tar: Uint8Array,
  options: { algorithm: Algorithm; piece?: number },
): MemoryLayer {
  const { algorithm, piece = tar.length } = options;
  const writer = new SplitstreamWriter({
    algorithm,
    contentType: CONTENT_TYPE.ociLayer,
    codec: nodeZstd,
  });
  using _writer = writer;
  const objects = new Map<ObjectId, Uint8Array>();
  let content = new Uint8Array(0);
  let used = 0;
  const splitter = new TarSplitter({
    inline: (bytes) => writer.addInline(bytes),
    externalStart(size) {
      // Content that is announced but not there must not cost its size.
      content = new Uint8Array(Math.min(size, tar.length));
      used = 0;
    },
    externalData(bytes) {
      content.set(bytes, used);
      used += bytes.length;
    },
    externalEnd() {
      const id = objectIdOf(content, { algorithm, provider: nodeHash });
      objects.set(id, content);
      writer.addExternal(id, content.length);
    },
  });
  for (let at = 0; at < tar.length; at += piece) splitter.push(tar.subarray(at, at + piece));
  splitter.finish();
  const { streamSize, inlineSize, externalSize, externalCount } = writer;
  const file = writer.finish();
  return {
    file,
    id: objectIdOf(file, { algorithm, provider: nodeHash }),
    objects,
    entries: splitter.entryCount,
    streamSize,
    inlineSize,
    externalSize,
    externalCount,
  };
}

/** Reassembles the stream of a splitstream file. */
export function reassemble(
  file: Uint8Array,
  options: { algorithm: Algorithm; objects: ReadonlyMap<string, Uint8Array> },
): Uint8Array<ArrayBuffer> {
  const stream = openSplitstream(file, { algorithm: options.algorithm, codec: nodeZstd });
  const parts: Uint8Array[] = [];
  let size = 0;
  for (const chunk of stream.chunks()) {
    const bytes = chunk.type === "inline"
      ? chunk.bytes.slice()
      : options.objects.get(stream.objectRefs.id(chunk.index));
    if (bytes === undefined) throw new Error("Object is missing");
    parts.push(bytes);
    size += bytes.length;
  }
  const out = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function escape(bytes: ByteString, also = ""): string {
  const named: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };
  return [...bytes].map((c) => {
    if (named[c] !== undefined) return named[c];
    const plain = c > " " && c <= "~" && !also.includes(c);
    return plain ? c : "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0");
  }).join("");
}

function field(bytes: ByteString): string {
  return bytes === "" ? "-" : bytes === "-" ? "\\x2d" : escape(bytes);
}

const FILE_TYPE = {
  directory: 0o40000,
  inline: 0o100000,
  external: 0o100000,
  "external-no-verity": 0o100000,
  sparse: 0o100000,
  symlink: 0o120000,
  char: 0o20000,
  block: 0o60000,
  fifo: 0o10000,
  socket: 0o140000,
} as const;

/** An entry as a dumpfile line, written independently of the product's formatter. */
export function dumpLine({ path, stat, item }: TarEntry, nlink = 1): string {
  if (item.type === "hardlink") {
    return `${field(path)} 0 @120000 - - - - 0.0 ${field(item.target)} - -`;
  }
  const size = item.type === "inline"
    ? item.data.length
    : item.type === "symlink"
    ? item.target.length
    : "size" in item
    ? item.size
    : 0;
  const digest = item.type === "external" ? item.digest : "-";
  const payload = item.type === "external"
    ? `${digest.slice(0, 2)}/${digest.slice(2)}`
    : item.type === "symlink"
    ? field(item.target)
    : "-";
  const content = item.type === "inline" && size > 0 ? field(toByteString(item.data)) : "-";
  const rdev = "rdev" in item ? item.rdev : 0;
  const nsec = stat.mtimeNsec === 0 ? "0" : String(stat.mtimeNsec).padStart(9, "0");
  const xattrs = [...stat.xattrs].sort((a, b) => a[0] < b[0] ? -1 : 1)
    .map(([name, value]) => ` ${escape(name, "=")}=${escape(value, "=")}`).join("");
  const mode = (FILE_TYPE[item.type] | stat.mode).toString(8);
  return `${field(path)} ${size} ${mode} ${nlink} ${stat.uid} ${stat.gid} ${rdev} ` +
    `${stat.mtimeSec}.${nsec} ${payload} ${content} ${digest}${xattrs}`;
}

/** A tree as dumpfile text, written independently of the product's formatter. */
export function dumpTree({ root }: FileTree): string {
  const links = new Map<Leaf, number>();
  const count = (directory: Directory): void => {
    for (const node of directory.entries.values()) {
      if (node.kind === "directory") count(node);
      else links.set(node, (links.get(node) ?? 0) + 1);
    }
  };
  count(root);
  const first = new Map<Leaf, ByteString>();
  let text = "";
  const visit = (path: ByteString, node: Node): void => {
    const { stat } = node;
    const shown = path === "" ? "/" : path;
    if (node.kind === "directory") {
      const children = node.sorted();
      const nlink = 2 + children.filter(([, child]) => child.kind === "directory").length;
      text += dumpLine({ path: shown, stat, item: { type: "directory" } }, nlink) + "\n";
      for (const [name, child] of children) visit(`${path}/${name}`, child);
      return;
    }
    const target = first.get(node);
    if (target === undefined) {
      first.set(node, path);
      text += dumpLine({ path, stat, item: node.content }, links.get(node)) + "\n";
    } else text += dumpLine({ path, stat, item: { type: "hardlink", target } }) + "\n";
  };
  visit("", root);
  return text;
}

/** The regular files of a tar stream by path. */
export function tarFiles(tar: Uint8Array): Map<ByteString, Uint8Array> {
  const algorithm = ALGORITHMS.sha256;
  const layer = importLayer(tar, { algorithm });
  const stream = openSplitstream(layer.file, { algorithm, codec: nodeZstd });
  const files = new Map<ByteString, Uint8Array>();
  for (const { path, item } of readLayerEntries(stream)) {
    if (item.type === "inline") files.set(path, item.data);
    else if (item.type === "external") files.set(path, layer.objects.get(item.digest)!);
  }
  return files;
}
