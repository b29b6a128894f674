/**
 * A second version of the benchmarks' image, as an upgrade makes it: all times are new, one file in
 * eight has changed here and there and by some bytes of its size, one in thirty is all new. Made
 * once from the first image, the same on every machine, and kept beside it.
 *
 * As a program: `deno run -A tests/bench/next_image.ts` makes it and prints where it is.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a program that prints
import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import { cacheDir } from "../helpers/cache.ts";
import { cfsOk } from "../helpers/run.ts";
import { Rng } from "../fuzz/_mutate.ts";
import { benchInputs } from "./image.ts";

const BLOCK = 512;
const TIME = 1_780_000_000;
const CHANGED_IN = 8;
const NEW_IN = 30;
/** A few bytes change in each stretch of so many. */
const STRETCH = 4000;

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
}

/** Rewrites a header with another time and size. */
function header(block: Uint8Array, size: number): Uint8Array {
  const out = block.slice();
  const field = (at: number, value: string) => out.set(new TextEncoder().encode(value), at);
  field(124, `${size.toString(8).padStart(11, "0")}\0`);
  field(136, `${TIME.toString(8).padStart(11, "0")}\0`);
  out.fill(0x20, 148, 156);
  field(148, `${out.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")}\0 `);
  return out;
}

function padded(content: Uint8Array): Uint8Array[] {
  return [content, new Uint8Array((BLOCK - content.length % BLOCK) % BLOCK)];
}

function changed(content: Uint8Array, rng: Rng): Uint8Array {
  const out = content.slice();
  for (let at = rng.below(STRETCH); at < out.length; at += 1 + rng.below(2 * STRETCH)) {
    const end = Math.min(out.length, at + 4);
    for (let i = at; i < end; i++) out[i] = rng.next();
  }
  if (out.length < STRETCH) return out;
  const middle = rng.below(out.length);
  const added = Uint8Array.from({ length: 1 + rng.below(64) }, () => rng.next());
  return Buffer.concat([out.subarray(0, middle), added, out.subarray(middle)]);
}

function upgraded(tar: Uint8Array, rng: Rng): Uint8Array {
  const parts: Uint8Array[] = [];
  let extended = false;
  for (let at = 0; at + BLOCK <= tar.length;) {
    const block = tar.subarray(at, at + BLOCK);
    if (block[0] === 0) {
      parts.push(tar.subarray(at));
      break;
    }
    const type = String.fromCharCode(block[156]!);
    const size = parseInt(new TextDecoder().decode(block.subarray(124, 135)), 8);
    const next = at + BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    const content = tar.subarray(at + BLOCK, at + BLOCK + size);
    if (type === "0" && size > 64 && !extended && rng.oneIn(CHANGED_IN)) {
      const fresh = changed(content, rng);
      parts.push(header(block, fresh.length), ...padded(fresh));
    } else if (type === "0" && size > 64 && !extended && rng.oneIn(NEW_IN)) {
      // Text that packs about as well as programs do.
      const fresh = Uint8Array.from(content, () => 48 + rng.below(24));
      parts.push(header(block, size), ...padded(fresh));
    } else {
      const plain = "xLKg".includes(type);
      parts.push(plain ? block : header(block, size), tar.subarray(at + BLOCK, next));
    }
    extended = "xLK".includes(type);
    at = next;
  }
  return Buffer.concat(parts);
}

/** Makes the image if it is not there; returns its layout and tag. */
export async function nextImage(): Promise<{ oci: string; tag: string }> {
  const { oci: first, tag } = await benchInputs();
  const oci = `${cacheDir("bench")}/next`;
  try {
    Deno.statSync(`${oci}/index.json`);
    return { oci, tag };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const work = `${oci}.making`;
  Deno.mkdirSync(`${work}/blobs/sha256`, { recursive: true });
  const digest = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");
  const read = (hex: string) => Deno.readFileSync(`${first}/blobs/sha256/${hex.slice(7)}`);
  const json = (hex: string) => JSON.parse(new TextDecoder().decode(read(hex)));
  const write = (bytes: Uint8Array, old: Descriptor): Descriptor => {
    const hex = digest(bytes);
    Deno.writeFileSync(`${work}/blobs/sha256/${hex}`, bytes);
    return { ...old, digest: `sha256:${hex}`, size: bytes.length };
  };
  const index = JSON.parse(Deno.readTextFileSync(`${first}/index.json`));
  const manifest = json(index.manifests[0].digest);
  const config = json(manifest.config.digest);
  const rng = new Rng(1);
  for (const [i, layer] of (manifest.layers as Descriptor[]).entries()) {
    const tar = upgraded(gunzipSync(read(layer.digest)), rng);
    config.rootfs.diff_ids[i] = `sha256:${digest(tar)}`;
    manifest.layers[i] = write(gzipSync(tar), layer);
  }
  const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  manifest.config = write(text(config), manifest.config);
  index.manifests = [write(text(manifest), index.manifests[0])];
  Deno.writeTextFileSync(`${work}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
  Deno.writeFileSync(`${work}/index.json`, text(index));
  Deno.renameSync(work, oci);
  return { oci, tag };
}

/** Where the delta from the first image to this one is. */
export function deltaPath(): string {
  return `${cacheDir("bench")}/delta`;
}

/** Makes the delta if it is not there; that takes some minutes. */
export async function makeDelta(): Promise<void> {
  const { oci: first, tag } = await benchInputs();
  const { oci: next } = await nextImage();
  const path = deltaPath();
  try {
    Deno.statSync(`${path}/index.json`);
    return;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const images = [`oci:${first}:${tag}`, `oci:${next}:${tag}`, `oci:${path}`];
  await cfsOk(["oci", "delta", "create", ...images], { timeout: 1_200_000 });
}

if (import.meta.main) console.log(await nextImage());
