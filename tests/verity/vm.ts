/**
 * Runs a command in the virtual machine with real fs-verity: it sees this machine's files (writes
 * go through), is root, and has an ext4 file system with the verity feature of its own.
 *
 * As a program: `deno run -A tests/verity/vm.ts [--cwd DIR] [--size MIB] COMMAND ARGUMENT…` prints
 * the command's output and exits with its code.
 *
 * @module
 */
import { run, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { prepareMachine } from "./machine.ts";

/** The variable that names the verity file system's mount point to the command. */
export const VERITY_DIR = "CFS_VERITY_DIR";

/** How to run a command in the machine. */
export interface VmOptions {
  /** Working directory. @default the current one */
  cwd?: string;
  /** Variables to set for the command. */
  env?: Record<string, string>;
  /** Size of the verity file system in MiB. @default 1024 */
  sizeMiB?: number;
  /** Milliseconds for boot and command together. @default 300000 */
  timeout?: number;
}

/** What the command did. */
export interface VmResult {
  /** The command's exit code. */
  code: number;
  /** Its standard output. */
  stdout: string;
  /** Its standard error. */
  stderr: string;
  /** What the machine said on its console. */
  console: string;
  /** Milliseconds from power-on to power-off. */
  wall: number;
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/**
 * The script of a job. Deno's own cache gets a layer of its own: two kernels must not write one
 * SQLite file, and neither sees the other's locks. The compiled code in it is left out: where other
 * programs write it meanwhile, the machine would see pieces of two states, and run them.
 */
function script(command: readonly string[], job: string, options: VmOptions): string {
  const denoDir = Deno.env.get("DENO_DIR") ??
    `${Deno.env.get("XDG_CACHE_HOME") || `${Deno.env.get("HOME") ?? "/root"}/.cache`}/deno`;
  const env: Record<string, string> = {
    PATH: Deno.env.get("PATH") ?? "/usr/sbin:/usr/bin",
    HOME: Deno.env.get("HOME") ?? "/root",
    NO_COLOR: "1",
    [VERITY_DIR]: `${job}/disk`,
    ...options.env,
  };
  return [
    ...Object.entries(env).map(([name, value]) => `export ${name}=${quote(value)}`),
    `if [ -d ${quote(denoDir)} ]; then`,
    "  mkdir -p /dev/shm/deno/upper /dev/shm/deno/work",
    `  mount -t overlay -o lowerdir=${quote(denoDir)},upperdir=/dev/shm/deno/upper,` +
    `workdir=/dev/shm/deno/work deno ${quote(denoDir)}`,
    `  rm -f ${quote(denoDir)}/v8_code_cache_*`,
    "fi",
    `cd ${quote(options.cwd ?? Deno.cwd())} || exit 126`,
    `exec ${command.map(quote).join(" ")}`,
    "",
  ].join("\n");
}

/**
 * Boots the machine (about 7 s by emulation), runs a command in it and powers it off.
 *
 * @param command Program and arguments.
 * @param options Directory, environment and limits.
 * @returns Exit code and output.
 * @throws Error with the console's text when the machine did not get as far as the command.
 */
export async function runInVm(
  command: readonly string[],
  options: VmOptions = {},
): Promise<VmResult> {
  const { kernel, initramfs } = await prepareMachine();
  // Not on tmpfs: the machine has its own /dev/shm in place of ours.
  using job = new TempDir({ prefix: "cfs-vm-", on: "disk" });
  Deno.mkdirSync(job.join("disk"));
  const disk = job.write("disk.img", "");
  await Deno.truncate(disk, (options.sizeMiB ?? 1024) * 1024 * 1024);
  await runOk([tool("mkfs.ext4"), "-q", "-F", "-b", "4096", "-O", "verity", disk]);
  job.write("run.sh", script(command, job.path, options));
  const machine = await run([
    tool("qemu-system-x86_64"),
    ..."-accel tcg,thread=multi -cpu max -m 3G -smp 2 -nographic -no-reboot -nodefaults".split(" "),
    ..."-serial stdio -kernel".split(" "),
    kernel,
    "-initrd",
    initramfs,
    "-append",
    `console=ttyS0 quiet panic=-1 mitigations=off cfs.job=${job.path}`,
    "-virtfs",
    "local,path=/,mount_tag=host,security_model=none,multidevs=remap",
    "-drive",
    `file=${disk},format=raw,if=virtio,cache=unsafe`,
  ], { timeout: options.timeout ?? 300_000 });
  const console = machine.stdout + machine.stderr;
  const code = readIfThere(job.join("code"));
  if (code === undefined) {
    const reason = machine.timedOut ? "ran out of time" : `ended with ${machine.code}`;
    throw new Error(
      `The virtual machine ${reason} before the command was done:\n${console}` +
        `${readIfThere(job.join("stdout")) ?? ""}${readIfThere(job.join("stderr")) ?? ""}`,
    );
  }
  return {
    code: Number(code),
    stdout: readIfThere(job.join("stdout")) ?? "",
    stderr: readIfThere(job.join("stderr")) ?? "",
    console,
    wall: machine.wall,
  };
}

function readIfThere(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

if (import.meta.main) {
  const args = [...Deno.args];
  const options: VmOptions = { timeout: 3_600_000 };
  while (args[0] === "--cwd" || args[0] === "--size") {
    const [flag, value] = args.splice(0, 2);
    if (value === undefined) throw new TypeError(`${flag} needs a value`);
    if (flag === "--cwd") options.cwd = value;
    else options.sizeMiB = Number(value);
  }
  const result = await runInVm(args, options);
  await Deno.stdout.write(new TextEncoder().encode(result.stdout));
  await Deno.stderr.write(new TextEncoder().encode(result.stderr));
  Deno.exit(result.code);
}
