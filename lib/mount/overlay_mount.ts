import {
  AT_FDCWD,
  type Fd,
  FsContext,
  isErrno,
  moveMount,
  O,
  openPath,
  umount,
} from "../../ffi/mod.ts";

/** Whether files of an image must have the fs-verity digests it names. */
export type VerityMode = "disabled" | "required" | "try";

/**
 * How the layers are handed to the kernel: by descriptor (Linux 6.13, and 6.15 for what is used
 * here), by `/proc/self/fd` names of mounts that are attached nowhere (6.15), or with the image
 * attached to a temporary directory for a moment (any).
 */
export type LayerMethod = "fd" | "detached" | "directory";

/** What an overlay is made of. */
export interface OverlayOptions {
  /** The mounted image. */
  lower: Fd;
  /** Object directories. */
  objects: readonly Fd[];
  /** Source shown in mount tables. */
  source: string;
  /** Whether digests are required. */
  verity: VerityMode;
  /** Upper layer and its work directory, both or none. */
  upper?: { readonly upper: Fd; readonly work: Fd } | undefined;
  /** Attributes of the mount. */
  attributes: number;
}

/** Mounts an overlay by one method; attached nowhere. */
export function mountOverlay(options: OverlayOptions, method: LayerMethod): Fd {
  if (method !== "directory") return mountLayers(options, { method, lower: options.lower });
  const directory = Deno.makeTempDirSync({ prefix: ".composefs." });
  try {
    moveMount(options.lower, AT_FDCWD, directory);
    try {
      using lower = openPath(directory, { flags: O.PATH | O.DIRECTORY });
      return mountLayers(options, { method, lower });
    } finally {
      umount(directory, { detach: true });
    }
  } finally {
    Deno.removeSync(directory);
  }
}

function mountLayers(options: OverlayOptions, layer: { method: LayerMethod; lower: Fd }): Fd {
  const byFd = layer.method === "fd";
  using context = new FsContext("overlay");
  context.setString("source", options.source);
  context.setString("metacopy", "on");
  context.setString("redirect_dir", "on");
  requireVerity(context, options.verity);
  for (const key of ["upper", "work"] as const) {
    const fd = options.upper?.[key];
    if (fd === undefined) continue;
    if (byFd) context.setFd(`${key}dir`, fd);
    else context.setString(`${key}dir`, fd.procPath);
  }
  if (byFd) {
    context.setFd("lowerdir+", layer.lower);
    for (const fd of options.objects) context.setFd("datadir+", fd);
  } else {
    // Data-only layers come after "::": they can be reached through redirects only.
    context.setString(
      "lowerdir",
      [layer.lower, ...options.objects].map((fd) => fd.procPath).join("::"),
    );
  }
  context.create();
  return context.mount(options.attributes);
}

function requireVerity(context: FsContext, mode: VerityMode): void {
  if (mode === "disabled") return;
  try {
    context.setString("verity", "require");
  } catch (error) {
    // A kernel before 6.6 does not know the option; "try" is content with that.
    if (mode !== "try" || !isErrno(error, "EINVAL", "ENOSYS")) throw error;
  }
}
