/** An image of some 20 MB in an OCI layout, made anew for each run from a fixed seed. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { Rng } from "../fuzz/_mutate.ts";
import { header } from "../helpers/make_tar.ts";
import type { TempDir } from "../helpers/temp.ts";

/** What a layer is made of. */
interface LayerPlan {
  /** Number of files. */
  readonly files: number;
  /** Largest of the ordinary files in bytes. */
  readonly largest: number;
  /** Size of one file more, in bytes. */
  readonly big: number;
  /** How it is compressed. */
  readonly media: keyof typeof COMPRESS;
}

const COMPRESS = {
  "tar": (tar: Buffer) => tar,
  "tar+gzip": (tar: Buffer) => gzipSync(tar, { level: 1 }),
  "tar+zstd": (tar: Buffer) => zstdCompressSync(tar),
} as const;

const PLAN: readonly LayerPlan[] = [
  { files: 500, largest: 20_000, big: 3_000_000, media: "tar+gzip" },
  { files: 300, largest: 25_000, big: 0, media: "tar+zstd" },
  { files: 100, largest: 60_000, big: 2_500_000, media: "tar" },
];

function content(rng: Rng, size: number): Buffer {
  const block = Buffer.alloc(Math.min(size, 1024));
  for (let at = 0; at + 4 <= block.length; at += 4) block.writeUInt32LE(rng.next(), at);
  return Buffer.alloc(size, block);
}

function makeLayer(plan: LayerPlan, rng: Rng): Buffer {
  const parts: Buffer[] = [];
  const add = (name: string, size: number) => {
    parts.push(header({ name, size }), content(rng, size), Buffer.alloc((512 - size % 512) % 512));
  };
  for (let i = 0; i < plan.files; i++) add(`dir${rng.below(20)}/file${i}`, rng.below(plan.largest));
  if (plan.big > 0) add("big", plan.big);
  parts.push(Buffer.alloc(1024));
  return Buffer.concat(parts);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/**
 * Writes the layout.
 *
 * @param dir Where; the layout is its subdirectory `name`.
 * @param options Name of the layout, and the seed that decides the content.
 * @returns The reference to pull.
 */
export function makeImage(dir: TempDir, options: { name: string; seed: number }): string {
  const rng = new Rng(options.seed);
  const blob = (bytes: Uint8Array, mediaType: string) => {
    const hex = sha256(bytes);
    dir.write(`${options.name}/blobs/sha256/${hex}`, bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const diffIds: string[] = [];
  const layers = PLAN.map((plan) => {
    const tar = makeLayer(plan, rng);
    diffIds.push(`sha256:${sha256(tar)}`);
    return blob(COMPRESS[plan.media](tar), `application/vnd.oci.image.layer.v1.${plan.media}`);
  });
  const config = blob(
    json({
      architecture: Deno.build.arch === "aarch64" ? "arm64" : "amd64",
      os: "linux",
      config: {},
      rootfs: { type: "layers", diff_ids: diffIds },
    }),
    "application/vnd.oci.image.config.v1+json",
  );
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = blob(json({ schemaVersion: 2, mediaType, config, layers }), mediaType);
  dir.write(`${options.name}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
  dir.write(
    `${options.name}/index.json`,
    JSON.stringify({
      schemaVersion: 2,
      manifests: [{ ...manifest, annotations: { "org.opencontainers.image.ref.name": "v1" } }],
    }),
  );
  return `oci:${dir.join(options.name)}:v1`;
}
