/** Sigstore signatures that are kept as images beside the image (spec: trust 8). */
import { ComposefsError, Digest, FormatError } from "../base/mod.ts";
import { BUNDLE_TYPE } from "./bundle.ts";
import { Faults } from "./faults.ts";
import { Fields } from "./fields.ts";
import { JsonError, jsonText, parseStrictJson } from "./json.ts";
import {
  COSIGN_PAYLOAD_TYPE,
  type FoundSignature,
  type FoundSignatures,
  joinSignatures,
  MAX_SIGNATURES,
  NO_SIGNATURES,
  SignatureBudget,
  type SignatureFault,
} from "./signature.ts";

/** A manifest beside an image. */
export interface AttachedManifest {
  /** Its verified bytes. */
  readonly bytes: Uint8Array;
  /** Its media type. */
  readonly mediaType: string;
  /** Its digest. */
  readonly digest: Digest;
}

/** An entry that refers to an image. */
export interface AttachedEntry {
  /** Type of artifact; empty when the entry does not say. */
  readonly artifactType: string;
  /** Digest of the manifest. */
  readonly digest: Digest;
  /** Size of the manifest in bytes. */
  readonly size: number;
  /** Media type of the manifest. */
  readonly mediaType: string;
}

/** Where attachments are: a repository of a registry, or a layout. */
export interface AttachmentSource {
  /** What it is called. */
  readonly name: string;
  /** The manifest with a tag; `undefined` when there is none. */
  tagged(tag: string): Promise<AttachedManifest | undefined>;
  /** What refers to a manifest. */
  referrers(subject: Digest): Promise<readonly AttachedEntry[]>;
  /** A manifest, verified. */
  manifest(entry: AttachedEntry): Promise<AttachedManifest>;
  /** A small blob, verified. */
  blob(descriptor: { readonly digest: Digest; readonly size: number }): Promise<Uint8Array>;
}

const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";

/** Type of artifact under which cosign 2 refers to images. */
const COSIGN_ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json";

/** Tag of an image's signatures. */
export function signatureTag(digest: Digest): string {
  return `${digest.algorithm}-${digest.encoded}.sig`;
}

/** The attachments of a manifest; what cannot be read is told, and counts for nothing. */
export async function findAttachments(
  source: AttachmentSource,
  digest: Digest,
): Promise<FoundSignatures> {
  const budget = new SignatureBudget();
  const tag = signatureTag(digest);
  const place = `${source.name} ${tag}`;
  const parts = [
    await attempt(place, async () => {
      const manifest = await source.tagged(tag);
      return manifest === undefined
        ? undefined
        : await readAttached(source, manifest, { place, budget, referrer: false });
    }),
  ];
  const listed = await attempt(`referrers of ${digest}`, async () => {
    const entries = (await source.referrers(digest))
      .filter(({ artifactType }) => isSignatureType(artifactType) || artifactType === "");
    const found: FoundSignatures[] = [];
    for (const entry of entries.slice(0, MAX_SIGNATURES)) {
      if (budget.spent) break;
      const at = `${source.name} ${entry.digest}`;
      found.push(
        await attempt(at, async () => {
          const manifest = await source.manifest(entry);
          return await readAttached(source, manifest, { place: at, budget, referrer: true });
        }),
      );
    }
    const rest = entries.length - MAX_SIGNATURES;
    if (rest > 0) {
      throw new FormatError(
        "signature",
        `${entries.length} referrers, more than ${MAX_SIGNATURES}`,
      );
    }
    return joinSignatures(found);
  });
  return joinSignatures([...parts, listed]);
}

function isSignatureType(artifactType: string): boolean {
  return artifactType === COSIGN_ARTIFACT || artifactType === BUNDLE_TYPE;
}

async function attempt(
  place: string,
  find: () => Promise<FoundSignatures | undefined>,
): Promise<FoundSignatures> {
  try {
    return await find() ?? NO_SIGNATURES;
  } catch (error) {
    if (!(error instanceof ComposefsError)) throw error;
    return { signatures: [], faults: [{ place, reason: error.message }], notes: [] };
  }
}

interface Layer {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly annotations: ReadonlyMap<string, string>;
}

/** The signatures that a manifest of signatures has as its layers. */
async function readAttached(
  source: AttachmentSource,
  manifest: AttachedManifest,
  options: { place: string; budget: SignatureBudget; referrer: boolean },
): Promise<FoundSignatures> {
  const { place, budget } = options;
  if (manifest.mediaType !== MANIFEST_TYPE) {
    const reason = `unexpected MIME type for attachment manifest: ${manifest.mediaType}`;
    throw new FormatError("signature manifest", reason);
  }
  const { layers, artifactType } = readManifest(manifest.bytes);
  const signs = layers.some(({ mediaType }) => mediaType === COSIGN_PAYLOAD_TYPE);
  // Cosign's first kind of signatures does not say what it is, except in its layers.
  if (options.referrer && !isSignatureType(artifactType) && !signs) return NO_SIGNATURES;
  const signatures: FoundSignature[] = [];
  const faults: SignatureFault[] = [];
  for (const [i, layer] of layers.entries()) {
    const at = layers.length === 1 ? place : `${place} layer ${i + 1}`;
    const { mediaType, annotations } = layer;
    try {
      if (mediaType === BUNDLE_TYPE) {
        signatures.push({
          kind: "bundle",
          place: at,
          bytes: await readBlob(source, layer, budget),
        });
      } else {
        // Of other attachments only that they are there is of interest.
        const isSignature = mediaType === COSIGN_PAYLOAD_TYPE;
        const payload = isSignature ? await readBlob(source, layer, budget) : new Uint8Array(0);
        signatures.push({ kind: "sigstore", place: at, mediaType, payload, annotations });
      }
    } catch (error) {
      if (!(error instanceof ComposefsError)) throw error;
      faults.push({ place: at, reason: error.message });
      if (budget.spent) break;
    }
  }
  return { signatures, faults, notes: [] };
}

async function readBlob(
  source: AttachmentSource,
  layer: Layer,
  budget: SignatureBudget,
): Promise<Uint8Array> {
  budget.take(layer.size, layer.digest.toString());
  return await source.blob(layer);
}

/** Reads what is needed of a manifest; what else is in it is not looked at. */
function readManifest(bytes: Uint8Array): { layers: Layer[]; artifactType: string } {
  const what = "signature manifest";
  try {
    const text = jsonText(bytes, what);
    const faults = new Faults(text);
    const root = Fields.of(parseStrictJson(text, what), "", faults);
    const list = root?.node("layers");
    const elements = list?.kind === "array" ? list.elements : [];
    if (elements.length > MAX_SIGNATURES) {
      throw new FormatError(what, `${elements.length} layers, more than ${MAX_SIGNATURES}`);
    }
    const layers = elements.map((element, i) => {
      const fields = Fields.of(element, `layers[${i}]`, faults);
      return fields === undefined ? undefined : readLayer(fields, faults);
    });
    const artifactType = root?.string("artifactType") ?? "";
    const [fault] = faults.found;
    if (fault !== undefined) throw new FormatError(what, `${fault.reason} (${fault.path})`);
    return { layers: layers.filter((layer) => layer !== undefined), artifactType };
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new FormatError(what, `${what}: ${error.message}`);
  }
}

function readLayer(fields: Fields, faults: Faults): Layer {
  const size = fields.node("size");
  const annotations = new Map<string, string>();
  const node = fields.node("annotations");
  const named = node === undefined || node.kind === "null"
    ? undefined
    : Fields.of(node, fields.pathOf("annotations"), faults);
  for (const { key } of named?.entries() ?? []) annotations.set(key, named!.string(key) ?? "");
  const isSize = size?.kind === "number" && /^[0-9]{1,15}$/.test(size.text);
  if (!isSize) fields.fault("size expected", "size");
  return {
    mediaType: fields.required("mediaType") ?? "",
    digest: Digest.parse(fields.required("digest") ?? ""),
    size: isSize ? Number(size.text) : 0,
    annotations,
  };
}
