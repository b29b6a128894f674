/** Several servers of one repository: mirror lists and metalinks (spec: ostree 8.5). */
import { createHash } from "node:crypto";
import { DigestMismatchError, FormatError, NotFoundError } from "../base/mod.ts";
import { type HttpClient, HttpError, parseUrl, shownUrl } from "../http/mod.ts";

const MIRRORLIST = "mirrorlist=";
const METALINK = "metalink=";
const MAX_LIST = 1024 * 1024;
const MAX_MIRRORS = 256;

/** Where a repository is. */
export interface RemotePlaces {
  /** Its servers, the preferred one first; paths end with a slash. */
  readonly bases: readonly URL[];
  /** What its summary must be, when a metalink says so. */
  readonly summary: MetalinkFile | undefined;
}

/** A file that a metalink describes. */
export interface MetalinkFile {
  /** Its size in bytes, when given. */
  readonly size: number | undefined;
  /** Its digests in lower-case hex. */
  readonly hashes: readonly { readonly type: "sha256" | "sha512"; readonly value: string }[];
  /** Where it is, the preferred place first. */
  readonly urls: readonly string[];
}

/**
 * Finds the servers of a repository.
 *
 * @param place a URL, `mirrorlist=URL` or `metalink=URL`
 * @throws {NotFoundError} when a list has no server that answers
 */
export async function resolvePlaces(client: HttpClient, place: string): Promise<RemotePlaces> {
  if (place.startsWith(METALINK)) {
    const url = parseUrl(place.slice(METALINK.length));
    const summary = parseMetalink(await text(client, url), "summary");
    const bases = summary.urls.filter((one) =>
      /^https?:/.test(one) && one.endsWith("/summary") && URL.canParse(one)
    )
      .map((one) => new URL(".", one));
    if (bases.length === 0) throw noMirrors("metalink", url);
    return { bases, summary };
  }
  if (place.startsWith(MIRRORLIST)) {
    const url = parseUrl(place.slice(MIRRORLIST.length));
    const bases = parseMirrorlist(await text(client, url));
    for (let first = 0; first < bases.length; first++) {
      try {
        await client.get(new URL("config", bases[first]!));
        return { bases: bases.slice(first), summary: undefined };
      } catch (error) {
        // The next mirror may be better.
        if (!(error instanceof HttpError)) throw error;
      }
    }
    throw noMirrors("mirrorlist", url);
  }
  return { bases: [directory(parseUrl(place))], summary: undefined };
}

async function text(client: HttpClient, url: URL): Promise<string> {
  const { bytes } = await client.get(url, { maxSize: MAX_LIST, packed: true });
  return new TextDecoder().decode(bytes);
}

function noMirrors(kind: string, url: URL): NotFoundError {
  const message = `No valid mirrors were found in ${kind} '${shownUrl(url)}'`;
  return new NotFoundError("mirror", shownUrl(url), { message });
}

/** The URL with a slash at the end, so that names go below it. */
function directory(url: URL): URL {
  const out = new URL(url);
  if (!out.pathname.endsWith("/")) out.pathname += "/";
  return out;
}

/** The servers of a mirror list: a URL a line; comments and what is no HTTP URL are left out. */
export function parseMirrorlist(list: string): URL[] {
  const out: URL[] = [];
  for (const raw of list.split("\n")) {
    const line = raw.trim();
    if (!/^https?:\/\//.test(line) || !URL.canParse(line)) continue;
    out.push(directory(new URL(line)));
    if (out.length === MAX_MIRRORS) break;
  }
  return out;
}

/**
 * Reads the entry of one file out of a metalink (XML, version 3).
 *
 * @throws {FormatError} when there is no such file, or it has no digest we know
 */
export function parseMetalink(xml: string, name: string): MetalinkFile {
  for (const { attributes, body } of elements(withoutComments(xml), "file")) {
    if (attribute(attributes, "name") !== name) continue;
    const hashes: MetalinkFile["hashes"][number][] = [];
    for (const element of elements(body, "hash")) {
      const type = attribute(element.attributes, "type");
      const value = element.body.trim().toLowerCase();
      if (!/^[0-9a-f]*$/.test(value)) continue;
      if (type === "sha256" && value.length === 64) hashes.push({ type, value });
      if (type === "sha512" && value.length === 128) hashes.push({ type, value });
    }
    if (hashes.length === 0) {
      throw new FormatError("metalink", `Metalink has no sha256 or sha512 digest of '${name}'`);
    }
    const urls: { url: string; preference: number }[] = [];
    for (const element of elements(body, "url")) {
      const preference = Number(attribute(element.attributes, "preference") ?? 0) || 0;
      urls.push({ url: unescapeXml(element.body.trim()), preference });
      if (urls.length === MAX_MIRRORS) break;
    }
    const [size] = [...elements(body, "size")].map((element) => element.body.trim());
    return {
      size: size !== undefined && /^\d{1,15}$/.test(size) ? Number(size) : undefined,
      hashes,
      urls: urls.sort((a, b) => b.preference - a.preference).map(({ url }) => url),
    };
  }
  throw new FormatError("metalink", `Metalink has no file '${name}'`);
}

/** The text without comments, in time that grows with its length only. */
function withoutComments(xml: string): string {
  let out = "";
  let at = 0;
  for (;;) {
    const start = xml.indexOf("<!--", at);
    if (start < 0) return out + xml.slice(at);
    out += xml.slice(at, start);
    const end = xml.indexOf("-->", start + 4);
    if (end < 0) return out;
    at = end + 3;
  }
}

/** The elements of a name that are not nested, in time that grows with the text's length only. */
function* elements(
  xml: string,
  name: string,
): Generator<{ attributes: string; body: string }, void, undefined> {
  const close = `</${name}>`;
  let at = 0;
  for (;;) {
    const start = xml.indexOf(`<${name}`, at);
    if (start < 0) return;
    const open = xml.indexOf(">", start);
    if (open < 0) return;
    const attributes = xml.slice(start + name.length + 1, open);
    at = open + 1;
    // Another name that begins the same, or an element without content.
    if (!/^(?:\s|$)/.test(attributes) || attributes.endsWith("/")) continue;
    const end = xml.indexOf(close, at);
    if (end < 0) return;
    yield { attributes, body: xml.slice(at, end) };
    at = end + close.length;
  }
}

function attribute(text: string, name: string): string | undefined {
  const match = new RegExp(`\\s${name}=(?:"([^"]*)"|'([^']*)')`).exec(text.slice(0, 1024));
  return match?.[1] ?? match?.[2];
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
};

function unescapeXml(text: string): string {
  return text.replace(/&([a-z]+);/g, (whole, name: string) => ENTITIES[name] ?? whole);
}

/**
 * Checks a file against what a metalink says about it.
 *
 * @throws {FormatError} when its size is another one
 * @throws {DigestMismatchError} when a digest is another one
 */
export function checkMetalinkFile(file: MetalinkFile, bytes: Uint8Array): void {
  if (file.size !== undefined && file.size !== bytes.length) {
    throw new FormatError(
      "metalink",
      `Expected ${file.size} bytes of summary by the metalink, got ${bytes.length}`,
    );
  }
  for (const { type, value } of file.hashes) {
    const actual = createHash(type).update(bytes).digest("hex");
    if (actual !== value) throw new DigestMismatchError("summary", value, actual);
  }
}
