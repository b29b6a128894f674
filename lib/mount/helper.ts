import {
  type Algorithm,
  ALGORITHMS,
  ComposefsError,
  type ObjectId,
  withContext,
} from "../base/mod.ts";
import { type Fd, measureVerity, O, openNamespace, openPath } from "../../ffi/mod.ts";
import { attachMount, composeMount, openMountpoint } from "./mount.ts";
import { type HelperOptions, parseMountOptions } from "./options.ts";

/** A command line of `mount.composefs`. */
export interface HelperCommand {
  /** Whether help is wanted; the rest is then empty. */
  readonly help: boolean;
  /** Path of the image. */
  readonly image: string;
  /** Where to mount it. */
  readonly mountpoint: string;
  /** Options. */
  readonly options: HelperOptions;
  /** Check only, as `mount -f` asks for. */
  readonly fake: boolean;
}

const NO_OPTIONS: HelperOptions = {
  basedirs: [],
  digest: undefined,
  verity: "disabled",
  idmap: undefined,
  upperdir: undefined,
  workdir: undefined,
  readWrite: true,
  attributes: 0,
};

/** Usage of `mount.composefs`. */
export const HELPER_USAGE =
  `Usage: mount.composefs [-t TYPE] [-o OPTION[,OPTION...]] IMAGE MOUNTPOINT

Mount helper for composefs images.

Options (-o):
  basedir=PATH[:PATH...]   object directories (required)
  digest=HEX               fs-verity digest the image must have; implies verity
  verity, tryverity        require fs-verity of every file; try: only if the kernel can
  idmap=PATH               user namespace whose ids the files take
  upperdir=PATH,workdir=PATH
                           writable upper layer
  ro, rw, nosuid, nodev, noexec, noatime, relatime, nodiratime
`;

function fail(message: string): ComposefsError {
  return new ComposefsError("CFS_FAILED", message);
}

/**
 * Parses the arguments of `mount.composefs` (spec: boot and mount 3): options may come before and
 * after the operands, as mount(8) calls its helpers.
 *
 * @throws {ComposefsError} for wrong arguments and options
 */
export function parseMountCommand(args: readonly string[]): HelperCommand {
  const operands: string[] = [];
  let text: string | undefined;
  let type = "composefs";
  let fake = false;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") operands.push(...args.slice(i + 1));
    if (arg === "--") break;
    if (arg === "-h" || arg === "--help") {
      return { help: true, image: "", mountpoint: "", options: NO_OPTIONS, fake };
    }
    const flag = /^-([otN])(.*)$/s.exec(arg);
    if (flag !== null) {
      const value = flag[2] !== "" ? flag[2]! : args[++i];
      if (value === undefined) throw fail(`a value is required for '-${flag[1]}'`);
      if (flag[1] === "t") type = value;
      if (flag[1] === "o") {
        if (text !== undefined) {
          throw fail("the argument '-o <OPTIONS>' cannot be used multiple times");
        }
        text = value;
      }
    } else if (/^-[sfnv]+$/.test(arg)) fake ||= arg.includes("f");
    else if (arg.startsWith("-") && arg !== "-") throw fail(`unexpected argument '${arg}' found`);
    else operands.push(arg);
  }
  const [image, mountpoint, extra] = operands;
  if (image === undefined || mountpoint === undefined) {
    throw fail(`missing ${image === undefined ? "IMAGE and MOUNTPOINT" : "MOUNTPOINT"}`);
  }
  if (extra !== undefined) throw fail(`unexpected argument '${extra}' found`);
  if (type !== "composefs") throw fail(`Unsupported fs type '${type}'`);
  return { help: false, image, mountpoint, options: parseMountOptions(text ?? ""), fake };
}

function opened(message: string, open: () => Fd): Fd {
  try {
    return open();
  } catch (cause) {
    throw withContext(message, cause);
  }
}

/**
 * Does what `mount.composefs` does.
 *
 * @throws {ComposefsError} in the reference's words, with the reason as cause
 */
export async function runMountCommand(command: HelperCommand): Promise<void> {
  const { image, mountpoint, options } = command;
  using stack = new DisposableStack();
  const open = (message: string, path: string, flags: number) =>
    stack.use(opened(message, () => openPath(path, { flags })));
  const directory = O.RDONLY | O.DIRECTORY;
  const objects = options.basedirs.map((path) =>
    open(`Failed to open basedir ${path}`, path, directory)
  );
  const file = open(`Failed to open ${image}`, image, O.RDONLY);
  const layers: { upper?: Fd; work?: Fd } = {};
  if (options.upperdir !== undefined && options.workdir !== undefined) {
    const flags = O.PATH | O.DIRECTORY;
    layers.upper = open(`Failed to open upperdir ${options.upperdir}`, options.upperdir, flags);
    layers.work = open(`Failed to open workdir ${options.workdir}`, options.workdir, flags);
  }
  const { idmap } = options;
  const userns = idmap === undefined
    ? undefined
    : stack.use(opened(`Failed to open idmap ${idmap}`, () => openNamespace(idmap)));
  if (options.digest !== undefined) checkDigest(file, { image, digest: options.digest });
  const target = stack.use(openMountpoint(mountpoint));
  if (command.fake) return;
  let mount: Fd;
  try {
    mount = await composeMount({
      image: file,
      imagePath: image,
      objects,
      name: "composefs",
      verity: options.verity,
      readWrite: options.readWrite,
      attributes: options.attributes,
      ...layers,
      ...(userns === undefined ? {} : { idmap: userns }),
    });
  } catch (cause) {
    throw withContext(`Failed to mount composefs ${image}`, cause);
  }
  stack.use(mount);
  try {
    attachMount(mount, target);
  } catch (cause) {
    throw withContext(`Failed to mount at ${mountpoint}`, cause);
  }
}

/** Checks the fs-verity digest of the image that the kernel vouches for. */
function checkDigest(file: Fd, wanted: { image: string; digest: ObjectId }): void {
  const algorithm: Algorithm = wanted.digest.length === 64 ? ALGORITHMS.sha256 : ALGORITHMS.sha512;
  const failed = (reason: string) => fail(`Failed to mount composefs ${wanted.image}: ${reason}`);
  let measured: ReturnType<typeof measureVerity>;
  try {
    measured = measureVerity(file, algorithm);
  } catch (cause) {
    // Only a digest of another algorithm has this code; it is not the one asked for.
    if (cause instanceof ComposefsError && cause.code === "CFS_FORMAT") {
      throw failed("Image has wrong fs-verity");
    }
    throw withContext(`Failed to mount composefs ${wanted.image}`, cause);
  }
  if (measured === "missing") throw failed("Image has no fs-verity");
  if (measured === "unsupported") throw failed("fs-verity is not supported by filesystem");
  if (measured !== wanted.digest) throw failed("Image has wrong fs-verity");
}
