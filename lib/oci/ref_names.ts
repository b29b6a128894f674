/** Names of references that an image has in the repository, fixed by the reference (spec: oci 8). */

/** Named reference of a config stream: image in format 2. */
export const IMAGE_REF_V2 = "composefs.image";
/** Named reference of a config stream: image in format 0 or 1. */
export const IMAGE_REF_V1 = "composefs.image.v1";
/** Prefix of the named references to boot images. */
export const BOOT_IMAGE_REF = "composefs.image.boot";

/** Directory of tags below `streams/refs`. */
export const TAG_REFS = "oci";
/** Directory of referrers below `streams/refs`. */
export const REFERRER_REFS = "oci-referrers";
