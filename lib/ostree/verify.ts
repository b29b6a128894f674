/** Checking the signatures of commits, summaries and deltas (spec: ostree 9). */
import { FormatError, PolicyError, withContext } from "../base/mod.ts";
import { checksumOf } from "./checksum.ts";
import { type MetadataEntries, parseMetadata } from "./commit_object.ts";
import { GpgKeyring } from "../signature/mod.ts";
import {
  ED25519_SIGNATURE_SIZE,
  SIGN_TYPES,
  type SignKey,
  type SignKeys,
  type SignType,
} from "./sign_keys.ts";
import {
  type SignRequirement,
  verifiesCommits,
  verifiesSummary,
  type VerifyPolicy,
} from "./verify_policy.ts";

/** Key of the GPG signatures in detached metadata. */
export const GPG_SIGNATURES = "ostree.gpgsigs";

/** Most signatures of one kind that are looked at. */
const MAX_SIGNATURES = 64;

/** Keys that a message names at most. */
const MAX_NAMED = 3;

/** A valid signature by a trusted key. */
export interface ValidSignature {
  /** Its kind. */
  readonly type: "gpg" | SignType;
  /** Fingerprint of the GPG key in upper-case hex, or the key itself in hex. */
  readonly key: string;
  /** User id of the GPG key. */
  readonly userId?: string;
  /** When the GPG signature says it was made. */
  readonly created?: Date;
  /** Lines that describe it, as OSTree writes them. */
  readonly lines: readonly string[];
}

/** What a check found. */
export interface VerifyReport {
  /** The valid signatures; empty when the policy asks for none. */
  readonly valid: readonly ValidSignature[];
}

/** How to check. */
export interface VerifyOptions {
  /** What must be signed, and by whom. */
  readonly policy: VerifyPolicy;
  /** The time at which keys and signatures must be valid. @default now */
  readonly now?: Date;
}

const NOTHING: VerifyReport = { valid: [] };

/**
 * Checks the signatures of a commit.
 *
 * @param commit bytes of the commit object
 * @param detached bytes of its detached metadata, if it has any
 * @throws {PolicyError} naming the commit, the keys and why they do not count
 * @throws {FormatError} when the detached metadata is malformed, or a key is
 */
export async function verifyCommit(
  commit: Uint8Array,
  detached: Uint8Array | undefined,
  options: VerifyOptions,
): Promise<VerifyReport> {
  const { policy } = options;
  if (!verifiesCommits(policy)) return NOTHING;
  const subject = `Commit ${checksumOf(commit)}`;
  return await verifySigned(commit, readSignatures(detached, subject), {
    ...options,
    subject: `${subject}: `,
    gpg: policy.gpg,
    sign: policy.sign,
    missing: ["no signatures found", "verify"],
  });
}

/**
 * Checks the signatures of a summary, or of a summary index.
 *
 * @param summary its bytes
 * @param signature bytes of `summary.sig`, or `summary.idx.sig`, if there is one
 * @throws {PolicyError} naming the keys and why they do not count
 * @throws {FormatError} when the signature file is malformed, or a key is
 */
export async function verifySummary(
  summary: Uint8Array,
  signature: Uint8Array | undefined,
  options: VerifyOptions,
): Promise<VerifyReport> {
  const { policy } = options;
  if (!verifiesSummary(policy)) return NOTHING;
  const found = signature === undefined ? "no summary.sig found" : "no summary signatures found";
  return await verifySigned(summary, readSignatures(signature, "summary.sig"), {
    ...options,
    subject: signature === undefined ? "" : "summary: ",
    gpg: policy.gpgSummary,
    sign: policy.signSummary,
    missing: [found, "verify-summary"],
  });
}

/**
 * Checks the signatures in the wrapper of a static delta; only OSTree's own kinds are there.
 *
 * @param superblock bytes of the superblock
 * @param signatures the wrapper's dictionary, if there is a wrapper
 * @throws {PolicyError} naming the keys and why they do not count
 */
export async function verifyDelta(
  superblock: Uint8Array,
  signatures: MetadataEntries | undefined,
  options: VerifyOptions,
): Promise<VerifyReport> {
  const { policy } = options;
  if (policy.sign === "off") return NOTHING;
  return await verifySigned(superblock, signatures ?? [], {
    ...options,
    subject: "Delta: ",
    gpg: false,
    sign: policy.sign,
    missing: ["no signatures found", "verify"],
  });
}

function readSignatures(bytes: Uint8Array | undefined, subject: string): MetadataEntries {
  if (bytes === undefined) return [];
  try {
    return parseMetadata(bytes);
  } catch (cause) {
    throw withContext(`${subject}: malformed signatures`, cause);
  }
}

interface Asked extends VerifyOptions {
  readonly subject: string;
  readonly gpg: boolean;
  readonly sign: SignRequirement;
  /** What to say when there are no signatures, and the option that asked for them. */
  readonly missing: readonly [found: string, option: string];
}

async function verifySigned(
  data: Uint8Array,
  entries: MetadataEntries,
  asked: Asked,
): Promise<VerifyReport> {
  const valid: ValidSignature[] = [];
  if (asked.gpg) valid.push(...await verifyGpg(data, entries, asked));
  if (asked.sign !== "off") valid.push(...verifySign(data, entries, asked));
  return { valid };
}

async function verifyGpg(
  data: Uint8Array,
  entries: MetadataEntries,
  asked: Asked,
): Promise<ValidSignature[]> {
  const signatures = signaturesOf(entries, GPG_SIGNATURES, asked.subject);
  if (signatures.length === 0) throw missing("GPG", asked, "gpg-");
  const keyring = asked.policy.keyring ?? new GpgKeyring([]);
  const verdicts = await keyring.verify(data, signatures, {
    now: asked.now ?? new Date(),
  });
  const good = verdicts.filter(({ status }) => status === "good");
  if (good.length === 0) {
    const lines = verdicts.flatMap((verdict) => verdict.lines);
    throw new PolicyError(asked.subject + lines.join("\n"));
  }
  return good.map(({ fingerprint, userId, created, lines }) => ({
    type: "gpg",
    key: fingerprint ?? "",
    ...(userId === undefined ? {} : { userId }),
    ...(created === undefined ? {} : { created }),
    lines,
  }));
}

/** The kinds that count, each of which has keys. */
function wantedTypes(asked: Asked): readonly SignType[] {
  const { sign, subject } = asked;
  if (sign === "off") return [];
  const { trusted } = asked.policy.signKeys;
  const types = SIGN_TYPES.filter((type) => trusted.some((key) => key.type === type));
  if (sign === "any") {
    if (types.length > 0) return types;
    throw new PolicyError(`${subject}Signature verification enabled, but no public keys found`);
  }
  for (const type of sign) {
    if (types.includes(type)) continue;
    throw new PolicyError(`${subject}No keys found for required signapi type ${type}`);
  }
  return sign;
}

function verifySign(data: Uint8Array, entries: MetadataEntries, asked: Asked): ValidSignature[] {
  const valid: ValidSignature[] = [];
  const faults: string[] = [];
  let found = 0;
  for (const type of wantedTypes(asked)) {
    const signatures = signaturesOf(entries, `ostree.sign.${type}`, asked.subject);
    if (signatures.length === 0) continue;
    found += signatures.length;
    const keys = asked.policy.signKeys;
    const { key, fault } = tryKeys(data, signatures, { type, keys });
    if (key === undefined) faults.push(`${type}: ${fault}`);
    else {
      const line = `${type}: Signature verified successfully with key '${key.id}'`;
      valid.push({ type, key: key.id, lines: [line] });
    }
  }
  if (found === 0) throw missing("Signature", asked, "sign-");
  if (valid.length === 0) throw new PolicyError(asked.subject + faults.join("\n"));
  return valid;
}

/** The first trusted key that made one of the signatures, or why there is none. */
function tryKeys(
  data: Uint8Array,
  signatures: readonly Uint8Array[],
  options: { type: SignType; keys: SignKeys },
): { key?: SignKey; fault?: string } {
  const { type, keys } = options;
  const trusted = keys.trusted.filter((key) => key.type === type);
  let fault: string | undefined;
  for (const signature of signatures) {
    if (type === "ed25519" && signature.length !== ED25519_SIGNATURE_SIZE) {
      fault ??= `Invalid signature: Ill-formed input: expected ${ED25519_SIGNATURE_SIZE} bytes, ` +
        `got ${signature.length} bytes`;
      continue;
    }
    for (const key of trusted) {
      if (!key.verify(data, signature)) continue;
      if (!keys.revoked.has(key.id)) return { key };
      fault = `Signature by revoked key '${key.id}'`;
    }
  }
  return { fault: fault ?? `Signature couldn't be verified with: ${named(trusted)}` };
}

function named(keys: readonly SignKey[]): string {
  const shown = keys.slice(0, MAX_NAMED).map(({ id }) => `key '${id}'`).join("; ");
  return keys.length > MAX_NAMED ? `${shown}; tried ${keys.length} keys` : shown;
}

function signaturesOf(
  entries: MetadataEntries,
  key: string,
  subject: string,
): readonly Uint8Array[] {
  const found = entries.find(([name]) => name === key)?.[1];
  if (found === undefined) return [];
  if (found.type !== "aay") {
    const message = `${subject}${key} has type '${found.type.slice(0, 20)}', not 'aay'`;
    throw new FormatError("ostree signatures", message);
  }
  const signatures = found.value as readonly Uint8Array[];
  if (signatures.length > MAX_SIGNATURES) {
    throw new FormatError(
      "ostree signatures",
      `${subject}${signatures.length} signatures in ${key}, more than ${MAX_SIGNATURES}`,
    );
  }
  return signatures;
}

function missing(kind: "GPG" | "Signature", asked: Asked, prefix: string): PolicyError {
  const [found, option] = asked.missing;
  const what = kind === "GPG" ? "GPG verification" : "Signature verification";
  return new PolicyError(
    `${asked.subject}${what} enabled, but ${found} ` +
      `(use ${prefix}${option}=false in remote config to disable)`,
  );
}
