/** Credentials in files and helper programs (containers-auth.json(5); spec: oci 6). */
import { ComposefsError, FormatError } from "../base/mod.ts";
import type { Credentials } from "./auth.ts";
import { isRecord, parseJson, textField } from "./json.ts";
import { DEFAULT_DOMAIN } from "./reference.ts";
import { configHomeOf, homeOf, readOptional, type Surroundings } from "./surroundings.ts";

const MAX_FILE = 4 * 1024 * 1024;
const FORMAT = "auth.json";
/** Names under which Docker keeps credentials of the default registry. */
const DEFAULT_KEYS: readonly string[] = ["index.docker.io", "registry-1.docker.io"];
/** What a helper gives as user when its secret is an identity token. */
const TOKEN_USER = "<token>";
/** Milliseconds that a helper program may take; it may have to ask somebody. */
const HELPER_TIME = 120_000;

/** Where credentials are looked for. */
export interface AuthSearch {
  /** The only file, when it is named. */
  readonly authFile?: string | undefined;
  /** Whether files of the system, which bootc uses, count, too. */
  readonly systemAuth?: boolean | undefined;
  /** The user and the machine. */
  readonly surroundings: Surroundings;
}

/** A file with credentials. */
export interface AuthFile {
  /** Its path, for messages. */
  readonly path: string;
  /** Credentials by registry or name. */
  readonly auths: ReadonlyMap<string, Record<string, unknown>>;
  /** Helpers by registry or name. */
  readonly helpers: ReadonlyMap<string, string>;
  /** Helper for what has no other. */
  readonly store: string | undefined;
}

/**
 * Finds the credentials for a repository: the first file that has some.
 *
 * @param name host and path of the repository
 * @throws {FormatError} when a file cannot be understood
 * @throws {ComposefsError} when the named file is not there, or a helper fails
 */
export async function findCredentials(
  name: string,
  search: AuthSearch,
): Promise<Credentials | undefined> {
  const { authFile, surroundings } = search;
  const named = authFile ?? surroundings.variable("REGISTRY_AUTH_FILE");
  const paths = named === undefined ? usualFiles(search) : [named];
  for (const path of paths) {
    const text = readOptional(path);
    if (text === undefined) {
      if (path === named) throw new ComposefsError("CFS_NOT_FOUND", `No credentials in ${path}`);
      continue;
    }
    const file = parseAuthFile(text, path);
    const found = await credentialsOf(file, name);
    if (found !== undefined) return found;
  }
  return undefined;
}

function usualFiles({ systemAuth, surroundings }: AuthSearch): string[] {
  const { root, uid } = surroundings;
  const runtime = surroundings.variable("XDG_RUNTIME_DIR");
  const paths = [
    runtime === undefined
      ? `${root}/run/containers/${uid}/auth.json`
      : `${runtime}/containers/auth.json`,
  ];
  if (systemAuth) paths.push(`${root}/run/ostree/auth.json`, `${root}/etc/ostree/auth.json`);
  const config = configHomeOf(surroundings);
  if (config !== undefined) paths.push(`${config}/containers/auth.json`);
  const home = homeOf(surroundings);
  const docker = surroundings.variable("DOCKER_CONFIG") ??
    (home === undefined ? undefined : `${home}/.docker`);
  if (docker !== undefined) paths.push(`${docker}/config.json`);
  if (home !== undefined) paths.push(`${home}/.dockercfg`);
  return paths;
}

/**
 * Parses a file with credentials, of either format: with `auths`, or Docker's first one without.
 *
 * @param path its path, for messages
 * @throws {FormatError} naming the file, never its content
 */
export function parseAuthFile(text: string, path: string): AuthFile {
  if (text.length > MAX_FILE) throw fault(path, `more than ${MAX_FILE} bytes`);
  const document = text.trim() === "" ? {} : parseJson(text);
  if (!isRecord(document)) throw fault(path, "not a JSON object");
  const older = path.endsWith("/.dockercfg");
  const auths = older ? document : document["auths"] ?? {};
  const helpers = older ? {} : document["credHelpers"] ?? {};
  const store = older ? undefined : textField(document, "credsStore");
  if (!isRecord(auths)) throw fault(path, "auths is not an object");
  if (!isRecord(helpers)) throw fault(path, "credHelpers is not an object");
  return {
    path,
    auths: new Map(
      Object.entries(auths).filter((pair): pair is [string, Record<string, unknown>] =>
        isRecord(pair[1])
      ),
    ),
    helpers: new Map(
      Object.entries(helpers).filter((pair): pair is [string, string] =>
        typeof pair[1] === "string" && pair[1] !== ""
      ),
    ),
    store: store || undefined,
  };
}

/**
 * What a file has for a repository: by its whole name, then by ever shorter parts, then for the
 * registry by older names.
 *
 * @throws {FormatError} when an entry cannot be understood
 * @throws {ComposefsError} when a helper fails
 */
export async function credentialsOf(
  file: AuthFile,
  name: string,
): Promise<Credentials | undefined> {
  const host = name.split("/")[0]!;
  const keys: string[] = [];
  for (let key = name; key !== ""; key = key.slice(0, Math.max(0, key.lastIndexOf("/")))) {
    keys.push(key);
  }
  for (const key of keys) {
    const helper = file.helpers.get(key);
    if (helper !== undefined) return await askHelper(helper, key);
    const entry = file.auths.get(key);
    const found = entry === undefined ? undefined : entryCredentials(entry, file.path);
    if (found !== undefined) return found;
  }
  for (const [key, entry] of file.auths) {
    if (!isLegacyKeyOf(key, host)) continue;
    const found = entryCredentials(entry, file.path);
    if (found !== undefined) return found;
  }
  if (file.store === undefined) return undefined;
  const asked = host === DEFAULT_DOMAIN ? "https://index.docker.io/v1/" : host;
  return await askHelper(file.store, asked);
}

/** Whether a key with a scheme or a version, as Docker writes them, means a registry. */
function isLegacyKeyOf(key: string, host: string): boolean {
  const bare = key.replace(/^https?:\/\//, "").replace(/\/.*$/s, "");
  const versioned = /^https?:\/\//.test(key) || /\/v[12]\/?$/.test(key) || !key.includes("/");
  return versioned && (bare === host || (host === DEFAULT_DOMAIN && DEFAULT_KEYS.includes(bare)));
}

/** Credentials of an entry; `undefined` when it is empty, as with helpers. */
function entryCredentials(
  entry: Record<string, unknown>,
  path: string,
): Credentials | undefined {
  const identity = textField(entry, "identitytoken");
  if (identity) return { kind: "identity", token: identity };
  const packed = textField(entry, "auth");
  if (packed) return parseUserPassword(unpack(packed, path), path);
  const user = textField(entry, "username");
  const password = textField(entry, "password");
  return user && password ? { kind: "basic", user, password } : undefined;
}

function unpack(packed: string, path: string): string {
  try {
    const text = new TextDecoder().decode(Uint8Array.fromBase64(packed.trim()));
    // Docker pads passwords with zero bytes.
    return text.replace(/\0+$/, "");
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    // Without its cause, which may show a part of the secret.
    throw fault(path, "an entry whose auth is not base64");
  }
}

function parseUserPassword(text: string, path: string): Credentials {
  const colon = text.indexOf(":");
  if (colon < 1) throw fault(path, "an entry whose auth is not user:password");
  return { kind: "basic", user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/**
 * Credentials as they are given on a command line: `USER:PASSWORD`.
 *
 * @throws {FormatError} when there is no user or no password
 */
export function parseCredentials(text: string): Credentials {
  const colon = text.indexOf(":");
  if (colon < 1 || colon === text.length - 1) {
    throw new FormatError("credentials", "Credentials must be USER:PASSWORD");
  }
  return { kind: "basic", user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** Asks `docker-credential-NAME get`; `undefined` when it has nothing. */
async function askHelper(helper: string, server: string): Promise<Credentials | undefined> {
  const failed = (why: string) =>
    new ComposefsError("CFS_FAILED", `Credential helper ${helper} for ${server}: ${why}`);
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$/.test(helper)) throw failed("not a name of a program");
  const timer = AbortSignal.timeout(HELPER_TIME);
  let output: Deno.CommandOutput;
  try {
    const child = new Deno.Command(`docker-credential-${helper}`, {
      args: ["get"],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      signal: timer,
    }).spawn();
    const writer = child.stdin.getWriter();
    const written = writer.write(new TextEncoder().encode(server)).then(() => writer.close());
    // A helper that does not read its input has its reasons; its answer counts.
    [output] = await Promise.all([child.output(), written.catch(() => {})]);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw failed("the program is not there");
    throw failed(error instanceof Error ? error.message : String(error));
  }
  const text = new TextDecoder().decode(output.stdout.subarray(0, MAX_FILE));
  if (!output.success) {
    if (/credentials not found/i.test(text)) return undefined;
    if (timer.aborted) throw failed("no answer");
    throw failed(`exit status ${output.code}`);
  }
  const answer = parseJson(text);
  const user = isRecord(answer) ? textField(answer, "Username") ?? "" : "";
  const secret = isRecord(answer) ? textField(answer, "Secret") : undefined;
  if (secret === undefined) throw failed("its answer cannot be understood");
  if (secret === "") return undefined;
  return user === TOKEN_USER
    ? { kind: "identity", token: secret }
    : { kind: "basic", user, password: secret };
}

function fault(path: string, message: string): FormatError {
  return new FormatError(FORMAT, `${path}: ${message}`);
}
