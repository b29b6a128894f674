/** The mount API of Linux 5.2 (spec: boot and mount 1.1, 1.2). */
import { registerErrorKind } from "../lib/base/mod.ts";
import { check, errno, ErrnoError, errnoNumber } from "./errno.ts";
import { type DirArg, dirNumber, Fd, fdNumber } from "./fd.ts";
import { libc } from "./libc.ts";
import { addressable, addressOf, cPath, type PathArg } from "./memory.ts";
import { AT } from "./open.ts";

/** System call numbers; the same on every architecture. */
export const MOUNT_SYSCALL = {
  open_tree: 428,
  move_mount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  mount_setattr: 442,
} as const;

/** Commands of fsconfig(2) (linux/mount.h). */
export const FSCONFIG = {
  SET_FLAG: 0,
  SET_STRING: 1,
  SET_FD: 5,
  CMD_CREATE: 6,
} as const;

/** Attributes of a mount (linux/mount.h). */
export const MOUNT_ATTR = {
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  NOATIME: 0x10,
  STRICTATIME: 0x20,
  NODIRATIME: 0x80,
  IDMAP: 0x100000,
} as const;

const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const MOVE_MOUNT_T_EMPTY_PATH = 0x40;
const OPEN_TREE_CLONE = 1;
const O_CLOEXEC = 0o2000000;
const AT_RECURSIVE = 0x8000;
const MNT_DETACH = 2;

/** Longest run of kernel messages that is kept, and their number. */
const MESSAGE_SIZE = 4096;
const MAX_MESSAGES = 32;

/** A call of the mount API that failed, with what the kernel had to say. */
export class MountError extends ErrnoError {
  /** The kernel's messages, one a line, without level letters; empty when it said nothing. */
  readonly messages: string;

  /** Creates the error; the messages are added to the text. */
  constructor(syscall: string, errno: number, details: { what: string; messages: string[] }) {
    super(syscall, errno, details.what);
    this.messages = details.messages.join("\n");
    if (details.messages.length > 0) this.message += `: ${details.messages.join("; ")}`;
  }
}

registerErrorKind(MountError);

const message = addressable(MESSAGE_SIZE);

/** Takes the messages that wait at an fsopen(2) descriptor. */
function kernelMessages(fd: number): string[] {
  const symbols = libc();
  const messages: string[] = [];
  while (messages.length < MAX_MESSAGES) {
    const length = symbols.read(fd, addressOf(message), MESSAGE_SIZE);
    if (length <= 0) break; // ENODATA: no more; any other failure: they are only an extra
    const text = new TextDecoder().decode(message.subarray(0, length)).trim();
    messages.push(/^[ewi] /.test(text) ? text.slice(2) : text);
  }
  return messages;
}

/** A file system that is being configured (fsopen); becomes a detached mount. */
export class FsContext implements Disposable {
  readonly #fd: Fd;
  readonly #type: string;

  /**
   * Starts to configure a file system.
   *
   * @param type for example `erofs`
   * @throws {MountError} EPERM, ENODEV (not in this kernel), ENOSYS (older than 5.2)
   */
  constructor(type: string) {
    const number = libc().syscall(
      MOUNT_SYSCALL.fsopen,
      cPath(type),
      FSOPEN_CLOEXEC,
      0,
      0,
      0,
      0,
    );
    if (number < 0) throw new MountError("fsopen", errno(), { what: type, messages: [] });
    this.#fd = new Fd(number);
    this.#type = type;
  }

  #config(command: number, key: string | undefined, value: number, aux: number): void {
    const address = key === undefined ? 0 : cPath(key);
    const result = libc().syscall(
      MOUNT_SYSCALL.fsconfig,
      this.#fd.number,
      command,
      address,
      value,
      aux,
      0,
    );
    if (result >= 0) return;
    this.#fail("fsconfig", key ?? "create");
  }

  /** Throws for the call that just failed; errno is read before anything else. */
  #fail(syscall: string, what: string): never {
    const code = errno();
    throw new MountError(syscall, code, {
      what: `${this.#type} ${what}`,
      messages: kernelMessages(this.#fd.number),
    });
  }

  /** Sets an option without value. */
  setFlag(key: string): void {
    this.#config(FSCONFIG.SET_FLAG, key, 0, 0);
  }

  /** Sets an option to text or bytes. */
  setString(key: string, value: PathArg): void {
    this.#config(FSCONFIG.SET_STRING, key, cPath(value, 1), 0);
  }

  /** Sets an option to an open file. */
  setFd(key: string, fd: Fd | number): void {
    this.#config(FSCONFIG.SET_FD, key, 0, fdNumber(fd));
  }

  /** Makes the superblock. */
  create(): void {
    this.#config(FSCONFIG.CMD_CREATE, undefined, 0, 0);
  }

  /**
   * Makes a mount that is attached nowhere yet.
   *
   * @param attributes bits of {@linkcode MOUNT_ATTR}
   */
  mount(attributes = 0): Fd {
    const number = libc().syscall(
      MOUNT_SYSCALL.fsmount,
      this.#fd.number,
      FSMOUNT_CLOEXEC,
      attributes,
      0,
      0,
      0,
    );
    if (number < 0) this.#fail("fsmount", "mount");
    return new Fd(number);
  }

  /** Drops the context; mounts made from it stay. */
  [Symbol.dispose](): void {
    this.#fd.close();
  }
}

/** Attaches a detached mount at a place. */
export function moveMount(mount: Fd, dir: DirArg, path: PathArg): void {
  const result = libc().syscall_fd_fd(
    MOUNT_SYSCALL.move_mount,
    mount.number,
    cPath(""),
    dirNumber(dir),
    cPath(path, 1),
    MOVE_MOUNT_F_EMPTY_PATH,
    0,
  );
  check(result, "move_mount", path);
}

/** Attaches a detached mount on the directory that `target` is open on. */
export function moveMountOn(mount: Fd, target: Fd): void {
  const result = libc().syscall_fd_fd(
    MOUNT_SYSCALL.move_mount,
    mount.number,
    cPath(""),
    target.number,
    cPath("", 1),
    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
    0,
  );
  check(result, "move_mount");
}

/** A detached copy of the mounts at a place. */
export function cloneTree(dir: DirArg, path: PathArg, options: { recursive?: boolean } = {}): Fd {
  const flags = OPEN_TREE_CLONE | O_CLOEXEC | (options.recursive ? AT_RECURSIVE : 0) |
    (path.length === 0 ? AT.EMPTY_PATH : 0);
  const number = libc().syscall_fd(
    MOUNT_SYSCALL.open_tree,
    dirNumber(dir),
    cPath(path),
    flags,
    0,
    0,
    0,
  );
  return new Fd(check(number, "open_tree", path));
}

/** Offsets in `struct mount_attr` (linux/mount.h). */
export const MOUNT_ATTR_STRUCT = {
  set: [0, "u64"],
  clear: [8, "u64"],
  propagation: [16, "u64"],
  userns: [24, "u64"],
} as const;

/** Size of `struct mount_attr`. */
export const MOUNT_ATTR_SIZE = 32;

const attr = addressable(MOUNT_ATTR_SIZE);
const attrView = new DataView(attr.buffer);

/**
 * Changes attributes of a mount.
 *
 * @param options.set, options.clear bits of {@linkcode MOUNT_ATTR}
 * @param options.userns user namespace of an id-mapped mount; the mount must still be detached
 */
export function setMountAttributes(
  mount: Fd,
  options: { set?: number; clear?: number; userns?: Fd; recursive?: boolean },
): void {
  attr.fill(0);
  attrView.setBigUint64(MOUNT_ATTR_STRUCT.set[0], BigInt(options.set ?? 0), true);
  attrView.setBigUint64(MOUNT_ATTR_STRUCT.clear[0], BigInt(options.clear ?? 0), true);
  const userns = options.userns === undefined ? 0n : BigInt(options.userns.number);
  attrView.setBigUint64(MOUNT_ATTR_STRUCT.userns[0], userns, true);
  const result = libc().syscall(
    MOUNT_SYSCALL.mount_setattr,
    mount.number,
    cPath(""),
    AT.EMPTY_PATH | (options.recursive ? AT_RECURSIVE : 0),
    addressOf(attr),
    MOUNT_ATTR_SIZE,
    0,
  );
  check(result, "mount_setattr");
}

/**
 * Takes a mount down.
 *
 * @param options.detach take it out of sight now, and down when nobody uses it any more
 * @returns false when nothing is mounted there
 */
export function umount(path: PathArg, options: { detach?: boolean } = {}): boolean {
  if (libc().umount2(cPath(path), options.detach ? MNT_DETACH : 0) === 0) return true;
  const code = errno();
  if (code === errnoNumber("EINVAL")) return false;
  throw new ErrnoError("umount2", code, path);
}
