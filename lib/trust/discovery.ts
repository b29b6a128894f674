/** Looking for the signatures that a policy asks for, and for no others (spec: trust 6 to 10). */
import type { Digest } from "../base/mod.ts";
import { type AttachmentSource, findAttachments } from "./attachments.ts";
import type { DockerName } from "./docker_name.ts";
import { findInDirectory, findLookaside } from "./lookaside.ts";
import type { Requirement } from "./policy.ts";
import type { RegistriesD } from "./registries_d.ts";
import { type FoundSignatures, joinSignatures, NO_SIGNATURES } from "./signature.ts";

/** Where signatures of an image can be. */
export interface SignaturePlaces {
  /** Name in its registry, after mirrors and other locations. */
  readonly physicalName?: DockerName | undefined;
  /** What `registries.d` says; read when it is needed. */
  readonly registries?: (() => Promise<RegistriesD>) | undefined;
  /** Images beside the image. */
  readonly attachments?: AttachmentSource | undefined;
  /** Images that were stored with the image; `registries.d` has no say in them. */
  readonly stored?: AttachmentSource | undefined;
  /** Directory of a `dir:` image. */
  readonly directory?: string | undefined;
  /** Signatures that are known already. */
  readonly known?: FoundSignatures | undefined;
  /** A directory with signatures, named by hand. */
  readonly lookaside?: string | undefined;
}

/** How to look. */
export interface DiscoveryOptions {
  /** Whether the manifest is one of an index that the source means. @default false */
  readonly instance?: boolean | undefined;
  /**
   * Whether attachments in registries are looked at when a demand needs them and nothing forbids
   * it, or only where `registries.d` says so, as in the reference. @default "wanted"
   */
  readonly attachments?: "wanted" | "configured" | undefined;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** Whether the demands ask for any signature. */
export function needsSignatures(requirements: readonly Requirement[]): boolean {
  return requirements.some(({ type }) => type === "signedBy" || type === "sigstoreSigned");
}

/** Finds the signatures of a manifest that could meet demands. */
export async function findSignatures(
  digest: Digest,
  subject: { readonly requirements: readonly Requirement[]; readonly places: SignaturePlaces },
  options: DiscoveryOptions = {},
): Promise<FoundSignatures> {
  const { requirements, places } = subject;
  if (!needsSignatures(requirements)) return NO_SIGNATURES;
  const needsSigstore = requirements.some(({ type }) => type === "sigstoreSigned");
  const { physicalName, attachments, directory, lookaside } = places;
  const parts: FoundSignatures[] = places.known === undefined ? [] : [places.known];
  if (lookaside !== undefined) parts.push(await findInDirectory(lookaside));
  if (directory !== undefined) {
    parts.push(await findInDirectory(directory, options.instance ? digest : undefined));
  }
  let allowed: boolean | undefined = true;
  if (physicalName !== undefined && places.registries !== undefined) {
    const storage = (await places.registries()).storageFor(physicalName);
    const { path } = physicalName;
    const { signal } = options;
    parts.push(await findLookaside(storage.lookaside, { path, digest, signal }));
    allowed = storage.attachments;
    if (allowed === undefined && options.attachments !== "configured") allowed = true;
  }
  if (places.stored !== undefined && needsSigstore) {
    parts.push(await findAttachments(places.stored, digest));
  }
  if (attachments !== undefined && needsSigstore) {
    if (allowed) parts.push(await findAttachments(attachments, digest));
    else {
      const note = "sigstore attachments were not looked at: " +
        "use-sigstore-attachments is not set in registries.d";
      parts.push({ ...NO_SIGNATURES, notes: [note] });
    }
  }
  return joinSignatures(parts);
}
