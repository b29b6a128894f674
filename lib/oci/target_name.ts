/** The name that an image gives itself (spec: oci 7.6a). */
import { FormatError, NotFoundError } from "../base/mod.ts";
import { type Manifest, REF_NAME_ANNOTATION } from "../transport/mod.ts";
import { tagRef } from "./tags.ts";

/**
 * The tag that an image's manifest asks for.
 *
 * @returns the value of its annotation `org.opencontainers.image.ref.name`
 * @throws {NotFoundError} when it asks for none
 * @throws {FormatError} when it asks for one that cannot be
 */
export function targetName(manifest: Manifest): string {
  const name = manifest.annotations?.[REF_NAME_ANNOTATION];
  if (name === undefined) {
    throw new NotFoundError("annotation", REF_NAME_ANNOTATION, {
      message: `The image's manifest does not say its name (${REF_NAME_ANNOTATION})`,
    });
  }
  try {
    tagRef(name);
  } catch (cause) {
    const message = "The name that the image's manifest says cannot be a tag";
    throw new FormatError("manifest", message, { cause });
  }
  return name;
}
