import { FormatError } from "../base/mod.ts";
import { COMPOSEFS_FLAG_ACL, COMPOSEFS_HEADER, COMPOSEFS_MAGIC } from "../erofs/mod.ts";
import {
  type Fd,
  FsContext,
  isErrno,
  MOUNT_ATTR,
  openLoopDevice,
  type PathArg,
  preadFull,
  setMountAttributes,
} from "../../ffi/mod.ts";

/** What an image is mounted from. */
export interface ErofsMountOptions {
  /** The open image. */
  image: Fd;
  /** Its path, shown by losetup(8) when a loop device is needed. */
  imagePath?: PathArg | undefined;
  /** User namespace whose ids the files take. */
  idmap?: Fd | undefined;
  /** Uses a loop device even where the kernel could do without. @default false */
  forceLoop?: boolean | undefined;
}

/**
 * Mounts an image, attached nowhere: from the file itself, or through a loop device where the
 * kernel or the image's file system cannot (spec: boot and mount 2.3).
 *
 * @throws {FormatError} when the file is not a composefs image
 * @throws {ErrnoError} when the kernel refuses
 */
export function mountErofs(options: ErofsMountOptions): Fd {
  const hasAcl = readHeader(options.image);
  const mount = openMount(options, hasAcl);
  try {
    if (options.idmap !== undefined) {
      setMountAttributes(mount, { set: MOUNT_ATTR.IDMAP, userns: options.idmap });
    }
    return mount;
  } catch (error) {
    mount.close();
    throw error;
  }
}

function openMount(options: ErofsMountOptions, hasAcl: boolean): Fd {
  if (!options.forceLoop) {
    try {
      return mountSource(options.image.procPath, hasAcl);
    } catch (error) {
      if (!isErrno(error, "ENOTBLK")) throw error;
    }
  }
  const { imagePath } = options;
  const loop = openLoopDevice(options.image, imagePath === undefined ? {} : { name: imagePath });
  using device = loop.fd;
  return mountSource(device.procPath, hasAcl);
}

function mountSource(source: string, hasAcl: boolean): Fd {
  using context = new FsContext("erofs");
  context.setFlag("ro");
  context.setString("source", source);
  if (!hasAcl) {
    try {
      context.setFlag("noacl");
    } catch (error) {
      // A kernel without ACLs for EROFS does not know the option and does not need it.
      if (!isErrno(error, "EINVAL")) throw error;
    }
  }
  context.create();
  return context.mount();
}

/** Checks the composefs header; returns whether the image has POSIX ACLs. */
function readHeader(image: Fd): boolean {
  const bytes = new Uint8Array(4096);
  const got = preadFull(image, bytes, 0);
  const view = new DataView(bytes.buffer);
  const magic = view.getUint32(COMPOSEFS_HEADER.magic[0], true);
  if (got < bytes.length || magic !== COMPOSEFS_MAGIC) {
    throw new FormatError("erofs", "Not a composefs image");
  }
  return view.getUint32(COMPOSEFS_HEADER.flags[0], true) % 2 === COMPOSEFS_FLAG_ACL;
}
