/** Signatures of an image, gathered to go along in a delta of it (spec: trust 10). */
import { ComposefsError, type Digest } from "../base/mod.ts";
// Its values are imported when they are needed: an image without attachments needs none.
import type { AttachmentSource } from "../trust/mod.ts";
import { isSignatureLayer, parseManifest } from "../transport/mod.ts";
import { type BlobName, EMPTY_CONFIG, sha256, type SignatureNames } from "./delta_manifest.ts";
import { SeenAttachments } from "./kept_signatures.ts";

/** A small blob with its content. */
export interface GatheredBlob extends BlobName {
  /** Its bytes, verified. */
  readonly bytes: Uint8Array;
}

/** A manifest of signatures with all that it names. */
export interface GatheredSignatures extends SignatureNames {
  readonly manifest: GatheredBlob;
  readonly contents: readonly GatheredBlob[];
}

/**
 * Reads the signatures of an image. What cannot be read is told and left out; whether signatures
 * are any good is for those to judge who go by them.
 *
 * @param attachments where they are
 * @param subject the image's manifest
 * @param warn told what is left out, and why
 * @returns in the order of the manifests' digests
 */
export async function gatherSignatures(
  attachments: AttachmentSource,
  subject: Digest,
  warn: (text: string) => void,
): Promise<GatheredSignatures[]> {
  const { findAttachments, SignatureBudget } = await import("../trust/mod.ts");
  const seen = new SeenAttachments(attachments);
  const { faults } = await findAttachments(seen, subject);
  for (const { place, reason } of faults) warn(`signatures at ${place} are left out: ${reason}`);
  const budget = new SignatureBudget();
  const empty = sha256(EMPTY_CONFIG);
  const gathered: GatheredSignatures[] = [];
  for (const { digest, mediaType, bytes } of seen.seen) {
    try {
      const { config, layers } = parseManifest(Uint8Array.from(bytes));
      if (!layers.some((layer) => isSignatureLayer(layer.mediaType))) continue;
      const contents = new Map<string, GatheredBlob>();
      for (const blob of [config, ...layers]) {
        if (contents.has(blob.digest.toString())) continue;
        budget.take(blob.size, "signature");
        const content = blob.digest.equals(empty) ? EMPTY_CONFIG : await attachments.blob(blob);
        contents.set(blob.digest.toString(), {
          mediaType: blob.mediaType,
          digest: blob.digest,
          size: blob.size,
          bytes: content,
        });
      }
      const manifest = { mediaType, digest, size: bytes.length, bytes };
      gathered.push({ manifest, contents: [...contents.values()] });
    } catch (error) {
      if (!(error instanceof ComposefsError)) throw error;
      warn(`signatures ${digest} are left out: ${error.message}`);
    }
  }
  const name = ({ manifest }: GatheredSignatures) => manifest.digest.toString();
  return gathered.sort((a, b) => (name(a) < name(b) ? -1 : 1));
}
