/** `docker-daemon:` images, which skopeo gets from the daemon (spec: oci 5). */
import { ComposefsError, UnsupportedError } from "../base/mod.ts";
import { openDockerArchive } from "./docker_archive.ts";
import type { LayoutStore } from "./layout.ts";
import { temporaryDirectory } from "./scratch.ts";

/** Longest text of skopeo's that is shown. */
const MAX_SHOWN = 500;

/**
 * Gets an image from the Docker daemon by way of skopeo and a temporary archive.
 *
 * @param image name of the image, as after `docker-daemon:`
 * @throws {UnsupportedError} when skopeo is not installed
 * @throws {ComposefsError} with what skopeo says
 */
export async function openDockerDaemon(
  image: string,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<LayoutStore> {
  const dir = await Deno.makeTempDir({ dir: temporaryDirectory(), prefix: "cfs-daemon-" });
  try {
    const archive = `${dir}/image.tar`;
    await skopeo(
      ["copy", "--quiet", `docker-daemon:${image}`, `docker-archive:${archive}`],
      options,
    );
    // Its file stays as long as it is open.
    return await openDockerArchive({ path: archive, image: undefined });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function skopeo(
  args: readonly string[],
  options: { signal?: AbortSignal | undefined },
): Promise<void> {
  const { signal } = options;
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command("skopeo", {
      args: [...args],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      ...(signal === undefined ? {} : { signal }),
    }).output();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new UnsupportedError("docker-daemon: needs skopeo, which is not installed", { cause });
  }
  if (output.success) return;
  signal?.throwIfAborted();
  const said = new TextDecoder().decode(output.stderr).trim().slice(-MAX_SHOWN);
  throw new ComposefsError("CFS_FAILED", `skopeo failed: ${said}`);
}
