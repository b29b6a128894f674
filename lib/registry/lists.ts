/** What registries list: tags, and what refers to a manifest (distribution-spec; spec: oci 6). */
import { type Digest, FormatError } from "../base/mod.ts";
import type { HttpAnswer } from "../http/mod.ts";
import type { Access, RegistryHost } from "./host.ts";
import { parseIndexEntries, parseRecord, type RemoteDescriptor } from "./json.ts";
import { INDEX_TYPE, MAX_MANIFEST, plainType } from "./manifest.ts";
import { attachmentTag } from "./reference.ts";

/** Most entries of an index and of the referrers. */
const MAX_ENTRIES = 10_000;
const MAX_TAGS = 100_000;
const MAX_PAGES = 100;
/** Longest header that says where a list goes on. */
const MAX_LINK = 8192;
/** Statuses of registries that know nothing of referrers. */
const NO_REFERRERS: readonly number[] = [400, 404, 405, 501];

/** Where lists are asked for. */
export interface ListPlace {
  /** The registry. */
  readonly host: RegistryHost;
  /** Access for reading. */
  readonly access: Access;
  /** Path of something in the repository, below `/v2/`. */
  readonly path: (rest: string) => string;
}

/** What refers to a manifest, by the registry's own list or by the tag that stands in for it. */
export async function listReferrers(
  place: ListPlace,
  subject: Digest,
  { artifactType }: { artifactType?: string },
): Promise<RemoteDescriptor[]> {
  const { host, access } = place;
  const query = artifactType === undefined
    ? ""
    : `?artifactType=${encodeURIComponent(artifactType)}`;
  const found: RemoteDescriptor[] = [];
  let next: string | URL | undefined = place.path(`referrers/${subject}${query}`);
  for (let pages = 0; next !== undefined && pages < MAX_PAGES; pages++) {
    const answer: HttpAnswer = await host.request(next, {
      headers: { accept: INDEX_TYPE },
      statuses: [200, ...NO_REFERRERS],
      maxSize: MAX_MANIFEST,
      access,
    });
    if (answer.status !== 200 || plainType(answer.headers) !== INDEX_TYPE) {
      if (pages === 0) found.push(...await taggedReferrers(place, subject));
      break;
    }
    found.push(...parseIndexEntries(answer.bytes, MAX_ENTRIES));
    if (found.length > MAX_ENTRIES) throw tooMany("referrers");
    next = nextPage(answer);
  }
  if (artifactType === undefined) return found;
  // An entry that does not say its type is known by its manifest only.
  return found.filter((one) => one.artifactType === "" || one.artifactType === artifactType);
}

/** The index behind the tag that stands in for a list; empty when there is none. */
export async function taggedReferrers(
  place: ListPlace,
  subject: Digest,
): Promise<RemoteDescriptor[]> {
  const { status, bytes } = await place.host.request(
    place.path(`manifests/${attachmentTag(subject)}`),
    {
      headers: { accept: INDEX_TYPE },
      statuses: [200, 404],
      maxSize: MAX_MANIFEST,
      access: place.access,
    },
  );
  return status === 404 ? [] : parseIndexEntries(bytes, MAX_ENTRIES);
}

/** The tags, in the registry's order. */
export async function listTags(place: ListPlace): Promise<string[]> {
  const tags: string[] = [];
  let next: string | URL | undefined = place.path("tags/list?n=1000");
  for (let pages = 0; next !== undefined && pages < MAX_PAGES; pages++) {
    const answer: HttpAnswer = await place.host.request(next, {
      maxSize: MAX_MANIFEST,
      access: place.access,
    });
    const list = parseRecord(answer.bytes, "list of tags")["tags"] ?? [];
    if (!Array.isArray(list) || !list.every((tag) => typeof tag === "string")) {
      throw new FormatError("list of tags", "list of tags: not a list of text");
    }
    tags.push(...list);
    if (tags.length > MAX_TAGS) throw tooMany("tags");
    next = nextPage(answer);
  }
  return tags;
}

function tooMany(what: string): FormatError {
  return new FormatError(what, `The registry lists too many ${what}`);
}

/** Where a list goes on; only the registry itself is asked. */
function nextPage(answer: HttpAnswer): URL | undefined {
  const text = (answer.headers.get("link") ?? "").slice(0, MAX_LINK);
  const link = /<([^<>]+)>\s*;[^,]*\brel="?next"?/i.exec(text);
  if (link === null || !URL.canParse(link[1]!, answer.url)) return undefined;
  const next = new URL(link[1]!, answer.url);
  return next.origin === answer.url.origin ? next : undefined;
}
