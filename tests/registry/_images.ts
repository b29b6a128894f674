/** Images for the tests of registries, made of nothing but bytes. */
import { createHash, randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import { Digest } from "../../lib/base/mod.ts";
import type { TempDir } from "../helpers/temp.ts";

/** A blob and what names it. */
export interface TestBlob {
  bytes: Uint8Array<ArrayBuffer>;
  digest: Digest;
  size: number;
}

/** An image in memory. */
export interface TestImage {
  manifest: TestBlob;
  config: TestBlob;
  layers: TestBlob[];
}

export const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
export const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";

/** Names bytes. */
export function blobOf(content: Uint8Array | string): TestBlob {
  const bytes = typeof content === "string"
    ? new TextEncoder().encode(content)
    : Uint8Array.from(content);
  const digest = Digest.parse("sha256:" + createHash("sha256").update(bytes).digest("hex"));
  return { bytes, digest, size: bytes.length };
}

/** Bytes that nothing packs. */
export function noise(size: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(randomBytes(size));
}

/** An image whose layers hold noise of these sizes. */
export function makeImage(sizes: readonly number[], note = ""): TestImage {
  const contents = sizes.map(noise);
  const layers = contents.map((content) => blobOf(gzipSync(content, { level: 1 })));
  const config = blobOf(JSON.stringify({
    architecture: "amd64",
    os: "linux",
    config: { Labels: { note } },
    rootfs: { type: "layers", diff_ids: contents.map((content) => blobOf(content).digest) },
  }));
  const describe = (blob: TestBlob, type: string) => ({
    mediaType: `application/vnd.oci.image.${type}`,
    digest: blob.digest,
    size: blob.size,
  });
  const manifest = blobOf(JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: describe(config, "config.v1+json"),
    layers: layers.map((layer) => describe(layer, "layer.v1.tar+gzip")),
  }));
  return { manifest, config, layers };
}

/** Writes an image as a layout with the tag `latest`; its `oci:` name. */
export function writeLayout(dir: TempDir, image: TestImage): string {
  const path = dir.join("layout");
  dir.write("layout/oci-layout", '{"imageLayoutVersion":"1.0.0"}');
  for (const blob of [image.manifest, image.config, ...image.layers]) {
    dir.write(`layout/blobs/sha256/${blob.digest.encoded}`, blob.bytes);
  }
  dir.write(
    "layout/index.json",
    JSON.stringify({
      schemaVersion: 2,
      manifests: [{
        mediaType: MANIFEST_TYPE,
        digest: image.manifest.digest,
        size: image.manifest.size,
        annotations: { "org.opencontainers.image.ref.name": "latest" },
      }],
    }),
  );
  return `oci:${path}:latest`;
}

/** Collects a blob. */
export class Collector {
  readonly pieces: Uint8Array[] = [];
  size = 0;

  write(piece: Uint8Array): void {
    this.pieces.push(piece.slice());
    this.size += piece.length;
  }

  get bytes(): Uint8Array {
    const out = new Uint8Array(this.size);
    let at = 0;
    for (const piece of this.pieces) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }
}
