/** Mounting an image of a repository, for the commands that do (spec: boot-and-mount 4). */
import { type ObjectId, UnsupportedError, withContext } from "../lib/base/mod.ts";
import { mountComposefs } from "../lib/mount/mod.ts";
import type { Repository } from "../lib/repository/mod.ts";
import { type Fd, O, openPath } from "../ffi/mod.ts";
import { type CommandUnknownOpts, Option } from "./commander.ts";
import { missingArguments } from "./usage.ts";

/** The options that commands which mount share. */
export interface MountFlags {
  /** `--fuse`. */
  fuse?: "auto" | "yes" | "no";
  /** `--upperdir`. */
  upperdir?: string;
  /** `--workdir`. */
  workdir?: string;
  /** `--read-write`. */
  readWrite?: true;
}

/**
 * Declares the options that commands which mount share.
 *
 * @param command The command.
 */
export function addMountOptions(command: CommandUnknownOpts): void {
  command
    .addOption(
      new Option("--fuse <FUSE>", "auto (default) and no: by the kernel; yes: not supported yet")
        .choices(["auto", "yes", "no"]),
    )
    .option("--foreground", "Has no effect on mounts by the kernel")
    .option("--upperdir <UPPERDIR>", "Writable upper layer directory for overlayfs")
    .option("--workdir <WORKDIR>", "Work directory for overlayfs (required with --upperdir)")
    .option("--read-write", "Mount read-write (requires --upperdir)");
}

/**
 * Checks what the parser cannot: options that need each other.
 *
 * @param flags The options.
 * @throws {UsageError} naming what is missing
 */
export function checkMountFlags(flags: MountFlags): void {
  const missing: string[] = [];
  const wanted = flags.readWrite || flags.upperdir !== undefined || flags.workdir !== undefined;
  if (wanted && flags.workdir === undefined) missing.push("--workdir <WORKDIR>");
  if (wanted && flags.upperdir === undefined) missing.push("--upperdir <UPPERDIR>");
  if (missing.length > 0) throw missingArguments(missing);
  if (flags.fuse === "yes") throw new UnsupportedError("FUSE mounts are not supported yet");
}

function openLayer(path: string, what: string): Fd {
  try {
    return openPath(path, { flags: O.PATH | O.DIRECTORY });
  } catch (cause) {
    throw withContext(`Opening ${what} ${path}`, cause);
  }
}

/** What to mount where. */
export interface MountRequest {
  /** The image. */
  id: ObjectId;
  /** Name for mount tables. */
  name: string;
  /** An existing directory. */
  mountpoint: string;
  /** Layers and mode. */
  flags: MountFlags;
}

/**
 * Mounts an image. Whether files must have fs-verity is a property of the repository.
 *
 * @param repository Where it is.
 * @param request What and where.
 * @throws {ComposefsError} with the reason, and the kernel's messages where there are some
 */
export async function mountImage(repository: Repository, request: MountRequest): Promise<void> {
  const { upperdir, workdir } = request.flags;
  using stack = new DisposableStack();
  const upper = upperdir === undefined ? undefined : stack.use(openLayer(upperdir, "upperdir"));
  const work = workdir === undefined ? undefined : stack.use(openLayer(workdir, "workdir"));
  const image = stack.use(repository.objects.openVerified(request.id));
  await mountComposefs({
    image,
    imagePath: `${repository.path}/images/${request.id}`,
    objects: [repository.objects.makeDirectory()],
    name: request.name,
    verity: repository.secure ? "required" : "disabled",
    mountpoint: request.mountpoint,
    readWrite: request.flags.readWrite ?? false,
    ...(upper === undefined ? {} : { upper }),
    ...(work === undefined ? {} : { work }),
  });
}
