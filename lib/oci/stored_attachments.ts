/** Signatures that are stored beside a stored image, as artifacts (spec: trust 10). */
import { type Digest, FormatError, NotFoundError } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import type { AttachedEntry, AttachmentSource } from "../trust/mod.ts";
import { checkDocumentSize, MANIFEST_TYPE, verifyBytes } from "../transport/mod.ts";
import { listReferrers, openManifest } from "./image.ts";
import { configStream, layerStream } from "./tags.ts";

/** The attachments of images in a repository. */
export function storedAttachments(repository: Repository): AttachmentSource {
  const manifestOf = (digest: Digest) => {
    const image = openManifest(repository, digest);
    const mediaType = image.manifest.mediaType ?? MANIFEST_TYPE;
    return { bytes: image.manifestStream.bytes, mediaType, digest, manifest: image.manifest };
  };
  return {
    name: "the repository",
    // Here they have no tags: all of them are referrers.
    tagged: () => Promise.resolve(undefined),
    // deno-lint-ignore require-await -- what goes wrong comes as a rejection
    async referrers(subject) {
      return listReferrers(repository, subject).map((digest): AttachedEntry => {
        const { manifest, mediaType, bytes } = manifestOf(digest);
        // Cosign's first kind does not say what it is; its layers do.
        const artifactType = manifest.artifactType ?? "";
        return { artifactType, digest, size: bytes.length, mediaType };
      });
    },
    // deno-lint-ignore require-await -- what goes wrong comes as a rejection
    async manifest(entry) {
      return manifestOf(entry.digest);
    },
    // deno-lint-ignore require-await -- what goes wrong comes as a rejection
    async blob({ digest, size }) {
      checkDocumentSize({ digest, size, mediaType: "" }, "signature");
      const name = [layerStream(digest), configStream(digest)]
        .find((each) => repository.streamObject(each) !== undefined);
      if (name === undefined) throw new NotFoundError("blob", digest.toString());
      const stream = repository.openStream(name);
      const bytes = new Uint8Array(size);
      let at = 0;
      for (const piece of repository.streamContent(stream)) {
        if (piece.length > size - at) throw new FormatError("blob", `Blob ${digest} is too long`);
        bytes.set(piece, at);
        at += piece.length;
      }
      verifyBytes(bytes.subarray(0, at), digest, "signature");
      return bytes.subarray(0, at);
    },
  };
}
