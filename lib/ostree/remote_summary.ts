/** The summary of a remote repository: found, kept, verified (spec: ostree 8.2, 8.3, 8.4). */
import { gunzipSync } from "node:zlib";
import { DigestMismatchError, FormatError, NotFoundError, PolicyError } from "../base/mod.ts";
import { checksumOf } from "./checksum.ts";
import { checkMetalinkFile } from "./mirrors.ts";
import { MAX_METADATA_SIZE } from "./object_kind.ts";
import { isMissing, type RemoteServer } from "./remote_server.ts";
import { MAX_SUMMARY_SIZE, parseSummary, parseSummaryIndex, type Summary } from "./summary.ts";
import { type SummaryCache, summaryCacheKey } from "./summary_cache.ts";

/** Difference in milliseconds below which a date does not tell two versions apart. */
const DATE_STEP = 2000;

/** A summary or index of summaries that came, for those who check signatures. */
export interface ArrivedSummary {
  /** Its file: `summary` or `summary.idx`. */
  readonly file: "summary" | "summary.idx";
  /** Its bytes. */
  readonly bytes: Uint8Array;
  /** The signatures beside it; `undefined` when there are none. */
  readonly signature: Uint8Array | undefined;
}

/** How summaries are fetched. */
export interface RemoteSummaryOptions {
  /** Subset of the refs to look in. @default the machine's architecture */
  readonly subset?: string;
  /** Keeps summaries between pulls. */
  readonly cache?: SummaryCache;
  /** Checks signatures of the summary or its index; throws to refuse it. */
  readonly verifySummary?: (summary: ArrivedSummary) => void | Promise<void>;
}

/** Fetches the summary of a repository. */
export class RemoteSummary {
  readonly #server: RemoteServer;
  readonly #location: string;
  readonly #options: RemoteSummaryOptions;

  /**
   * Prepares it; nothing is fetched yet.
   *
   * @param location what messages call the repository
   */
  constructor(server: RemoteServer, location: string, options: RemoteSummaryOptions) {
    this.#server = server;
    this.#location = location;
    this.#options = options;
  }

  /** The summary, or that of the subset where there is an index; `undefined` for neither. */
  async fetch(): Promise<Summary | undefined> {
    const { bases, summary: metalink } = await this.#server.places();
    const bytes = metalink === undefined ? await this.#subsetSummary(bases[0]!) : undefined;
    if (bytes !== undefined) return parseSummary(bytes);
    const name = `ostree-summary-${summaryCacheKey(bases[0]!)}`;
    const whole = await this.#cachedSummary(name);
    if (whole === undefined) {
      if (metalink !== undefined) throw noSummary(this.#location);
      if (this.#options.verifySummary === undefined) return undefined;
      // Whoever can hide the summary must not get around its signature.
      throw new PolicyError("Signature verification enabled, but no summary found");
    }
    if (metalink !== undefined) checkMetalinkFile(metalink, whole);
    await this.#verifySummary("summary", whole);
    return parseSummary(whole);
  }

  async #verifySummary(file: ArrivedSummary["file"], bytes: Uint8Array): Promise<void> {
    const { verifySummary } = this.#options;
    if (verifySummary === undefined) return;
    const signature = await this.#server.optional(`${file}.sig`, { maxSize: MAX_METADATA_SIZE });
    await verifySummary({ file, bytes, signature });
  }

  /** The summary by the index; `undefined` when there is none or it lacks the subset. */
  async #subsetSummary(base: URL): Promise<Uint8Array | undefined> {
    const index = await this.#server.optional("summary.idx", { maxSize: MAX_SUMMARY_SIZE });
    if (index === undefined) return undefined;
    const subset = this.#options.subset ?? Deno.build.arch;
    const checksum = parseSummaryIndex(index).subsets.get(subset);
    if (checksum === undefined) return undefined;
    await this.#verifySummary("summary.idx", index);
    const name = `ostree-subsummary-${subset.replaceAll("/", "-")}-${summaryCacheKey(base)}`;
    const cached = this.#options.cache?.load(name)?.bytes;
    if (cached !== undefined && checksumOf(cached) === checksum) return cached;
    const packed = await this.#server.document(`summaries/${checksum}.gz`, {
      maxSize: MAX_SUMMARY_SIZE,
    });
    const bytes = gunzip(packed);
    const actual = checksumOf(bytes);
    if (actual !== checksum) {
      const message = `subsummary checksum mismatch: expected ${checksum}, got ${actual}`;
      throw new DigestMismatchError("subsummary", checksum, actual, { message });
    }
    this.#options.cache?.store(name, { etag: "", lastModified: "", bytes });
    return bytes;
  }

  /** The file `summary`, fetched only when it has changed. */
  async #cachedSummary(name: string): Promise<Uint8Array | undefined> {
    const { cache } = this.#options;
    const cached = cache?.load(name);
    const options = { maxSize: MAX_SUMMARY_SIZE, packed: true };
    try {
      let answer = await this.#server.get("summary", {
        ...options,
        ...(cached === undefined ? {} : { etag: cached.etag, lastModified: cached.lastModified }),
      });
      if (answer.bytes === undefined && cached !== undefined) {
        const age = Date.parse(answer.date) - Date.parse(cached.lastModified);
        if (cached.etag !== "" || age >= DATE_STEP) return cached.bytes;
        answer = await this.#server.get("summary", options);
      }
      const { bytes, etag, lastModified } = answer;
      if (bytes === undefined) return undefined;
      if (etag !== "" || lastModified !== "") cache?.store(name, { etag, lastModified, bytes });
      return bytes;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }
}

/** A metalink says what the summary is, so there has to be one. */
function noSummary(location: string): NotFoundError {
  const message = "no summary available from remote";
  return new NotFoundError("summary", location, { message });
}

function gunzip(packed: Uint8Array): Uint8Array {
  try {
    return gunzipSync(packed, { maxOutputLength: MAX_SUMMARY_SIZE });
  } catch (cause) {
    const { message } = cause as Error;
    throw new FormatError("gzip", `Invalid gzip data in summary: ${message}`, { cause });
  }
}
