/**
 * The inputs of the benchmarks, made once and kept in the user's cache (on disk, 540 MB, and 7 GB while they are made):
 *
 * - `oci`: an OCI layout with a Debian root of three gzip layers, tag `bench`;
 * - `tree`: the same root as a directory;
 * - `big`: an OCI layout with a small layer and one that holds a single file of 3 GB, tag `big`;
 * - `files.dump`: a composefs dumpfile of 100,000 files.
 *
 * As a program: `deno run -A tests/bench/image.ts [--remake]` makes what is missing and prints
 * where it is and how big. Needs root, `debootstrap`, `umoci` and a Debian mirror.
 *
 * The packages of the three layers were chosen by trying until the image came near 390 MB in 11,800
 * entries of balanced layers, about what an ordinary service's image has: a minimal Debian
 * (debootstrap's minbase), an interpreter with its tools, and a last layer of an application that
 * also deletes and replaces files of the layers below. In November 2026 that gave 374 MB
 * uncompressed, 13,666 entries in layers of 118, 149 and 107 MB, and 9,545 new objects. Packages
 * change with Debian's point releases, so the figures printed are the ones to quote. umoci
 * compresses with gzip at its default level, 6.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a program that prints
import { cacheDir } from "../helpers/cache.ts";
import { exists } from "../helpers/exists.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir, unmountBelow } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { aptGet, cleanRoot, STEP_TIMEOUT } from "./debian_root.ts";
import { makeDumpfile } from "./dumpfile.ts";

const SUITE = "bookworm";
const LAYER_2 = ["ca-certificates", "git", "python3"];
const LAYER_3 = ["cpp-12", "libicu72", "ruby"];
/** Deleted in layer 3, so that it has whiteouts. */
const REMOVED = ["usr/share/doc", "usr/share/git-core/templates", "usr/share/common-licenses"];
/** Replaced in layer 3, so that it shadows files below. */
const CHANGED = ["etc/debian_version", "etc/bash.bashrc", "usr/bin/perl"];

const BIG_FILE_SIZE = 3 * 1024 ** 3;

/** Where the inputs are. */
export interface BenchInputs {
  /** OCI layout of three layers. */
  oci: string;
  /** Its tag. */
  tag: string;
  /** The same as a directory. */
  tree: string;
  /** OCI layout with a 3 GB file. */
  big: string;
  /** Its tag. */
  bigTag: string;
  /** Dumpfile of 100,000 files. */
  dumpfile: string;
}

function paths(): BenchInputs {
  const dir = cacheDir("bench");
  return {
    oci: `${dir}/oci`,
    tag: "bench",
    tree: `${dir}/tree`,
    big: `${dir}/big`,
    bigTag: "big",
    dumpfile: `${dir}/files.dump`,
  };
}

async function makeImage({ oci, tag, tree }: BenchInputs): Promise<void> {
  // Beside its place on the same disk, and renamed at the end: half an image is never used.
  using work = new TempDir({ dir: cacheDir("bench"), prefix: ".making-" });
  const [layout, bundle] = [work.join("oci"), work.join("bundle")];
  const root = `${bundle}/rootfs`;
  const umoci = (...args: string[]) => runOk([tool("umoci"), ...args], { timeout: STEP_TIMEOUT });
  const commit = async () => {
    await cleanRoot(root);
    await umoci("repack", "--refresh-bundle", "--image", `${layout}:${tag}`, bundle);
  };
  await umoci("init", "--layout", layout);
  await umoci("new", "--image", `${layout}:${tag}`);
  await umoci("unpack", "--image", `${layout}:${tag}`, bundle);

  console.log("layer 1: debootstrap");
  await runOk([tool("debootstrap"), "--variant=minbase", SUITE, root], { timeout: STEP_TIMEOUT });
  await commit();

  console.log(`layer 2: ${LAYER_2.join(" ")}`);
  await Deno.copyFile("/etc/resolv.conf", `${root}/etc/resolv.conf`);
  await aptGet(root, ["install", ...LAYER_2]);
  await commit();

  console.log(`layer 3: ${LAYER_3.join(" ")}, deletions, replacements`);
  await Deno.copyFile("/etc/resolv.conf", `${root}/etc/resolv.conf`);
  await aptGet(root, ["install", ...LAYER_3]);
  for (const path of REMOVED) {
    if (exists(`${root}/${path}`)) await Deno.remove(`${root}/${path}`, { recursive: true });
  }
  for (const path of CHANGED) {
    await Deno.writeTextFile(`${root}/${path}`, "\n# changed by the last layer\n", {
      append: true,
    });
  }
  await commit();
  await umoci("gc", "--layout", layout);
  await Deno.rename(root, tree);
  await Deno.rename(layout, oci);
}

/**
 * Writes a file that is neither a hole nor dear to compress: a random tile of 16 KiB, which gzip
 * finds again in its window, with a counter so that no two 4 KiB-aligned blocks of it are equal.
 */
export async function writeBigFile(path: string): Promise<void> {
  const tile = 16 * 1024;
  const buffer = new Uint8Array(64 * tile);
  crypto.getRandomValues(buffer.subarray(0, tile));
  for (let at = tile; at < buffer.length; at += tile) buffer.copyWithin(at, 0, tile);
  const counters = new DataView(buffer.buffer);
  using file = await Deno.create(path);
  for (let written = 0; written < BIG_FILE_SIZE; written += buffer.length) {
    for (let at = 0; at < buffer.length; at += 4096) counters.setUint32(at, (written + at) / 4096);
    for (let done = 0; done < buffer.length;) done += await file.write(buffer.subarray(done));
  }
}

async function makeBigImage({ big, bigTag }: BenchInputs): Promise<void> {
  using work = new TempDir({ dir: cacheDir("bench"), prefix: ".making-" });
  const layout = work.join("oci");
  const image = `${layout}:${bigTag}`;
  const umoci = (...args: string[]) => runOk([tool("umoci"), ...args], { timeout: STEP_TIMEOUT });
  console.log("an image with a 3 GB file");
  work.write("1/usr/small", "a file of the first layer, longer than what is kept inline in images");
  Deno.mkdirSync(work.join("2/usr"), { recursive: true });
  await writeBigFile(work.join("2/usr/big"));
  await umoci("init", "--layout", layout);
  await umoci("new", "--image", image);
  // Not `umoci insert`: its archives lack the padding after the last file.
  for (const layer of ["1", "2"]) {
    const archive = work.join(`${layer}.tar`);
    await runOk(["tar", "-C", work.join(layer), "-cf", archive, "usr"], { timeout: STEP_TIMEOUT });
    await umoci("raw", "add-layer", "--image", image, archive);
  }
  await umoci("gc", "--layout", layout);
  await Deno.rename(layout, big);
}

/**
 * Makes the inputs that are missing.
 *
 * @param options `remake` throws away those of an earlier run.
 * @returns Where they are.
 */
export async function benchInputs(options: { remake?: boolean } = {}): Promise<BenchInputs> {
  const inputs = paths();
  if (options.remake) {
    for (const path of [inputs.oci, inputs.tree, inputs.big, inputs.dumpfile]) {
      unmountBelow(path);
      if (exists(path)) await Deno.remove(path, { recursive: true });
    }
  }
  if (!exists(inputs.oci) || !exists(inputs.tree)) await makeImage(inputs);
  if (!exists(inputs.big)) await makeBigImage(inputs);
  if (!exists(inputs.dumpfile)) {
    const temporary = `${inputs.dumpfile}.${Deno.pid}`;
    await Deno.writeTextFile(temporary, makeDumpfile(100_000));
    await Deno.rename(temporary, inputs.dumpfile);
  }
  return inputs;
}

/** Sizes of the inputs as lines of text. */
async function describe(inputs: BenchInputs): Promise<string[]> {
  const script = (text: string) =>
    runOk(["sh", "-c", text], { timeout: STEP_TIMEOUT }).then(({ stdout }) => stdout.trim());
  const lines = [
    `${inputs.tree}: ${await script(`find ${inputs.tree} | wc -l`)} entries, ${await script(
      `du -sm --apparent-size ${inputs.tree} | cut -f1`,
    )} MiB`,
  ];
  for (const [layout, tag] of [[inputs.oci, inputs.tag], [inputs.big, inputs.bigTag]] as const) {
    const index = JSON.parse(await Deno.readTextFile(`${layout}/index.json`));
    const blob = (digest: string) => `${layout}/blobs/${digest.replace(":", "/")}`;
    const manifest = JSON.parse(await Deno.readTextFile(blob(index.manifests[0].digest)));
    lines.push(`${layout}, tag ${tag}:`);
    for (const layer of manifest.layers) {
      const counts = await script(
        `zcat ${blob(layer.digest)} | wc -c; tar -tzf ${blob(layer.digest)} | wc -l`,
      );
      const [bytes, entries] = counts.split("\n").map(Number);
      lines.push(
        `  layer ${layer.mediaType.split(".").at(-1)}: ${entries} entries, ` +
          `${(bytes! / 1e6).toFixed(1)} MB, compressed ${(layer.size / 1e6).toFixed(1)} MB`,
      );
    }
  }
  const dump = await Deno.stat(inputs.dumpfile);
  lines.push(`${inputs.dumpfile}: ${(dump.size / 1e6).toFixed(1)} MB`);
  return lines;
}

if (import.meta.main) {
  const inputs = await benchInputs({ remake: Deno.args.includes("--remake") });
  console.log((await describe(inputs)).join("\n"));
}
