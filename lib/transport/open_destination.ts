/** Opening what images are pushed to, by its reference (spec: oci 5). */
import { InvalidNameError, UnsupportedError, withContext } from "../base/mod.ts";
import type { ImageDestination, LayoutTarget } from "./destination.ts";
import type { RegistryDestinationOptions } from "./registry_destination.ts";
import { parseImageReference, parseLayoutReference } from "./reference.ts";

/**
 * Splits `PATH[:TAG]` of a destination.
 *
 * @throws {InvalidNameError} for digests and positions, which only sources can have
 */
function parseTarget(rest: string): LayoutTarget {
  const { path, select } = parseLayoutReference(rest);
  if (select === undefined) return { path, tag: undefined };
  if (select.by !== "tag") {
    throw new InvalidNameError(`Cannot push to ${rest}: only a tag can follow the path`);
  }
  return { path, tag: select.tag };
}

/** How a destination is opened. */
export type DestinationOptions = RegistryDestinationOptions;

/**
 * Opens a destination by its reference.
 *
 * @throws {InvalidNameError} for a bad reference
 * @throws {UnsupportedError} for transports that nothing can be pushed to
 */
export async function openDestination(
  reference: string,
  options: DestinationOptions = {},
): Promise<ImageDestination> {
  const { transport, rest } = parseImageReference(reference);
  options.signal?.throwIfAborted();
  try {
    switch (transport) {
      case "oci": {
        const { openLayoutDestination } = await import("./layout_destination.ts");
        return openLayoutDestination(parseTarget(rest));
      }
      case "oci-archive": {
        const { openArchiveDestination } = await import("./archive_destination.ts");
        return openArchiveDestination(parseTarget(rest));
      }
      case "dir": {
        const { openDirDestination } = await import("./dir_destination.ts");
        return openDirDestination(rest);
      }
      case "docker":
      case "registry": {
        const { openRegistryDestination } = await import("./registry_destination.ts");
        return await openRegistryDestination(rest.replace(/^\/\//, ""), options);
      }
      default:
        throw new UnsupportedError(`Transport ${transport}: images cannot be pushed there`);
    }
  } catch (cause) {
    throw withContext(`Opening ${reference} for writing`, cause);
  }
}
