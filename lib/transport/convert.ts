/** Manifests of Docker's second schema as OCI ones, byte for byte as Go writes them (spec: oci 5.3). */
import { Digest, FormatError, nodeHash } from "../base/mod.ts";
import { type Descriptor, parseManifest } from "./documents.ts";
import {
  CONFIG_TYPE,
  DOCKER_CONFIG_TYPE,
  DOCKER_MANIFEST_TYPE,
  MANIFEST_TYPE,
} from "./media_types.ts";
import type { SelectedManifest } from "./source.ts";

/** OCI's names of Docker's media types. */
const LAYER_TYPES: Readonly<Record<string, string>> = {
  "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
  "application/vnd.docker.image.rootfs.diff.tar.gzip":
    "application/vnd.oci.image.layer.v1.tar+gzip",
  "application/vnd.docker.image.rootfs.diff.tar.zstd":
    "application/vnd.oci.image.layer.v1.tar+zstd",
  "application/vnd.docker.image.rootfs.foreign.diff.tar":
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
  "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
};

/**
 * Converts a manifest of Docker's second schema; others stay as they are. The config's bytes, which
 * are the same in both, keep their digest.
 */
export function toOci(selected: SelectedManifest): SelectedManifest {
  const { descriptor, manifest, bytes } = selected;
  if ((manifest.mediaType ?? descriptor.mediaType) !== DOCKER_MANIFEST_TYPE) return selected;
  if (manifest.config.mediaType !== DOCKER_CONFIG_TYPE) return selected; // an artifact
  const document = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: converted(manifest.config, CONFIG_TYPE),
    layers: manifest.layers.map((layer) => converted(layer, LAYER_TYPES[layer.mediaType])),
    ...(manifest.annotations ? { annotations: sorted(manifest.annotations) } : {}),
  };
  const oci = new TextEncoder().encode(goJson(document));
  const hash = nodeHash.stream("sha256");
  hash.update(oci);
  const { platform, annotations } = descriptor;
  return {
    descriptor: {
      mediaType: MANIFEST_TYPE,
      digest: Digest.sha256(hash.digest()),
      size: oci.length,
      annotations,
      platform,
    },
    bytes: oci,
    manifest: parseManifest(oci),
    index: selected.index,
    original: { descriptor, bytes },
  };
}

function converted(descriptor: Descriptor, mediaType: string | undefined): unknown {
  if (mediaType === undefined) {
    throw new FormatError("image manifest", `Unknown layer type ${descriptor.mediaType}`);
  }
  const { digest, size, urls, annotations } = descriptor;
  return {
    mediaType,
    digest: digest.toString(),
    size,
    ...(urls?.length ? { urls } : {}),
    ...(annotations && Object.keys(annotations).length > 0
      ? { annotations: sorted(annotations) }
      : {}),
  };
}

/** Go sorts the keys of maps, by their UTF-8 bytes. */
function sorted(map: Readonly<Record<string, string>>): Record<string, string> {
  const order = (a: string, b: string) => {
    const [one, other] = [a, b].map((text) => [...text].map((c) => c.codePointAt(0)!));
    const at = one!.findIndex((code, i) => code !== other![i]);
    return at < 0 ? one!.length - other!.length : one![at]! - (other![at] ?? -1);
  };
  return Object.fromEntries(Object.keys(map).sort(order).map((key) => [key, map[key]!]));
}

/** JSON with the characters escaped that Go escapes for HTML's sake. */
function goJson(document: unknown): string {
  const escape = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(document).replace(/[<>&\u2028\u2029]/g, escape);
}
