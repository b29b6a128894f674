/**
 * Repositories and OCI layouts for tests: from fixtures, or made here with any fault one likes.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { ALGORITHMS, ComposefsError, type HashName } from "../../lib/base/mod.ts";
import { pullImage, type PullOptions, type PullResult } from "../../lib/oci/mod.ts";
import { type InitOptions, initRepository, Repository } from "../../lib/repository/mod.ts";
import { ROOT } from "../helpers/run.ts";
import { unpack } from "../helpers/tar.ts";
import type { TempDir } from "../helpers/temp.ts";

/** Where this area's fixtures are. */
export const FIXTURES = `${ROOT}fixtures/oci/`;

/** A platform that the fixtures are for, so that tests do not depend on the machine. */
export const AMD64 = { os: "linux", architecture: "amd64" } as const;

/** The fixtures of a subfolder, as their `expected.json` has them. */
export function expectations<T>(area: string): Record<string, T> {
  return JSON.parse(Deno.readTextFileSync(`${FIXTURES}${area}/expected.json`));
}

/** Makes an insecure repository and opens it; `extra` are formats besides the default one. */
export function newRepository(
  path: string,
  options: InitOptions & { hash?: HashName; extra?: number[] } = {},
): Repository {
  const { hash, extra, ...init } = options;
  initRepository(path, { insecure: true, algorithm: ALGORITHMS[hash ?? "sha256"], ...init });
  if (extra !== undefined) {
    const meta = JSON.parse(Deno.readTextFileSync(`${path}/meta.json`));
    meta.erofs_formats.extra = extra;
    Deno.writeTextFileSync(`${path}/meta.json`, JSON.stringify(meta));
  }
  return Repository.open(path);
}

/** Unpacks a fixture's layout into `dir`; returns its path. */
export async function fixtureLayout(area: string, name: string, dir: TempDir): Promise<string> {
  const path = dir.join(name);
  Deno.mkdirSync(path, { recursive: true });
  await unpack(`fixtures/oci/${area}/${name}.oci.tar`, path);
  return path;
}

/** Pulls for amd64, whatever machine this is. */
export function pull(
  repository: Repository,
  reference: string,
  options: PullOptions = {},
): Promise<PullResult> {
  return pullImage(repository, reference, { platform: AMD64, name: "t", jobs: 2, ...options });
}

/** Everything below a directory: paths with link targets and file sizes, sorted. */
export function listing(dir: string, below = ""): string[] {
  const lines: string[] = [];
  for (const { name, isDirectory, isSymlink } of Deno.readDirSync(dir)) {
    const path = `${dir}/${name}`;
    const shown = `${below}/${name}`;
    if (isSymlink) lines.push(`${shown} -> ${Deno.readLinkSync(path)}`);
    else if (isDirectory) lines.push(`${shown}/`, ...listing(path, shown));
    else lines.push(`${shown} ${Deno.statSync(path).size}`);
  }
  return lines.sort();
}

/** Everything that has a name in a repository. */
export function names(repository: Repository): string[] {
  return ["streams", "images"].flatMap((name) => {
    try {
      return listing(`${repository.path}/${name}`, name);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  }).filter((line) => !line.endsWith("/"));
}

/** The messages of an error and its causes. */
export function chain(error: unknown): string {
  const lines: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) lines.push(at.message);
  return lines.join(": ");
}

/** Whether something failed the way faults are meant to. */
export function isFault(error: unknown): error is ComposefsError {
  return error instanceof ComposefsError;
}

/** `sha256:` digest of bytes. */
export function sha256(bytes: Uint8Array | string): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** A descriptor as JSON. */
export interface JsonDescriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { os: string; architecture: string; variant?: string };
  annotations?: Record<string, string>;
  artifactType?: string;
}

/** How a layer is packed. */
export type Packing = "plain" | "gzip" | "zstd";

/** Media types. */
export const TYPE = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  empty: "application/vnd.oci.empty.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
} as const;

const SUFFIX = { plain: "", gzip: "+gzip", zstd: "+zstd" } as const;

/** Packs a layer. */
export function packed(tar: Uint8Array, packing: Packing): Uint8Array {
  if (packing === "gzip") return gzipSync(tar, { level: 1 });
  return packing === "zstd" ? zstdCompressSync(tar) : tar;
}

/** An image to be made. */
export interface ImageParts {
  /** Uncompressed layers, oldest first. */
  layers: readonly Uint8Array[];
  /** How they are packed. @default "gzip" */
  packing?: Packing;
  /** Platform of the config. @default linux/amd64 */
  platform?: { os: string; architecture: string; variant?: string };
  /** More fields of the manifest. */
  manifest?: Record<string, unknown>;
}

/** A layout that is being made. */
export class LayoutMaker {
  /** Its directory. */
  readonly path: string;

  /** Makes the directory. */
  constructor(path: string) {
    this.path = path;
    Deno.mkdirSync(`${path}/blobs/sha256`, { recursive: true });
    Deno.writeTextFileSync(`${path}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
  }

  /** Writes a blob under its digest. */
  blob(content: Uint8Array | string, mediaType: string): JsonDescriptor {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    const digest = sha256(bytes);
    Deno.writeFileSync(this.blobPath(digest), bytes);
    return { mediaType, digest, size: bytes.length };
  }

  /** Where a blob is. */
  blobPath(digest: string): string {
    return `${this.path}/blobs/${digest.replace(":", "/")}`;
  }

  /** Writes a document. */
  json(document: unknown, mediaType: string): JsonDescriptor {
    return this.blob(JSON.stringify(document), mediaType);
  }

  /** Writes an image; returns its manifest's descriptor. */
  image(parts: ImageParts): JsonDescriptor {
    const packing = parts.packing ?? "gzip";
    const config = this.json({
      ...(parts.platform ?? AMD64),
      rootfs: { type: "layers", diff_ids: parts.layers.map(sha256) },
    }, TYPE.config);
    const layers = parts.layers.map((tar) =>
      this.blob(packed(tar, packing), TYPE.layer + SUFFIX[packing])
    );
    const document = { schemaVersion: 2, mediaType: TYPE.manifest, config, layers };
    return this.json({ ...document, ...parts.manifest }, TYPE.manifest);
  }

  /** Writes `index.json`; returns the reference to pull. */
  index(manifests: readonly JsonDescriptor[]): string {
    const document = { schemaVersion: 2, manifests };
    Deno.writeTextFileSync(`${this.path}/index.json`, JSON.stringify(document));
    return `oci:${this.path}`;
  }
}

/** A layout with one image. */
export function makeImage(path: string, parts: ImageParts): string {
  const maker = new LayoutMaker(path);
  return maker.index([maker.image(parts)]);
}
