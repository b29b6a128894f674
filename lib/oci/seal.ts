/** The composefs digest that an image claims to have (spec: trust 11). */
import { FormatError, type ObjectId, parseObjectId } from "../base/mod.ts";
import type { ErofsVersion } from "../erofs/mod.ts";
import type { Repository } from "../repository/mod.ts";
import type { ImageConfig, Manifest } from "../transport/mod.ts";

/** Label or annotation with the claim. */
export const SEAL_LABEL = "containers.composefs.fsverity";

/** The formats that a claim can be for, in the order in which they are tried. */
const FORMATS: readonly ErofsVersion[] = [2, 1];

/** What came of comparing a claim. */
export interface SealVerdict {
  /** The claim; `undefined` when there is none. */
  readonly claim: string | undefined;
  /** Whether the image is what it claims to be; `unchecked` when that cannot be told here. */
  readonly status: "ok" | "FAIL" | "none" | "unchecked";
  /** What was found. */
  readonly detail: string;
}

/** An image that makes a claim. */
export interface SealedImage {
  /** Its manifest. */
  readonly manifest: Manifest;
  /** Its config; `undefined` for artifacts. */
  readonly config: ImageConfig | undefined;
  /** Ids of the composefs images that are there, with what they are. */
  readonly images: ReadonlyMap<string, ObjectId>;
  /** Makes the image of another format, for its id. */
  readonly build: (version: ErofsVersion) => ObjectId;
}

/** Compares what an image claims with what it is. */
export function judgeSeal(repository: Repository, image: SealedImage): SealVerdict {
  const { manifest, config, images } = image;
  const claims = [
    manifest.annotations?.[SEAL_LABEL],
    config?.labels[SEAL_LABEL],
    manifest.config.annotations?.[SEAL_LABEL],
  ].filter((claim) => claim !== undefined);
  const [claim] = claims;
  const verdict = (status: SealVerdict["status"], detail: string) => ({ claim, status, detail });
  if (claim === undefined) return verdict("none", "the image claims no composefs digest");
  if (claims.some((one) => one !== claim)) {
    return verdict("FAIL", `two different claims: ${claims.join(", ")}`);
  }
  if (!isObjectId(claim)) return verdict("FAIL", "malformed claim");
  if (claim.length !== repository.algorithm.size * 2) {
    const detail = "claim not comparable here: the repository has another algorithm";
    return verdict("unchecked", detail);
  }
  for (const [what, id] of images) if (id === claim) return verdict("ok", `it is the ${what}`);
  if (config === undefined) return verdict("FAIL", "there is no image of an artifact");
  for (const version of FORMATS) {
    if (image.build(version) === claim) {
      return verdict("ok", `it is the image of format ${version}`);
    }
  }
  return verdict("FAIL", `the image has other digests: ${[...images.values()].join(", ")}`);
}

function isObjectId(text: string): boolean {
  try {
    return parseObjectId(text) === text;
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}
