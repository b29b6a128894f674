/** Opening an image reference by its transport (spec: oci 5). */
import { UnsupportedError, withContext } from "../base/mod.ts";
import { openLayout } from "./layout.ts";
import { LocalSource } from "./local_source.ts";
import { parseImageReference, parseLayoutReference } from "./reference.ts";
import type { RegistrySourceOptions } from "./registry_source.ts";
import type { ImageSource } from "./source.ts";

/** How registries are talked to. */
export type RegistryAccess = Omit<RegistrySourceOptions, "signal" | "repository">;

/** How sources are opened; what is about registries counts for `docker://` only. */
export type SourceOptions = RegistrySourceOptions;

// What only some transports need is imported with them: it takes longer than a small pull.

/**
 * Opens the source that a reference means.
 *
 * @param reference `oci:PATH`, `oci-archive:PATH`, `dir:PATH`, `docker-archive:PATH`,
 * `docker://NAME` or `docker-daemon:NAME`, with what chooses an image
 * @throws {InvalidNameError} for a bad reference
 * @throws {UnsupportedError} for a transport that is not there
 */
export async function openSource(
  reference: string,
  options: SourceOptions = {},
): Promise<ImageSource> {
  const { transport, rest } = inContext(() => parseImageReference(reference));
  switch (transport) {
    case "oci": {
      const { path, select } = inContext(() => parseLayoutReference(rest));
      return new LocalSource(openLayout(path), { transport, select });
    }
    case "oci-archive": {
      const { openArchive } = await import("./archive.ts");
      const { path, select } = inContext(() => parseLayoutReference(rest));
      return new LocalSource(await openArchive(path), { transport, select });
    }
    case "dir": {
      const { openDirStore } = await import("./dir_store.ts");
      return new LocalSource(openDirStore(rest), { transport });
    }
    case "docker-archive": {
      const { openDockerArchive, parseDockerArchiveReference } = await import(
        "./docker_archive.ts"
      );
      const archive = inContext(() => parseDockerArchiveReference(rest));
      return new LocalSource(await openDockerArchive(archive), { transport });
    }
    case "docker-daemon": {
      const { openDockerDaemon } = await import("./docker_daemon.ts");
      return new LocalSource(await openDockerDaemon(rest, options), { transport });
    }
    case "docker":
    case "registry": {
      const { RegistrySource } = await import("./registry_source.ts");
      return inContext(() => new RegistrySource(rest.replace(/^\/\//, ""), options));
    }
    default:
      throw new UnsupportedError(`Transport ${transport}: is not supported yet`);
  }
}

/** What an image reference is, from what is wrong with one. */
function inContext<T>(parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw withContext("Parsing image reference transport", cause);
  }
}
