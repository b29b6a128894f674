/**
 * Builds the virtual machine in which fs-verity is real: a Debian kernel and an initramfs, kept in
 * the cache. Most kernels that tests run on are built without `CONFIG_FS_VERITY`; Debian's has it,
 * with file-backed EROFS and overlayfs' data-only layers and verity.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { exists } from "../helpers/exists.ts";
import { cacheDir } from "../helpers/cache.ts";
import { type Need, need, needTool } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { findTool, tool } from "../helpers/tool.ts";

/** A machine ready to boot. */
export interface Machine {
  /** Path of the kernel. */
  kernel: string;
  /** Path of the initramfs. */
  initramfs: string;
}

/** What to load before anything can be mounted; the modules these need come along. */
const MODULES = [
  "virtio_pci",
  "virtio_blk",
  "9pnet_virtio",
  "9p",
  "crc32c_generic",
  "ext4",
  "erofs",
  "overlay",
  "loop",
  "fuse",
];

const TOOLS = [
  "qemu-system-x86_64",
  "mkfs.ext4",
  "apt-get",
  "apt-cache",
  "dpkg-deb",
  "busybox",
  "depmod",
  "modprobe",
  "cpio",
  "xz",
];

/**
 * The first program of the machine. The job's directory comes by the kernel command line as
 * `cfs.job`; the exit code and the output go to files there, as the serial line is slow and mangles
 * line ends. `cache=loose` is needed for mmap and fast reads, so everything is synced at the end.
 */
const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /host
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order); do
  /bin/busybox insmod /modules/$module || echo "cannot load $module"
done
job=$(/bin/busybox sed -n 's/.*cfs\\.job=\\([^ ]*\\).*/\\1/p' /proc/cmdline)
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose host /host ||
  echo "cannot mount the host"
/bin/busybox mount --bind /dev /host/dev
/bin/busybox mkdir -p /host/dev/shm /host/dev/pts
/bin/busybox mount -t tmpfs -o mode=1777 shm /host/dev/shm
/bin/busybox mount -t devpts pts /host/dev/pts
/bin/busybox mount -t proc proc /host/proc
/bin/busybox mount -t sysfs sys /host/sys
/bin/busybox ip link set lo up
/bin/busybox mount -t ext4 /dev/vda /host$job/disk || echo "cannot mount the disk"
/bin/busybox chroot /host /bin/sh $job/run.sh >/host$job/stdout 2>/host$job/stderr </dev/null
echo $? >/host$job/code
/bin/busybox umount /host$job/disk
/bin/busybox sync
/bin/busybox poweroff -f
`;

/**
 * The newest 6.12 kernel package there is: 6.12 is the first that mounts EROFS from a file, and a
 * fixed series keeps the machine the same.
 */
async function findKernelPackage(): Promise<string | undefined> {
  if (findTool("apt-cache") === undefined) return undefined;
  const { stdout } = await runOk([
    tool("apt-cache"),
    "search",
    "--names-only",
    String.raw`^linux-image-6\.12\.[0-9]+\+deb[0-9]+-amd64$`,
  ]);
  const names = stdout.split("\n").flatMap((line) => line.split(" ")[0] || []);
  const patch = (name: string) => Number(/6\.12\.(\d+)/.exec(name)?.[1]);
  return names.sort((a, b) => patch(b) - patch(a))[0];
}

/** A machine made earlier, newest first: it serves when the package lists know no kernel. */
function findCached(): Machine | undefined {
  const root = cacheDir("verity-machine");
  const done = [...Deno.readDirSync(root)].filter((entry) =>
    entry.isDirectory && entry.name.endsWith(`-${RECIPE}`)
  ).map((entry) => entry.name).sort().at(-1);
  return done === undefined ? undefined : machineIn(`${root}/${done}`);
}

const RECIPE = createHash("sha256").update(INIT + MODULES.join()).digest("hex").slice(0, 12);

function machineIn(dir: string): Machine {
  return { kernel: `${dir}/vmlinuz`, initramfs: `${dir}/initramfs` };
}

/** What is needed to build and boot the machine. */
export async function machineNeeds(): Promise<Need[]> {
  return [
    need(Deno.build.arch === "x86_64", "an x86_64 machine"),
    need(Deno.uid() === 0, "root"),
    ...TOOLS.map(needTool),
    need(
      findCached() !== undefined || await findKernelPackage() !== undefined,
      "Debian's 6.12 kernel package (apt-get update)",
    ),
  ];
}

/**
 * The machine, built on first use (about 15 s and a download of 100 MB).
 *
 * @returns Kernel and initramfs in the cache.
 */
export async function prepareMachine(): Promise<Machine> {
  const cached = findCached();
  if (cached !== undefined) return cached;
  const name = await findKernelPackage();
  if (name === undefined) throw new Error("Cannot find a kernel package");
  const target = `${cacheDir("verity-machine")}/${name}-${RECIPE}`;
  // Made beside its place and renamed, so that a half-made machine is never taken for a whole one.
  using work = new TempDir({ prefix: ".making-", dir: cacheDir("verity-machine") });
  await runOk([tool("apt-get"), "download", name], { cwd: work.path, timeout: 300_000 });
  const deb = [...Deno.readDirSync(work.path)].find((entry) => entry.name.endsWith(".deb"));
  if (deb === undefined) throw new Error(`apt-get downloaded no package for "${name}"`);
  const tree = work.join("tree");
  await runOk(["dpkg-deb", "-x", work.join(deb.name), tree], { timeout: 300_000 });
  const version = name.slice("linux-image-".length);
  const done = work.join("done");
  Deno.mkdirSync(done);
  await makeInitramfs(tree, { version, output: `${done}/initramfs` });
  await Deno.copyFile(`${tree}/boot/vmlinuz-${version}`, `${done}/vmlinuz`);
  await Deno.rename(done, target);
  return machineIn(target);
}

/** Packs busybox, the modules in the order they must be loaded, and the first program. */
async function makeInitramfs(
  tree: string,
  { version, output }: { version: string; output: string },
): Promise<void> {
  // depmod looks below lib/modules; packages of merged-/usr systems have it below usr.
  if (!exists(`${tree}/lib`)) Deno.symlinkSync("usr/lib", `${tree}/lib`);
  await runOk([tool("depmod"), "-b", tree, version]);
  const { stdout } = await runOk([
    tool("modprobe"),
    "-d",
    tree,
    "-S",
    version,
    "--show-depends",
    "-a",
    ...MODULES,
  ]);
  const paths = [
    ...new Set(stdout.split("\n").flatMap((line) => /^insmod (\S+)/.exec(line)?.[1] ?? [])),
  ];
  const root = `${tree}/initramfs`;
  Deno.mkdirSync(`${root}/bin`, { recursive: true });
  Deno.mkdirSync(`${root}/modules`);
  await Deno.copyFile(tool("busybox"), `${root}/bin/busybox`);
  const order: string[] = [];
  for (const path of paths) {
    const file = path.slice(path.lastIndexOf("/") + 1).replace(/\.xz$/, "");
    const bytes = path.endsWith(".xz")
      ? (await runOk([tool("xz"), "-dc", path])).stdoutBytes
      : await Deno.readFile(path);
    await Deno.writeFile(`${root}/modules/${file}`, bytes);
    order.push(file);
  }
  await Deno.writeTextFile(`${root}/modules/order`, order.join("\n"));
  await Deno.writeTextFile(`${root}/init`, INIT, { mode: 0o755 });
  const { stdoutBytes } = await runOk([
    "sh",
    "-c",
    "find . -print0 | cpio --quiet --null -o -H newc | gzip -1",
  ], { cwd: root });
  await Deno.writeFile(output, stdoutBytes);
}
