/** Golden files of this room, and trees as text for comparing them. */
import { gunzipSync } from "node:zlib";
import { toHex } from "../../lib/base/mod.ts";
import type { FileTree, Leaf, Node, Stat } from "../../lib/tree/mod.ts";

const ROOT = new URL("../../fixtures/erofs/", import.meta.url);

/** The bytes of a fixture; `.gz` is unpacked. */
export function fixture(path: string): Uint8Array<ArrayBuffer> {
  const bytes = Deno.readFileSync(new URL(path, ROOT));
  return path.endsWith(".gz") ? new Uint8Array(gunzipSync(bytes)) : bytes;
}

/** A fixture as text. */
export function fixtureText(path: string): string {
  return new TextDecoder().decode(fixture(path));
}

/** The names in a folder of fixtures that end in `suffix`, without it, sorted. */
export function fixtureNames(folder: string, suffix: string): string[] {
  const names = [...Deno.readDirSync(new URL(folder, ROOT))].map((entry) => entry.name);
  return names.filter((name) => name.endsWith(suffix))
    .map((name) => name.slice(0, -suffix.length)).sort();
}

function describeStat(stat: Stat): string {
  const xattrs = [...stat.xattrs].sort(([a], [b]) => a < b ? -1 : 1);
  return `${stat.mode.toString(8)} ${stat.uid} ${stat.gid} ${stat.mtimeSec}.${stat.mtimeNsec} ` +
    JSON.stringify(xattrs);
}

function describeContent(leaf: Leaf): string {
  const { content } = leaf;
  return content.type === "inline" ? `inline ${toHex(content.data)}` : JSON.stringify(content);
}

/** A tree as one line per name; which names are one file shows too. */
export function describeTree(tree: FileTree): string[] {
  const lines: string[] = [];
  const firstPaths = new Map<Leaf, string>();
  const stack: [string, Node][] = [["", tree.root]];
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const [path, node] = top;
    const shown = JSON.stringify(path);
    if (node.kind === "directory") {
      lines.push(`${shown} directory ${describeStat(node.stat)}`);
      for (const [name, child] of node.sorted().reverse()) stack.push([`${path}/${name}`, child]);
      continue;
    }
    const first = firstPaths.get(node);
    if (first === undefined) {
      firstPaths.set(node, path);
      lines.push(`${shown} ${describeStat(node.stat)} ${describeContent(node)}`);
    } else {
      lines.push(`${shown} = ${JSON.stringify(first)}`);
    }
  }
  return lines;
}
