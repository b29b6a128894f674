/** `docker-daemon:` images, which skopeo gets from the daemon (spec: oci 5). */
import { ComposefsError, UnsupportedError } from "../base/mod.ts";
import { openDockerArchive } from "./docker_archive.ts";
import type { LayoutStore } from "./layout.ts";
import { temporaryDirectory } from "./scratch.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

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
  const ended = new AbortController();
  using _listeners = beforeSignalsEnd(() => {
    ended.abort();
    Deno.removeSync(dir, { recursive: true });
  });
  const signal = AbortSignal.any([ended.signal, ...options.signal ? [options.signal] : []]);
  try {
    const archive = `${dir}/image.tar`;
    await skopeo(
      ["copy", "--quiet", `docker-daemon:${image}`, `docker-archive:${archive}`],
      signal,
    );
    // Its file stays as long as it is open.
    return await openDockerArchive({ path: archive, image: undefined });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Until it is disposed of, a signal that ends the process has this done before. */
function beforeSignalsEnd(cleanUp: () => void): Disposable {
  const listeners = SIGNALS.map((signal) => {
    const listener = () => {
      stop();
      cleanUp();
      Deno.kill(Deno.pid, signal);
    };
    return [signal, listener] as const;
  });
  function stop(): void {
    for (const [signal, listener] of listeners) Deno.removeSignalListener(signal, listener);
  }
  for (const [signal, listener] of listeners) Deno.addSignalListener(signal, listener);
  return { [Symbol.dispose]: stop };
}

async function skopeo(args: readonly string[], signal: AbortSignal): Promise<void> {
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command("skopeo", {
      args: [...args],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      signal,
    }).output();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new UnsupportedError("docker-daemon: needs skopeo, which is not installed", { cause });
  }
  if (output.success) return;
  signal.throwIfAborted();
  const said = new TextDecoder().decode(output.stderr).trim().slice(-MAX_SHOWN);
  throw new ComposefsError("CFS_FAILED", `skopeo failed: ${said}`);
}
