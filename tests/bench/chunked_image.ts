/**
 * Two images of one zstd:chunked layer each: the files of the benchmarks' Debian root, and the same
 * after an upgrade that left nine files in ten as they were and changed the others throughout. Made
 * once and kept in the cache (250 MB).
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a program that prints
import { cacheDir } from "../helpers/cache.ts";
import { chunkedLayer, type LayerFile } from "../helpers/chunked_layer.ts";
import { exists } from "../helpers/exists.ts";
import { TempDir } from "../helpers/temp.ts";
import { Rng } from "../fuzz/_mutate.ts";
import { AMD64, LayoutMaker, sha256, TYPE } from "../oci/_oci.ts";
import { benchInputs } from "./image.ts";

/** One file in so many is changed. */
const CHANGED_IN = 10;
/** About one byte in so many is another one; no chunk stays as it was. */
const STRETCH = 1000;
/** Longest name that a header has room for. */
const MAX_NAME = 100;

/** Directories, and regular files with their content, in order of their names. */
function filesOf(root: string): LayerFile[] {
  const files: LayerFile[] = [];
  const walk = (dir: string) => {
    const entries = [...Deno.readDirSync(`${root}/${dir}`)];
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const name = dir + entry.name;
      if (name.length >= MAX_NAME) continue;
      if (entry.isDirectory) {
        files.push({ name: `${name}/` });
        walk(`${name}/`);
      } else if (entry.isFile) files.push({ name, data: Deno.readFileSync(`${root}/${name}`) });
    }
  };
  walk("");
  return files;
}

function changed(data: Uint8Array, rng: Rng): Uint8Array {
  const out = data.slice();
  for (let at = rng.below(STRETCH); at < out.length; at += 1 + rng.below(2 * STRETCH)) {
    out[at] = rng.next();
  }
  if (out.length > 0) out[0]! ^= 1;
  return out;
}

function upgraded(files: readonly LayerFile[]): LayerFile[] {
  const rng = new Rng(1);
  return files.map((file) => {
    const { name, data } = file;
    return data === undefined || !rng.oneIn(CHANGED_IN) ? file : { name, data: changed(data, rng) };
  });
}

function writeImage(path: string, files: readonly LayerFile[]): void {
  const maker = new LayoutMaker(path);
  const { blob, annotations, tar } = chunkedLayer(files);
  const layer = { ...maker.blob(blob, `${TYPE.layer}+zstd`), annotations };
  const rootfs = { type: "layers", diff_ids: [sha256(tar)] };
  const config = maker.json({ ...AMD64, rootfs }, TYPE.config);
  const document = { schemaVersion: 2, mediaType: TYPE.manifest, config, layers: [layer] };
  maker.index([maker.json(document, TYPE.manifest)]);
}

/** Makes the images if they are not there; returns their layouts. */
export async function chunkedImages(): Promise<{ old: string; next: string }> {
  const { tree } = await benchInputs();
  const dir = cacheDir("bench");
  const layouts = { old: `${dir}/chunked-old`, next: `${dir}/chunked-next` };
  if (exists(layouts.old) && exists(layouts.next)) return layouts;
  console.log("two images with zstd:chunked layers");
  using work = new TempDir({ dir, prefix: ".chunked-" });
  const files = filesOf(tree);
  for (const [version, made] of [["old", files], ["next", upgraded(files)]] as const) {
    writeImage(work.join(version), made);
    Deno.renameSync(work.join(version), layouts[version]);
  }
  return layouts;
}
