import { NotFoundError, withContext } from "../base/mod.ts";
import {
  type Fd,
  isErrno,
  MOUNT_ATTR,
  moveMountOn,
  O,
  openPath,
  type PathArg,
  showPath,
  umount,
} from "../../ffi/mod.ts";
import { mountErofs } from "./erofs_mount.ts";
import {
  type LayerMethod,
  mountOverlay,
  type OverlayOptions,
  type VerityMode,
} from "./overlay_mount.ts";
import { holdSignals } from "./signals.ts";

/** What to mount; all descriptors stay the caller's. */
export interface ComposeOptions {
  /** The open image. */
  image: Fd;
  /** Its path, shown by losetup(8) when a loop device is needed. */
  imagePath?: PathArg;
  /** Object directories, O_PATH descriptors are fine. */
  objects: readonly Fd[];
  /** Shown in mount tables as `composefs:<name>`. */
  name: string;
  /** Whether files must have the fs-verity digests that the image names. */
  verity: VerityMode;
  /** Upper layer; needs `work`. */
  upper?: Fd;
  /** Work directory of the upper layer. */
  work?: Fd;
  /** Whether the mount may be written to, which needs an upper layer to have an effect. @default false */
  readWrite?: boolean;
  /** User namespace whose ids the image's files take. */
  idmap?: Fd;
  /** Further bits of {@linkcode MOUNT_ATTR}. @default 0 */
  attributes?: number;
  /** Ways to hand over the layers, tried in this order. @default all, the newest first */
  methods?: readonly LayerMethod[];
  /** Uses a loop device even where the kernel could do without. @default false */
  forceLoop?: boolean;
}

/** What to mount, and where. */
export interface MountOptions extends ComposeOptions {
  /** An existing directory. */
  mountpoint: PathArg;
}

/** All methods, the newest first. */
const METHODS: readonly LayerMethod[] = ["fd", "detached", "directory"];

/**
 * Mounts an image with its objects, attached nowhere (spec: boot and mount 2.3). What an older
 * kernel cannot do is done another way; only when no way is left does it fail.
 *
 * @returns the overlay mount; closing it takes it down unless it was attached
 * @throws {FormatError} when the image is not a composefs image
 * @throws {ErrnoError} when the kernel refuses, with the kernel's messages
 */
export async function composeMount(options: ComposeOptions): Promise<Fd> {
  const { upper, work } = options;
  if ((upper === undefined) !== (work === undefined)) {
    throw new TypeError("An upper layer needs a work directory and the other way round");
  }
  using erofs = mountErofs(options);
  const overlay: OverlayOptions = {
    lower: erofs,
    objects: options.objects,
    source: `composefs:${options.name}`,
    verity: options.verity,
    upper: upper !== undefined && work !== undefined ? { upper, work } : undefined,
    attributes: (options.attributes ?? 0) | (options.readWrite ? 0 : MOUNT_ATTR.RDONLY),
  };
  const methods = options.methods ?? METHODS;
  for (let i = 0;; i++) {
    const method = methods[i]!;
    try {
      if (method !== "directory") return mountOverlay(overlay, method);
      return await holdSignals(() => mountOverlay(overlay, method));
    } catch (error) {
      // These are what older kernels say to a way they do not know; anything else is the answer.
      if (i === methods.length - 1 || !isErrno(error, "EINVAL", "EBADF", "ELOOP")) throw error;
    }
  }
}

/**
 * Mounts an image with its objects at a directory (spec: boot and mount 2.3). The mountpoint is
 * looked at first, so that nothing is done when it is not there.
 *
 * @throws {ComposefsError} naming the mountpoint when that cannot be used
 * @throws {FormatError} when the image is not a composefs image
 * @throws {ErrnoError} when the kernel refuses, with the kernel's messages
 */
export async function mountComposefs(options: MountOptions): Promise<void> {
  using target = openMountpoint(options.mountpoint);
  using mount = await composeMount(options);
  attachMount(mount, target);
}

/**
 * Opens the directory that a mount is to be attached to.
 *
 * @throws {ComposefsError} `Failed to mount at <path>` with the reason as its cause
 */
export function openMountpoint(path: PathArg): Fd {
  try {
    return openPath(path, { flags: O.PATH | O.DIRECTORY });
  } catch (cause) {
    throw withContext(`Failed to mount at ${showPath(path)}`, cause);
  }
}

/** Attaches a mount of {@linkcode composeMount} to a directory of {@linkcode openMountpoint}. */
export function attachMount(mount: Fd, target: Fd): void {
  moveMountOn(mount, target);
}

/**
 * Takes a mount down.
 *
 * @param options.detach hide it now, and take it down when its last user is gone @default false
 * @throws {NotFoundError} when nothing is mounted there
 * @throws {ErrnoError} EBUSY when it is in use
 */
export function unmount(path: PathArg, options: { detach?: boolean } = {}): void {
  if (umount(path, options)) return;
  throw new NotFoundError("mount", showPath(path), { message: `${showPath(path)}: not mounted` });
}
