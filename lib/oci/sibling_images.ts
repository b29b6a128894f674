/** All EROFS images that were made of one container image (spec: oci 1.2, boot-and-mount 8.8). */
import { ComposefsError, Digest, NotFoundError, type ObjectId } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { openConfig } from "./image.ts";
import { BOOT_IMAGE_REF, IMAGE_REF_V2 } from "./ref_names.ts";

/** An EROFS image of a container image. */
export interface SiblingImage {
  /** Its digest. */
  readonly id: ObjectId;
  /** Whether it is for booting. */
  readonly bootable: boolean;
  /** EROFS format; 1 also stands for 0. */
  readonly version: 1 | 2;
  /** Which extended attributes a boot image kept; null for others. */
  readonly xattrMode: string | null;
}

const CONFIG_PREFIX = "oci-config-";
const V1 = ".v1";
const XATTRS = ".xattrs=";
const DEFAULT_XATTRS = "allowlist-only";

/** What a config's reference to an image says about it, undefined for other references. */
function parseName(name: string): Omit<SiblingImage, "id"> | undefined {
  const bootable = name.startsWith(BOOT_IMAGE_REF);
  const prefix = bootable ? BOOT_IMAGE_REF : IMAGE_REF_V2;
  if (!name.startsWith(prefix)) return undefined;
  const [format = "", mode] = name.slice(prefix.length).split(XATTRS, 2);
  if (format !== "" && format !== V1) return undefined;
  return {
    bootable,
    version: format === V1 ? 1 : 2,
    xattrMode: bootable ? mode ?? DEFAULT_XATTRS : null,
  };
}

function imagesOf(refs: ReadonlyMap<string, ObjectId>): SiblingImage[] {
  return [...refs].sort(([a], [b]) => a < b ? -1 : 1).flatMap(([name, id]) => {
    const facts = parseName(name);
    return facts === undefined ? [] : [{ id, ...facts }];
  }).sort((a, b) => Number(a.bootable) - Number(b.bootable) || a.version - b.version);
}

/**
 * Lists the images that were made of the same container image as one that is given.
 *
 * @param image one of them
 * @returns images for mounting before those for booting
 * @throws {NotFoundError} when no container image has it; the damage, when a config is damaged
 */
export function siblingImages(repository: Repository, image: ObjectId): SiblingImage[] {
  let damage: ComposefsError | undefined;
  for (const name of repository.listStreams()) {
    if (!name.startsWith(CONFIG_PREFIX)) continue;
    try {
      const { document } = openConfig(repository, Digest.parse(name.slice(CONFIG_PREFIX.length)));
      const images = imagesOf(document.refs);
      if (images.some(({ id }) => id === image)) return images;
    } catch (error) {
      if (!(error instanceof ComposefsError)) throw error;
      damage ??= error; // it may be in another one
    }
  }
  throw damage ?? new NotFoundError("image", image);
}
