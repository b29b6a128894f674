/** Reading what {@linkcode trustBundle} writes, without believing any of it (spec: trust 11). */
import { Digest, FormatError, NotFoundError } from "../base/mod.ts";
import type { Fd } from "../../ffi/mod.ts";
import type { TarMember } from "../tar/mod.ts";
import type { FoundSignature, FoundSignatures, SignatureFault } from "../trust/mod.ts";
import {
  indexMembers,
  type LayoutStore,
  MAX_DOCUMENT_SIZE,
  openArchive,
  openTar,
  parseIndex,
  parseManifest,
  readDocument,
  readRange,
  verifyBytes,
} from "../transport/mod.ts";

/** Most simple signatures that are read. */
const MAX_SIGNATURES = 128;

/** A file with documents and signatures of an image; disposing of it closes it. */
export interface TrustBundle extends Disposable {
  /** Digest of the manifest, which was checked. */
  readonly digest: Digest;
  /** The manifest. */
  readonly manifest: Uint8Array<ArrayBuffer>;
  /** Digest of the config, which was checked. */
  readonly config: Digest;
  /** Sigstore signatures are here. */
  readonly store: LayoutStore;
  /** The simple signatures. */
  readonly simple: FoundSignatures;
}

/**
 * Opens such a file.
 *
 * @throws {FormatError} when it is none
 * @throws {NotFoundError} when a document of the image is not in it
 * @throws {DigestMismatchError} when one is not what it is said to be
 */
export async function openTrustBundle(path: string): Promise<TrustBundle> {
  const { parseSignatureBlob } = await import("../trust/mod.ts");
  using fd = await openTar(path, "trust bundle");
  const members = indexMembers(fd);
  const digest = imageDigest(readMember(fd, members, "trust.json"));
  const store = await openArchive(path);
  try {
    const { manifests } = parseIndex(store.index);
    let manifest: Uint8Array<ArrayBuffer> | undefined;
    for (const entry of manifests) {
      if (!entry.digest.equals(digest)) continue;
      manifest = readDocument(store, entry, "manifest");
    }
    if (manifest === undefined) {
      throw new NotFoundError("manifest", digest.toString(), {
        message: `Manifest ${digest} is not in ${path}`,
      });
    }
    verifyBytes(manifest, digest, "manifest");
    const { config } = parseManifest(manifest);
    readDocument(store, config, "config");
    const signatures: FoundSignature[] = [];
    const faults: SignatureFault[] = [];
    for (let n = 1; n <= MAX_SIGNATURES; n++) {
      const name = `signatures/${digest.algorithm}=${digest.encoded}/signature-${n}`;
      if (!members.has(name)) break;
      const place = `${path} ${name}`;
      try {
        signatures.push(parseSignatureBlob(readMember(fd, members, name), place));
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        faults.push({ place, reason: error.message });
      }
    }
    return {
      digest,
      manifest,
      config: config.digest,
      store,
      simple: { signatures, faults, notes: [] },
      [Symbol.dispose]: () => store[Symbol.dispose](),
    };
  } catch (error) {
    store[Symbol.dispose]();
    throw error;
  }
}

function readMember(
  fd: Fd,
  members: ReadonlyMap<string, TarMember>,
  name: string,
): Uint8Array<ArrayBuffer> {
  const member = members.get(name);
  if (member === undefined) throw new FormatError("trust bundle", `Trust bundle without ${name}`);
  if (member.size > MAX_DOCUMENT_SIZE) {
    throw new FormatError("trust bundle", `${name} has ${member.size} bytes`);
  }
  return readRange({ fd, offset: member.offset, size: member.size }, name);
}

/** Which image it is about; everything else in the file is a hint that is not needed. */
function imageDigest(bytes: Uint8Array): Digest {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FormatError("trust bundle", "trust.json is no JSON", { cause });
  }
  const { version, manifest } = (value ?? {}) as { version?: unknown; manifest?: unknown };
  if (version !== 1 || typeof manifest !== "string") {
    throw new FormatError("trust bundle", "trust.json is of another version or names no manifest");
  }
  return Digest.parse(manifest);
}
