/** Manifests and indexes as registries give them (spec: oci 6). */
import { Digest, DigestMismatchError, FormatError, nodeHash } from "../base/mod.ts";
import type { HttpAnswer } from "../http/mod.ts";
import { isRecord, parseJson } from "./json.ts";

/** Largest manifest or index, in bytes. */
export const MAX_MANIFEST = 4 * 1024 * 1024;
/** Media type of an index. */
export const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";
/** What is asked for: all kinds of manifests and indexes. */
export const ACCEPT: string = [
  INDEX_TYPE,
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

/** A manifest or index as the registry has it. */
export interface RemoteManifest {
  /** Its bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Its media type: what it says itself, else what the registry says. */
  readonly mediaType: string;
  /** Digest of the bytes: the one asked for, or sha256. */
  readonly digest: Digest;
}

/** What a registry says of a manifest without giving it. */
export interface ManifestHead {
  /** Media type. */
  readonly mediaType: string;
  /** Digest, when the registry says it. */
  readonly digest: Digest | undefined;
  /** Size in bytes, when the registry says it. */
  readonly size: number | undefined;
}

/** A manifest that a registry took. */
export interface StoredManifest {
  /** Its digest. */
  readonly digest: Digest;
  /** Whether the registry lists it as referring to its subject. */
  readonly listed: boolean;
}

/** Media type of an answer, without parameters, in lower case; empty when there is none. */
export function plainType(headers: Headers): string {
  return (headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
}

/** Digest that an answer says it has; `undefined` when it says none that can be read. */
export function announcedDigest(headers: Headers): Digest | undefined {
  const text = headers.get("docker-content-digest");
  if (text === null) return undefined;
  try {
    return Digest.parse(text);
  } catch (error) {
    // A registry's word that nobody can read says nothing.
    if (!(error instanceof FormatError)) throw error;
    return undefined;
  }
}

/**
 * Takes a manifest out of an answer.
 *
 * @param asked digest that it must have
 * @throws {DigestMismatchError} when it is another one than was asked for or announced
 */
export function checkManifest(answer: HttpAnswer, asked: Digest | undefined): RemoteManifest {
  const { bytes, headers } = answer;
  const announced = announcedDigest(headers);
  if (announced !== undefined && isCheckable(announced)) verify(bytes, announced, "manifest");
  if (asked !== undefined) verify(bytes, asked, "manifest");
  const document = parseJson(new TextDecoder().decode(bytes));
  const said = isRecord(document) ? document["mediaType"] : undefined;
  return {
    bytes,
    mediaType: typeof said === "string" ? said : plainType(headers),
    digest: asked ?? Digest.sha256(hashOf("sha256", bytes)),
  };
}

/** Whether content can be checked against a digest. */
export function isCheckable({ algorithm }: Digest): boolean {
  return algorithm === "sha256" || algorithm === "sha512";
}

/**
 * Checks content against its digest.
 *
 * @throws {DigestMismatchError} when it is other content
 * @throws {FormatError} when the algorithm is unknown
 */
export function verify(bytes: Uint8Array, digest: Digest, what: string): void {
  const { algorithm, encoded } = digest;
  if (algorithm !== "sha256" && algorithm !== "sha512") {
    throw new FormatError("digest", `Cannot check content against ${digest}: unknown algorithm`);
  }
  const actual = hashOf(algorithm, bytes).toHex();
  if (actual !== encoded) {
    throw new DigestMismatchError(what, digest.toString(), `${algorithm}:${actual}`);
  }
}

/** Digest of bytes, raw. */
export function hashOf(algorithm: "sha256" | "sha512", bytes: Uint8Array): Uint8Array {
  const hash = nodeHash.stream(algorithm);
  hash.update(bytes);
  return hash.digest();
}
