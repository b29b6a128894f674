/** Signatures that lie in a layout or archive beside the image (spec: trust 10). */
import type { Digest } from "../base/mod.ts";
import type { AttachedEntry, AttachedManifest, AttachmentSource } from "../trust/mod.ts";
import { readDocument } from "./blob.ts";
import { type Descriptor, parseIndex, parseManifest } from "./documents.ts";
import type { LayoutStore } from "./layout.ts";
import { isIndexType, isManifestType, REF_NAME_ANNOTATION } from "./media_types.ts";

/** Most manifests that are read to see what they refer to. */
const MAX_READ = 1000;

/** The attachments in a layout: by the names of entries, and by what manifests refer to. */
export function layoutAttachments(store: LayoutStore): AttachmentSource {
  const named = (name: string) =>
    parseIndex(store.index).manifests.find((entry) =>
      entry.annotations?.[REF_NAME_ANNOTATION] === name
    );
  const read = (entry: Descriptor): AttachedManifest => ({
    bytes: readDocument(store, entry, "signature manifest"),
    mediaType: entry.mediaType,
    digest: entry.digest,
  });
  return {
    name: store.name,
    // deno-lint-ignore require-await -- what goes wrong comes as a rejection
    async tagged(tag) {
      const entry = named(tag);
      return entry === undefined ? undefined : read(entry);
    },
    // deno-lint-ignore require-await -- what goes wrong comes as a rejection
    async referrers(subject) {
      const listed = named(`${subject.algorithm}-${subject.encoded}`);
      const entries = new Map<string, AttachedEntry>();
      if (listed !== undefined && isIndexType(listed.mediaType)) {
        for (const entry of parseIndex(read(listed).bytes).manifests) {
          entries.set(entry.digest.toString(), attached(entry));
        }
      }
      for (const entry of referringEntries(store, subject)) {
        entries.set(entry.digest.toString(), entry);
      }
      return [...entries.values()];
    },
    // deno-lint-ignore require-await -- what goes wrong comes as a rejection
    async manifest(entry) {
      return read(entry);
    },
    // deno-lint-ignore require-await -- what goes wrong comes as a rejection
    async blob(descriptor) {
      return readDocument(store, { mediaType: "", ...descriptor }, "signature");
    },
  };
}

function* referringEntries(store: LayoutStore, subject: Digest): Generator<AttachedEntry> {
  let count = 0;
  for (const entry of parseIndex(store.index).manifests) {
    if (!isManifestType(entry.mediaType)) continue;
    if (++count > MAX_READ) return;
    const manifest = parseManifest(readDocument(store, entry, "image manifest"));
    if (manifest.subject?.digest.equals(subject) !== true) continue;
    yield { ...attached(entry), artifactType: manifest.artifactType ?? entry.artifactType ?? "" };
  }
}

function attached(entry: Descriptor): AttachedEntry {
  const { digest, size, mediaType, artifactType } = entry;
  return { digest, size, mediaType, artifactType: artifactType ?? "" };
}
