/** Sigstore attachments in a registry (spec: trust 8). */
import { RegistryError, type RemoteRepository } from "../registry/mod.ts";
import type { AttachmentSource } from "./attachments.ts";

/** The attachments in the repository from which an image comes. */
export function registryAttachments(repository: RemoteRepository): AttachmentSource {
  return {
    name: repository.physical.name,
    async tagged(tag) {
      try {
        return await repository.manifest(tag);
      } catch (error) {
        if (error instanceof RegistryError && error.status === 404) return undefined;
        throw error;
      }
    },
    referrers: (subject) => repository.referrers(subject),
    manifest: (entry) => repository.manifest(entry.digest),
    blob: (descriptor) => repository.blobBytes(descriptor),
  };
}
