/** Signatures of the target that a delta carries along (spec: oci 7.4). */
import { ComposefsError, type Digest, FormatError, PolicyError } from "../base/mod.ts";
import { decodeBase64, type PublicKey } from "../signature/mod.ts";
import { type AttachmentSource, parsePayload } from "../trust/mod.ts";
import { asBlob, type DeltaArtifact, parseDelta } from "./delta_artifact.ts";
import {
  type Descriptor,
  type ImageSource,
  type Manifest,
  MANIFEST_TYPE,
  parseManifest,
  type SelectedManifest,
} from "../transport/mod.ts";

/** Annotation of a signature's layer that holds the signature itself, in base64. */
const SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature";
/** More manifests than this, or signatures in one of them, are no signatures of one image. */
const MAX_SIGNATURES = 64;

/**
 * Checks that one of a delta's signatures is this key's and is for the delta's target.
 *
 * @returns the signature's manifest
 * @throws {PolicyError} `delta contains no embedded signatures`, or `signature verification failed`
 * with what is wrong with the last one
 */
export async function verifyDelta(
  source: ImageSource,
  delta: DeltaArtifact,
  key: PublicKey,
): Promise<SelectedManifest> {
  if (delta.signatures.length === 0) {
    throw new PolicyError("delta contains no embedded signatures");
  }
  let fault: unknown;
  for (const descriptor of delta.signatures.slice(0, MAX_SIGNATURES)) {
    try {
      const bytes = await source.document(asBlob(descriptor), "signature manifest");
      const manifest = parseManifest(bytes);
      for (const layer of manifest.layers.slice(0, MAX_SIGNATURES)) {
        const why = await fail(source, layer, { key, target: delta.manifest.digest });
        if (why === undefined) return { descriptor, bytes, manifest };
        fault = new FormatError("signature", why);
      }
    } catch (error) {
      if (!(error instanceof ComposefsError)) throw error;
      fault = error; // another signature may be good
    }
  }
  const why = fault instanceof Error ? fault.message : "there is no signature in it";
  throw new PolicyError(`signature verification failed: ${why}`, { cause: fault });
}

/** The signatures of a delta's target, as the delta has them. */
export function deltaAttachments(source: ImageSource, manifest: Manifest): AttachmentSource {
  const delta = parseDelta(manifest);
  return {
    name: source.name,
    tagged: () => Promise.resolve(undefined),
    referrers: () =>
      Promise.resolve(
        delta.signatures.slice(0, MAX_SIGNATURES).map(({ digest, size, mediaType }) => ({
          artifactType: "",
          digest,
          size,
          mediaType,
        })),
      ),
    async manifest({ digest, size }) {
      const descriptor = asBlob({ mediaType: MANIFEST_TYPE, digest, size });
      const bytes = await source.document(descriptor, "signature manifest");
      return { bytes, mediaType: parseManifest(bytes).mediaType ?? MANIFEST_TYPE, digest };
    },
    blob({ digest, size }) {
      const descriptor = delta.signatureContents.get(digest.toString()) ??
        { mediaType: "", digest, size };
      return source.document(asBlob(descriptor), "signature payload");
    },
  };
}

/** Why a signature does not count; `undefined` when it does. */
async function fail(
  source: ImageSource,
  layer: Descriptor,
  { key, target }: { key: PublicKey; target: Digest },
): Promise<string | undefined> {
  const encoded = layer.annotations?.[SIGNATURE_ANNOTATION];
  if (!encoded) return `blob ${layer.digest} has no signature`;
  const signature = decodeBase64(encoded);
  if (signature === undefined) return `blob ${layer.digest} has a signature that is not base64`;
  const payload = await source.document(layer, "signature payload");
  if (!key.verify(payload, signature)) return "the key did not make it";
  const { digest } = parsePayload(payload, "cosign");
  return digest === target.toString() ? undefined : `it is for image ${digest}, not for ${target}`;
}
