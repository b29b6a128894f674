/** Simple signatures that lie beside images: in lookasides and in directories (spec: trust 6). */
import { ComposefsError, type Digest, FormatError } from "../base/mod.ts";
import { HttpClient, HttpError } from "../http/mod.ts";
import { readKeyFile } from "../signature/mod.ts";
import {
  type FoundSignature,
  type FoundSignatures,
  MAX_SIGNATURE_SIZE,
  MAX_SIGNATURES,
  parseSignatureBlob,
  SignatureBudget,
  type SignatureFault,
} from "./signature.ts";

/** Where and for what signatures are looked for in a lookaside. */
export interface LookasideQuery {
  /** Path of the repository, without its host. */
  readonly path: string;
  /** Digest of the manifest. */
  readonly digest: Digest;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The signatures in a lookaside.
 *
 * @param base URL of it: `file:`, `http:` or `https:`
 */
export async function findLookaside(base: string, query: LookasideQuery): Promise<FoundSignatures> {
  const { path, digest, signal } = query;
  const below = `${path}@${digest.algorithm}=${digest.encoded}`;
  const url = new URL(base);
  if (url.protocol === "file:") {
    const dir = `${decodeURIComponent(url.pathname).replace(/\/+$/, "")}/${below}`;
    return await collect((n) => readFile(`${dir}/signature-${n}`));
  }
  using client = new HttpClient(signal === undefined ? {} : { signal });
  return await collect(async (n) => {
    const at = new URL(base);
    at.pathname = `${at.pathname.replace(/\/+$/, "")}/${below}/signature-${n}`;
    const place = `${at.origin}${at.pathname}`;
    try {
      const { bytes } = await client.get(at, { maxSize: MAX_SIGNATURE_SIZE });
      return bytes === undefined ? undefined : { place, bytes };
    } catch (error) {
      if (error instanceof HttpError && error.status === 404) return undefined;
      if (!(error instanceof ComposefsError)) throw error;
      signal?.throwIfAborted();
      return { place, error };
    }
  });
}

/**
 * The signatures in a directory: those of a `dir:` image, or any with `signature-N` in it.
 *
 * @param instance digest of a manifest of an index, whose signatures have names of their own
 */
export async function findInDirectory(dir: string, instance?: Digest): Promise<FoundSignatures> {
  const prefix = instance === undefined ? "" : `${instance.encoded}.`;
  return await collect((n) => readFile(`${dir}/${prefix}signature-${n}`));
}

type Read = { place: string; bytes: Uint8Array } | { place: string; error: ComposefsError };

function readFile(path: string): Read | undefined {
  try {
    const bytes = readKeyFile(path);
    return bytes === undefined ? undefined : { place: path, bytes };
  } catch (error) {
    if (!(error instanceof ComposefsError)) throw error;
    return { place: path, error };
  }
}

/** Counts until the first that is not there: what comes after a gap is not seen. */
async function collect(
  read: (n: number) => Read | undefined | Promise<Read | undefined>,
): Promise<FoundSignatures> {
  const signatures: FoundSignature[] = [];
  const faults: SignatureFault[] = [];
  const budget = new SignatureBudget();
  for (let n = 1;; n++) {
    const one = await read(n);
    if (one === undefined) return { signatures, faults, notes: [] };
    if (n > MAX_SIGNATURES) {
      throw new FormatError("signature", `More than ${MAX_SIGNATURES} signatures: ${one.place}`);
    }
    const { place } = one;
    if ("error" in one) {
      faults.push({ place, reason: one.error.message });
      // A place that cannot be read now would be asked for all of them.
      return { signatures, faults, notes: [] };
    }
    try {
      budget.take(one.bytes.length, place);
      signatures.push(parseSignatureBlob(one.bytes, place));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      faults.push({ place, reason: error.message });
      if (budget.spent) return { signatures, faults, notes: [] };
    }
  }
}
