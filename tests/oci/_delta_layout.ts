/**
 * Delta artifacts for tests, made by hand with any fault one likes.
 *
 * @module
 */
import { sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { zstdCompressSync } from "node:zlib";
import {
  DELTA_ANNOTATION,
  DELTA_TYPE,
  TAR_DIFF_MAGIC,
  TAR_DIFF_TYPE,
} from "../../lib/delta/mod.ts";
import { type JsonDescriptor, type LayoutMaker, sha256, TYPE } from "./_oci.ts";

const CONTENT = DELTA_ANNOTATION.content;

/** Operations as bytes: a number is a COPY of so many bytes, a string an OPEN, bytes are DATA. */
export function operations(...parts: (number | string | Uint8Array)[]): Uint8Array {
  return Buffer.concat(parts.map((part) => {
    if (typeof part === "number") return Uint8Array.from([2, ...uvarint(part)]);
    const bytes = typeof part === "string" ? new TextEncoder().encode(part) : part;
    const code = typeof part === "string" ? 1 : 0;
    return Uint8Array.from([code, ...uvarint(bytes.length), ...bytes]);
  }));
}

/** A number as LEB128. */
export function uvarint(n: number): number[] {
  const bytes: number[] = [];
  for (; n >= 0x80; n = Math.floor(n / 0x80)) bytes.push(0x80 + n % 0x80);
  return [...bytes, n];
}

/** Packs operations into a tar-diff. */
export function tarDiff(text: Uint8Array): Uint8Array {
  return Buffer.concat([TAR_DIFF_MAGIC, zstdCompressSync(text)]);
}

/** A blob as one of the delta's layers. */
export function content(
  descriptor: JsonDescriptor,
  what: string,
  annotations: Record<string, string> = {},
): JsonDescriptor {
  return { ...descriptor, annotations: { [CONTENT]: what, ...annotations } };
}

/** What a delta is made of; everything can be something else than it should be. */
export interface DeltaParts {
  /** Descriptor of the old image's manifest in the same layout. */
  old: JsonDescriptor;
  /** Descriptor of the new image's manifest in the same layout. */
  fresh: JsonDescriptor;
  /** tar-diffs (or other blobs, by descriptor) for the new image's layers; left out when absent. */
  layers: readonly (Uint8Array | JsonDescriptor | undefined)[];
  /** Another config. */
  config?: JsonDescriptor;
  /** More layers of the delta. */
  more?: readonly JsonDescriptor[];
  /** Fields of the delta's manifest instead of those that it would have. */
  manifest?: Record<string, unknown>;
  /** Annotations in the place of those that it would have. */
  annotations?: Record<string, string>;
}

interface ManifestJson {
  config: JsonDescriptor;
  layers: JsonDescriptor[];
}

/** Reads a document back. */
export function readJson<T>(maker: LayoutMaker, { digest }: { digest: string }): T {
  return JSON.parse(Deno.readTextFileSync(maker.blobPath(digest)));
}

/** Writes a delta; returns its manifest's descriptor. */
export function writeDelta(maker: LayoutMaker, parts: DeltaParts): JsonDescriptor {
  const { digest, size } = parts.fresh;
  const old = readJson<ManifestJson>(maker, parts.old);
  const fresh = readJson<ManifestJson>(maker, parts.fresh);
  const layers = parts.layers.flatMap((layer, i) => {
    if (layer === undefined) return [];
    const blob = layer instanceof Uint8Array ? maker.blob(layer, TAR_DIFF_TYPE) : layer;
    return [content(blob, "image-layer", { [DELTA_ANNOTATION.to]: fresh.layers[i]!.digest })];
  });
  return maker.json({
    schemaVersion: 2,
    artifactType: DELTA_TYPE,
    config: maker.blob("{}", TYPE.empty),
    layers: [
      content({ mediaType: TYPE.manifest, digest, size }, "image-manifest"),
      content(parts.config ?? fresh.config, "image-config"),
      ...layers,
      ...parts.more ?? [],
    ],
    subject: { mediaType: TYPE.manifest, digest, size },
    annotations: {
      [DELTA_ANNOTATION.target]: digest,
      [DELTA_ANNOTATION.source]: parts.old.digest,
      [DELTA_ANNOTATION.sourceConfig]: old.config.digest,
      ...parts.annotations,
    },
    ...parts.manifest,
  }, TYPE.manifest);
}

/** What a signature is made of. */
export interface SignatureParts {
  /** Digest of the manifest that is signed. */
  target: string;
  /** Private key. */
  key: KeyObject;
  /** What the payload says it is. */
  type?: string;
  /** The payload instead of the usual one. */
  payload?: string;
  /** The annotation instead of the signature. */
  annotation?: string;
}

/** Writes a signature as cosign does; returns the layers that it adds to a delta. */
export function writeSignature(maker: LayoutMaker, parts: SignatureParts): JsonDescriptor[] {
  const payload = parts.payload ?? JSON.stringify({
    critical: {
      identity: { "docker-reference": "" },
      image: { "docker-manifest-digest": parts.target },
      type: parts.type ?? "cosign container image signature",
    },
    optional: null,
  });
  const algorithm = parts.key.asymmetricKeyType === "ed25519" ? null : "sha256";
  const signature = sign(algorithm, new TextEncoder().encode(payload), parts.key);
  const blob = {
    ...maker.blob(payload, "application/vnd.dev.cosign.simplesigning.v1+json"),
    annotations: {
      "dev.cosignproject.cosign/signature": parts.annotation ?? signature.toString("base64"),
    },
  };
  const config = maker.json({
    architecture: "",
    os: "",
    rootfs: { type: "layers", diff_ids: [sha256(payload)] },
  }, TYPE.config);
  const manifest = maker.json(
    { schemaVersion: 2, mediaType: TYPE.manifest, config, layers: [blob] },
    TYPE.manifest,
  );
  return [
    content(manifest, "cosign-signature"),
    content(config, "cosign-signature-content"),
    content(blob, "cosign-signature-content"),
  ];
}
