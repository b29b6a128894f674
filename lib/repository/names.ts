/** Names in a repository: reference names, their encoding, temporary names. */
import { type ByteString, InvalidNameError, utf8ByteString } from "../base/mod.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** Twelve random alphanumerics for a temporary name. */
export function randomName(): string {
  // 256 is no multiple of 62; the slight bias does no harm to a name that only has to be free.
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => ALPHABET[b % 62]).join("");
}

const MAX_COMPONENT = 255;
/** Prefixes that only temporary files have. */
const RESERVED = [".symlink-", ".tmp-object-"];

/**
 * Checks a reference name: components separated by single slashes, none of them empty, `.`, `..`,
 * longer than 255 bytes or with control characters (spec: repository 14.2).
 *
 * @throws {InvalidNameError} naming the fault
 */
export function checkRefName(name: string): void {
  const fault = refNameFault(name);
  if (fault !== undefined) {
    throw new InvalidNameError(`Invalid ref name ${JSON.stringify(name)}: ${fault}`);
  }
}

function refNameFault(name: string): string | undefined {
  if (name === "") return "empty name";
  if (!name.isWellFormed()) return "not Unicode text";
  if (name.startsWith("/") || name.endsWith("/")) return "leading or trailing '/'";
  for (const component of name.split("/")) {
    if (component === "") return "empty component";
    if (component === "." || component === "..") return `component '${component}' is not allowed`;
    if (utf8ByteString(component).length > MAX_COMPONENT) {
      return `component of more than ${MAX_COMPONENT} bytes`;
    }
    // deno-lint-ignore no-control-regex -- control characters are what is looked for
    if (/[\x00-\x1f\x7f]/.test(component)) return "control character";
    if (RESERVED.some((prefix) => component.startsWith(prefix))) {
      return "the name of a temporary file";
    }
  }
  return undefined;
}

/**
 * Checks the name of an entry of `images/` or `streams/`: one component, and not `refs`.
 *
 * @throws {InvalidNameError} naming the fault
 */
export function checkEntryName(name: string): void {
  checkRefName(name);
  if (name.includes("/") || name === "refs") {
    throw new InvalidNameError(`Invalid entry name ${JSON.stringify(name)}`);
  }
}

/** Encodes a tag or name into one path component: `%` and `/` only (spec: repository 2.3). */
export function encodeRefComponent(name: string): string {
  return name.replaceAll("%", "%25").replaceAll("/", "%2F");
}

/** Undoes {@linkcode encodeRefComponent} in one pass; other `%xx` stay as they are. */
export function decodeRefComponent(encoded: string): string {
  return encoded.replace(/%2F|%25/g, (code) => code === "%2F" ? "/" : "%");
}

/** A link or entry name as read from disk, as text; lossless for names that are UTF-8. */
export function nameText(bytes: ByteString): string {
  return new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0)));
}
