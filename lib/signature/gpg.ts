/** Keyrings, and OpenPGP signatures by their keys (spec: ostree 9, trust 6). */
import { FormatError, toByteString } from "../base/mod.ts";
import { checkPacket, type GpgVerdict, malformed } from "./gpg_check.ts";
import { readGpgMessage } from "./gpg_message.ts";
import { loadOpenPgp, type OpenPgp } from "./openpgp.ts";

/** How signatures are checked. */
export interface GpgVerifyOptions {
  /** The time at which keys and signatures must be valid. @default now */
  now?: Date;
}

/** Most bytes of one signature; real ones have below 2000. */
const MAX_SIGNATURE_SIZE = 64 * 1024;

const KEYBOX_MAGIC = "KBXf";
const KEYBOX_MAGIC_AT = 8;

/** Keys to check signatures with; presence in the keyring is trust. */
export class GpgKeyring {
  readonly #sources: readonly GpgKeyFile[];
  #keys: OpenPgp.Key[] | undefined;

  /**
   * A keyring of the keys in these files; they are parsed when first needed.
   *
   * @param sources binary keys, or armored ones, in any number each
   */
  constructor(sources: readonly GpgKeyFile[]) {
    this.#sources = sources;
  }

  /**
   * Fingerprints of the primary keys, upper-case hex.
   *
   * @throws {FormatError} when a file has no keys in it
   */
  async fingerprints(): Promise<string[]> {
    return (await this.#load()).map((key) => key.getFingerprint().toUpperCase());
  }

  /**
   * The keys in one binary file, without secret parts.
   *
   * @throws {FormatError} when a file has no keys in it
   */
  async toBytes(): Promise<Uint8Array<ArrayBuffer>> {
    const parts = (await this.#load()).map((key) => key.toPublic().write());
    const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  /**
   * Checks detached signatures.
   *
   * @param signatures binary signatures, each of one or several packets
   * @returns one verdict for each packet
   * @throws {FormatError} when a file of the keyring has no keys in it
   */
  async verify(
    data: Uint8Array,
    signatures: readonly Uint8Array[],
    options: GpgVerifyOptions = {},
  ): Promise<GpgVerdict[]> {
    const openpgp = await loadOpenPgp();
    const keys = await this.#load();
    const now = options.now ?? new Date();
    const out: GpgVerdict[] = [];
    for (const bytes of signatures) {
      const packets = await readPackets(openpgp, bytes);
      if (packets === undefined) out.push(malformed());
      for (const packet of packets ?? []) {
        out.push(await checkPacket({ openpgp, data, keys, now }, packet));
      }
    }
    return out;
  }

  /**
   * Checks a signed message: one-pass signature, content, signature; maybe packed. One with several
   * signatures is not checked at all: it counts for nothing, and could take very long.
   *
   * @param bytes the message, binary
   * @returns the content, the number of signatures on it, and the verdict when it is one; the content
   * is only to be believed when that is good
   * @throws {FormatError} when it is no such message, or a file of the keyring has no keys in it
   */
  async verifyMessage(
    bytes: Uint8Array,
    options: GpgVerifyOptions = {},
  ): Promise<{ content: Uint8Array; count: number; verdict: GpgVerdict | undefined }> {
    const openpgp = await loadOpenPgp();
    const keys = await this.#load();
    const now = options.now ?? new Date();
    const { content, signatures } = await readGpgMessage(openpgp, bytes);
    const [packet] = signatures;
    const count = signatures.length;
    const verdict = packet === undefined || count > 1
      ? undefined
      : await checkPacket({ openpgp, data: content, keys, now }, packet);
    return { content, count, verdict };
  }

  async #load(): Promise<OpenPgp.Key[]> {
    if (this.#keys !== undefined) return this.#keys;
    const openpgp = await loadOpenPgp();
    const keys = new Map<string, OpenPgp.Key>();
    for (const source of this.#sources) {
      for (const key of await readKeyFile(openpgp, source)) {
        const fingerprint = key.getFingerprint();
        const other = keys.get(fingerprint);
        keys.set(fingerprint, other === undefined ? key : await merged(other, key));
      }
    }
    return this.#keys = [...keys.values()];
  }
}

/**
 * What two copies of a key say together, as when both are imported: what one of them revokes is
 * revoked, and the younger of what they say about its life counts.
 */
async function merged(key: OpenPgp.Key, other: OpenPgp.Key): Promise<OpenPgp.Key> {
  // Whatever the time: what counts when is asked later.
  const always = null as unknown as Date;
  try {
    return await key.toPublic().update(other.toPublic(), always);
  } catch (cause) {
    // The library throws errors of any kind for packets it cannot take.
    const id = key.getFingerprint().toUpperCase();
    throw new FormatError("openpgp key", `Two copies of key ${id} cannot be joined`, { cause });
  }
}

/** A file with keys. */
export interface GpgKeyFile {
  /** Where it is from, for errors. */
  readonly name: string;
  /** Its content. */
  readonly bytes: Uint8Array;
}

async function readKeyFile(openpgp: typeof OpenPgp, file: GpgKeyFile): Promise<OpenPgp.Key[]> {
  const { bytes, name } = file;
  if (bytes.length === 0) return [];
  const head = toByteString(bytes.subarray(0, 12));
  if (head.slice(KEYBOX_MAGIC_AT) === KEYBOX_MAGIC) {
    throw new FormatError("openpgp key", `${name} is a keybox and no file of exported keys`);
  }
  try {
    if ((bytes[0]! & 0x80) !== 0) return await openpgp.readKeys({ binaryKeys: bytes });
    const keys: OpenPgp.Key[] = [];
    const blocks = toByteString(bytes).split(/(?=^-----BEGIN PGP )/m)
      .filter((text) => text.startsWith("-----BEGIN PGP "));
    for (const armoredKeys of blocks) keys.push(...await openpgp.readKeys({ armoredKeys }));
    if (keys.length > 0) return keys;
  } catch (cause) {
    // The library throws errors of any kind for bytes it cannot parse.
    throw new FormatError("openpgp key", `Invalid OpenPGP keys in ${name}`, { cause });
  }
  throw new FormatError("openpgp key", `No OpenPGP keys in ${name}`);
}

/** The signature packets; `undefined` when there are none to be read. */
async function readPackets(
  openpgp: typeof OpenPgp,
  bytes: Uint8Array,
): Promise<OpenPgp.SignaturePacket[] | undefined> {
  if (bytes.length === 0 || bytes.length > MAX_SIGNATURE_SIZE) return undefined;
  try {
    const { packets } = await openpgp.readSignature({ binarySignature: bytes });
    const found = [...packets].filter((packet) => packet instanceof openpgp.SignaturePacket);
    return found.length === 0 ? undefined : found as OpenPgp.SignaturePacket[];
  } catch {
    // The library throws errors of any kind for bytes it cannot parse: no signature in any case.
    return undefined;
  }
}
