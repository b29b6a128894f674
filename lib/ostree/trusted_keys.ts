/** Where the keys come from that signatures are checked with (spec: ostree 9.2). */
import { FormatError, NotFoundError } from "../base/mod.ts";
import {
  decodeBase64,
  ED25519_KEY_SIZE,
  type GpgKeyFile,
  GpgKeyring,
  listKeyDirectory,
  readKeyFile,
} from "../signature/mod.ts";
import type { Remote } from "./remote.ts";
import {
  isSignType,
  parseSignKey,
  parseSignKeys,
  SIGN_TYPES,
  type SignKey,
  type SignKeys,
  type SignType,
} from "./sign_keys.ts";
import { NO_VERIFICATION, type VerifyPolicy } from "./verify_policy.ts";

/** First byte of a key in DER. */
const DER_SEQUENCE = 0x30;

/** The places outside of a repository where keys are. */
export interface TrustPlaces {
  /** Directories with `NAME.trustedkeys.gpg` of remotes. */
  readonly remoteKeyrings: readonly string[];
  /** Directory with GPG keys for remotes that have no keyring. */
  readonly globalKeyrings: string;
  /** Directories with `trusted.ed25519`, `revoked.ed25519.d/` and so on. */
  readonly signKeys: readonly string[];
}

/** The places that OSTree looks at. */
export const SYSTEM_TRUST: TrustPlaces = {
  remoteKeyrings: ["/etc/ostree/remotes.d"],
  globalKeyrings: "/usr/share/ostree/trusted.gpg.d",
  signKeys: ["/etc/ostree", "/usr/share/ostree"],
};

/** How the policy of a remote is made. */
export interface RemotePolicyOptions {
  /** The remote's own GPG keys, see {@linkcode RemoteStore.keyring}. */
  keyring?: Uint8Array | undefined;
  /** Where other keys are. @default SYSTEM_TRUST */
  places?: TrustPlaces;
}

/**
 * What a remote's options say must be signed, with the keys for it. Commits need a GPG signature
 * unless `gpg-verify` is off.
 *
 * @throws {FormatError} for options and keys that are malformed
 * @throws {NotFoundError} for a key file that an option names and that is not there
 */
export function remotePolicy(remote: Remote, options: RemotePolicyOptions = {}): VerifyPolicy {
  const places = options.places ?? SYSTEM_TRUST;
  const gpg = remote.flag("gpg-verify") ?? true;
  const gpgSummary = remote.flag("gpg-verify-summary") ?? false;
  const { signVerify: sign, signVerifySummary: signSummary } = remote;
  const needsKeys = sign !== "off" || signSummary !== "off";
  return {
    gpg,
    gpgSummary,
    sign,
    signSummary,
    keyring: gpg || gpgSummary
      ? new GpgKeyring(gpgFiles(remote, { own: options.keyring, places }))
      : undefined,
    signKeys: needsKeys ? remoteSignKeys(remote, places) : NO_VERIFICATION.signKeys,
  };
}

function gpgFiles(
  remote: Remote,
  from: { own: Uint8Array | undefined; places: TrustPlaces },
): GpgKeyFile[] {
  const { own, places } = from;
  const name = `${remote.name}.trustedkeys.gpg`;
  const files: GpgKeyFile[] = own === undefined ? [] : [{ name, bytes: own }];
  for (const dir of files.length > 0 ? [] : places.remoteKeyrings) {
    const bytes = readKeyFile(`${dir}/${name}`);
    if (bytes === undefined) continue;
    files.push({ name: `${dir}/${name}`, bytes });
    break;
  }
  const hasOwn = files.length > 0;
  for (const path of remote.list("gpgkeypath")) files.push(...gpgKeyFiles(path));
  if (!hasOwn) files.push(...globalKeyrings(places.globalKeyrings));
  return files;
}

function globalKeyrings(dir: string): GpgKeyFile[] {
  const skipped = new Set(["trustdb.gpg", "secring.gpg"]);
  return (listKeyDirectory(dir) ?? [])
    .filter((name) => name.endsWith(".gpg") && !skipped.has(name))
    .flatMap((name) => existing(`${dir}/${name}`));
}

/**
 * The GPG keys at a path: a file, or a directory of which every file is one.
 *
 * @throws {NotFoundError} when there is nothing
 */
export function gpgKeyFiles(path: string): GpgKeyFile[] {
  const names = listKeyDirectory(path);
  if (names !== undefined) return names.flatMap((name) => existing(`${path}/${name}`));
  return [{ name: path, bytes: required(path) }];
}

function existing(path: string): GpgKeyFile[] {
  const bytes = readKeyFile(path);
  return bytes === undefined ? [] : [{ name: path, bytes }];
}

function required(path: string): Uint8Array {
  const bytes = readKeyFile(path);
  if (bytes !== undefined) return bytes;
  throw new NotFoundError("key file", path, { message: `Key file not found: ${path}` });
}

function keysInFile(type: SignType, path: string): SignKey[] {
  try {
    return parseSignKeys(type, new TextDecoder().decode(required(path)));
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw new FormatError("public key", `${path}: ${cause.message}`, { cause });
  }
}

/** Keys of the files `PREFIX.TYPE` and `PREFIX.TYPE.d/*` of a directory. */
function keysInDirectory(dir: string, prefix: "trusted" | "revoked", type: SignType): SignKey[] {
  const file = `${dir}/${prefix}.${type}`;
  const below = (listKeyDirectory(`${file}.d`) ?? []).map((name) => `${file}.d/${name}`);
  return [file, ...below].filter((path) => readKeyFile(path) !== undefined)
    .flatMap((path) => keysInFile(type, path));
}

function revokedIn(dirs: readonly string[]): Set<string> {
  const keys = dirs.flatMap((dir) =>
    SIGN_TYPES.flatMap((type) => keysInDirectory(dir, "revoked", type))
  );
  return new Set(keys.map(({ id }) => id));
}

function remoteSignKeys(remote: Remote, places: TrustPlaces): SignKeys {
  const trusted = SIGN_TYPES.flatMap((type) => {
    const inline = remote.text(`verification-${type}-key`);
    const file = remote.text(`verification-${type}-file`);
    if (inline === undefined && file === undefined) {
      return places.signKeys.flatMap((dir) => keysInDirectory(dir, "trusted", type));
    }
    return [
      ...inline === undefined ? [] : [parseSignKey(type, inline)],
      ...file === undefined ? [] : keysInFile(type, file),
    ];
  });
  return { trusted, revoked: revokedIn(places.signKeys) };
}

/** Keys named by hand. */
export interface KeyArguments {
  /** Files with GPG keys, or directories of them. */
  gpgKeyrings?: readonly string[];
  /** `TYPE:KEY`, where KEY is in base64, or `inline:KEY`, or `file:PATH`, or a path. */
  signKeys?: readonly string[];
}

/**
 * The policy that keys named by hand mean: commits must be signed by one of them, of each sort that
 * is there. A path may be a directory with `trusted.TYPE`, `revoked.TYPE` and so on in it.
 *
 * @throws {FormatError} for keys that are malformed
 * @throws {NotFoundError} for files that are not there
 */
export function keyPolicy(args: KeyArguments): VerifyPolicy {
  const files = (args.gpgKeyrings ?? []).flatMap(gpgKeyFiles);
  const gpg = (args.gpgKeyrings ?? []).length > 0;
  const trusted: SignKey[] = [];
  const revoked = new Set<string>();
  const types = new Set<SignType>();
  for (const text of args.signKeys ?? []) {
    const keys = signKeyArgument(text);
    types.add(keys.type);
    trusted.push(...keys.trusted);
    for (const id of keys.revoked) revoked.add(id);
  }
  return {
    ...NO_VERIFICATION,
    gpg,
    keyring: gpg ? new GpgKeyring(files) : undefined,
    sign: types.size === 0 ? "off" : [...types],
    signKeys: { trusted, revoked },
  };
}

/** Whether a text is the key itself; a path may look like base64, but not like a key. */
function isKeyText(type: SignType, text: string): boolean {
  const bytes = decodeBase64(text);
  if (bytes === undefined) return false;
  return type === "ed25519" ? bytes.length === ED25519_KEY_SIZE : bytes[0] === DER_SEQUENCE;
}

function signKeyArgument(text: string): SignKeys & { type: SignType } {
  const colon = text.indexOf(":");
  const type = text.slice(0, colon);
  if (colon < 0 || !isSignType(type)) {
    const message = `Invalid key '${text.slice(0, 80)}': expected ${SIGN_TYPES.join(" or ")}:KEY`;
    throw new FormatError("public key", message);
  }
  const value = text.slice(colon + 1);
  const none = new Set<string>();
  const inline = value.startsWith("inline:") ? value.slice("inline:".length) : undefined;
  if (inline !== undefined) return { type, trusted: [parseSignKey(type, inline)], revoked: none };
  if (isKeyText(type, value)) return { type, trusted: [parseSignKey(type, value)], revoked: none };
  const path = value.startsWith("file:") ? value.slice("file:".length) : value;
  if (listKeyDirectory(path) === undefined) {
    return { type, trusted: keysInFile(type, path), revoked: none };
  }
  return {
    type,
    trusted: keysInDirectory(path, "trusted", type),
    revoked: revokedIn([path]),
  };
}
