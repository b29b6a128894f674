/**
 * What making a delta costs, and how large it is beside `zstd --patch-from`, which has the whole old
 * tars to refer to.
 *
 * `deno run -A tests/bench/delta_create.ts` makes two images on first use and keeps them in the
 * cache (420 MB): a Debian root from `bookworm` alone, and the same after an upgrade to what
 * `bookworm-security` has by then, each as one gzip layer in tar's order of names, as images that are
 * built anew are. Needs root, `debootstrap`, `umoci`, `zstd` and a Debian mirror. Prints the figures,
 * and exits with 1 when one misses its aim: size ≤ 1.05 × zstd's, ≤ 60 s on two idle cores, ≤ 1 GB.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a program that prints
import { cacheDir } from "../helpers/cache.ts";
import { exists } from "../helpers/exists.ts";
import { cfsCommand, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { compare } from "./compare.ts";
import { aptGet, cleanRoot, STEP_TIMEOUT } from "./debian_root.ts";

const SUITE = "bookworm";
const MIRROR = "http://deb.debian.org";
const PACKAGES = "git python3 cpp-12 libicu72 ruby openssl curl systemd".split(" ");
/** Greatest size beside that of zstd, seconds, MiB. */
const AIMS = { size: 1.05, wall: 60, rssMiB: 1024 };

/** Two versions of one image. */
export interface UpgradeInputs {
  /** OCI layout with the tags `old` and `new`. */
  oci: string;
  /** The layers' tars. */
  tars: { old: string; new: string };
}

/** One step of the root's life; nothing of it stays that images seldom ship. */
async function apt(root: string, args: readonly string[]): Promise<void> {
  await aptGet(root, args);
  await cleanRoot(root);
}

async function makeUpgrade({ oci, tars }: UpgradeInputs): Promise<void> {
  using work = new TempDir({ dir: cacheDir("bench"), prefix: ".upgrade-" });
  const root = work.join("root");
  const layout = work.join("oci");
  const sources = `${root}/etc/apt/sources.list`;
  const umoci = (...args: string[]) => runOk([tool("umoci"), ...args], { timeout: STEP_TIMEOUT });
  const pack = async (version: "old" | "new") => {
    console.log(`packing the ${version} root`);
    const names = [...Deno.readDirSync(root)].map(({ name }) => name).sort();
    const path = work.join(`${version}.tar`);
    await runOk([
      "tar",
      ...["-C", root, "--numeric-owner", "--sort=name", "-cf", path],
      ...names,
    ], { timeout: STEP_TIMEOUT });
    await umoci("new", "--image", `${layout}:${version}`);
    await umoci("raw", "add-layer", "--image", `${layout}:${version}`, path);
  };
  await umoci("init", "--layout", layout);
  console.log("the old root: debootstrap and packages");
  await runOk([tool("debootstrap"), "--variant=minbase", SUITE, root, `${MIRROR}/debian`], {
    timeout: STEP_TIMEOUT,
  });
  await Deno.writeTextFile(sources, `deb ${MIRROR}/debian ${SUITE} main\n`);
  await apt(root, ["install", "ca-certificates", ...PACKAGES]);
  await pack("old");
  console.log("the new root: security updates");
  const security = `deb ${MIRROR}/debian-security ${SUITE}-security main\n`;
  await Deno.writeTextFile(sources, security, { append: true });
  await apt(root, ["dist-upgrade"]);
  await pack("new");
  await umoci("gc", "--layout", layout);
  for (const version of ["old", "new"] as const) {
    await Deno.rename(work.join(`${version}.tar`), tars[version]);
  }
  await Deno.rename(layout, oci);
}

/** Makes the two images, unless they are there. */
export async function upgradeInputs(): Promise<UpgradeInputs> {
  const dir = cacheDir("bench");
  const inputs = {
    oci: `${dir}/upgrade`,
    tars: { old: `${dir}/upgrade-old.tar`, new: `${dir}/upgrade-new.tar` },
  };
  if (!exists(inputs.oci)) await makeUpgrade(inputs);
  return inputs;
}

/** Size of what zstd makes, kept beside the inputs since it takes minutes. */
async function zstdSize({ tars }: UpgradeInputs): Promise<number> {
  const patch = `${tars.new}.patch`;
  if (!exists(patch)) {
    console.log("zstd --patch-from");
    await runOk([
      tool("zstd"),
      ...["-19", "--long=27", `--patch-from=${tars.old}`, tars.new, "-qfo", patch],
    ], { timeout: STEP_TIMEOUT });
  }
  return Deno.statSync(patch).size;
}

async function main(): Promise<void> {
  const inputs = await upgradeInputs();
  const theirs = await zstdSize(inputs);
  const out = cacheDir("bench") + "/upgrade-delta.tar";
  const { sides } = await compare("oci delta create", [{
    name: "cfs",
    command: () =>
      cfsCommand([
        ...["oci", "delta", "create", `oci:${inputs.oci}:old`, `oci:${inputs.oci}:new`],
        `oci-archive:${out}`,
      ]),
  }], { runs: 1, warmUp: 0 });
  const info = await runOk(cfsCommand(["oci", "delta", "info", "--json", `oci-archive:${out}`]));
  const { size } = JSON.parse(info.stdout);
  const { median, rssMiB } = sides[0]!;
  const rows: [string, number, number][] = [
    ["size beside zstd -19 --long=27 --patch-from", size / theirs, AIMS.size],
    ["seconds", median / 1000, AIMS.wall],
    ["peak memory in MiB", rssMiB, AIMS.rssMiB],
  ];
  console.log(`delta ${size} bytes, zstd ${theirs} bytes`);
  for (const [what, figure, aim] of rows) {
    console.log(`${what}: ${figure.toFixed(2)} (aim ≤ ${aim})`);
    if (figure > aim) Deno.exitCode = 1;
  }
}

if (import.meta.main) await main();
