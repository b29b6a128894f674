/** Bodies of known size that are the same for ever: what was cut off goes on (spec: oci 6). */
import { type Digest, FormatError } from "../base/mod.ts";
import {
  type AnswerHead,
  type ByteCounter,
  type Exchange,
  type HttpRequest,
  type Incoming,
  parseContentRange,
} from "../http/mod.ts";

/** What is known of a blob before it is there. */
export interface BlobRef {
  /** Digest of its content. */
  readonly digest: Digest;
  /** Its size in bytes. */
  readonly size: number;
  /** Its media type, when it is known. */
  readonly mediaType?: string | undefined;
  /** Where else it can be had; believed only of layers that registries must not hand out. */
  readonly urls?: readonly string[] | null | undefined;
}

/** Media types of layers that come from where their maker has them. */
const FOREIGN: readonly string[] = [
  "application/vnd.oci.image.layer.nondistributable.v1.tar",
  "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
  "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
  "application/vnd.docker.image.rootfs.foreign.diff.tar",
  "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

/** Where a blob can be had when its registry does not have it. */
export function foreignUrls({ mediaType, urls }: BlobRef): string[] {
  if (!urls || mediaType === undefined || !FOREIGN.includes(mediaType)) return [];
  return urls.filter((url) => URL.canParse(url) && /^https?:/i.test(url));
}

/** Takes a blob in order, each byte once. */
export interface BlobSink {
  /**
   * Takes the next piece; it is the sender's again afterwards. What it returns is waited for before
   * more is read.
   */
  write(piece: Uint8Array): void | Promise<void>;
}

/** The state of one download between requests; the sink never has to begin anew. */
export class BlobDownload implements Exchange {
  readonly #blob: BlobRef;
  readonly #sink: BlobSink;
  #received: number;
  #asked = false;
  /** Whether parts are refused, so that what is there already is read past. */
  #whole = false;

  /**
   * Starts.
   *
   * @param start bytes that the sink has already
   */
  constructor(blob: BlobRef, sink: BlobSink, start: number) {
    this.#blob = blob;
    this.#sink = sink;
    this.#received = start;
  }

  /** Bytes that the sink has. */
  get received(): number {
    return this.#received;
  }

  /** Always: the rest of a blob is the rest, whoever sends it. */
  get worthResuming(): boolean {
    return true;
  }

  /** The next request. */
  request(): HttpRequest {
    this.#asked = this.#received > 0 && !this.#whole;
    const headers: Record<string, string> = { "accept-encoding": "identity" };
    if (this.#asked) headers["range"] = `bytes=${this.#received}-`;
    return { headers, downgrade: true };
  }

  /** Whether an answer has the blob or its rest. */
  accepts(status: number): boolean {
    return status === 200 || (status === 206 && this.#asked);
  }

  /** When the server has no such part, all of it is asked for. */
  again({ status }: AnswerHead): boolean {
    if (status !== 416 || !this.#asked) return false;
    this.#whole = true;
    return true;
  }

  /** Takes the body of an answer. */
  async receive(response: Incoming, count: ByteCounter): Promise<void> {
    const { status, headers } = response;
    const { size } = this.#blob;
    let skip = 0;
    if (status === 206) {
      const total = partTotal(headers.get("content-range"), this.#received);
      if (total === undefined) {
        await response.body?.cancel();
        this.#whole = true;
        throw new TypeError("The server sent another part than was asked for");
      }
      if (total !== "*") await this.#checkSize(response, total);
    } else {
      skip = this.#received;
      const length = headers.get("content-length");
      if (length !== null && !headers.has("content-encoding")) {
        await this.#checkSize(response, Number(length));
      }
    }
    const pieces = response.pieces?.() ?? response.body;
    if (pieces !== null) {
      for await (const whole of pieces) {
        const pause = count(whole.length);
        if (pause !== undefined) await pause;
        const piece = skip === 0 ? whole : whole.subarray(Math.min(skip, whole.length));
        skip -= whole.length - piece.length;
        if (piece.length === 0) continue;
        if (this.#received + piece.length > size) throw this.#otherSize(`more than ${size}`);
        const taken = this.#sink.write(piece);
        if (taken !== undefined) await taken;
        this.#received += piece.length;
      }
    }
    if (this.#received < size) {
      throw new TypeError(`The body ends after ${this.#received} of ${size} bytes`);
    }
  }

  async #checkSize(response: Incoming, found: number): Promise<void> {
    if (found === this.#blob.size) return;
    await response.body?.cancel();
    throw this.#otherSize(String(found));
  }

  #otherSize(found: string): FormatError {
    const { digest, size } = this.#blob;
    return new FormatError("blob", `Blob ${digest}: Expected size ${size} but found ${found}`);
  }
}

/** Size of the whole that a part is of; `undefined` when the part does not begin at `start`. */
function partTotal(range: string | null, start: number): number | "*" | undefined {
  const part = parseContentRange(range);
  return part?.start === start ? part.total ?? "*" : undefined;
}
