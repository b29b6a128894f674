/**
 * What costs bytes instead of time: what a partial pull moves, what a delta needs on disk while it
 * is applied, how large deltas are.
 *
 * `deno run -A tests/bench/bytes.ts [ROW…]` prints a line for each figure with its aim; rows are
 * chosen by a part of their title. Needs `docker-registry` and `skopeo`. Inputs are made on first
 * use, which takes some minutes (see `image.ts`, `next_image.ts`, `chunked_image.ts`). The figures
 * are the same on every machine, whatever else it does. Exits with 1 when one misses its aim.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a program that prints
import { expectedDeltas, newImage, oldImage } from "../delta/_delta.ts";
import { FaultProxy } from "../helpers/fault_proxy.ts";
import { TestRegistry } from "../helpers/registry.ts";
import { cfsCommand, cfsOk, ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { chunkedImages } from "./chunked_image.ts";
import { benchInputs } from "./image.ts";
import { deltaPath, makeDelta } from "./next_image.ts";

/** Time for what makes its inputs first, in milliseconds. */
const PATIENCE = 1_200_000;
/** Pause between two looks at what a process has on disk, in milliseconds. */
const LOOK = 5;
const BLOCK = 512;
/** What file systems round files up to. */
const PAGE = 4096;

/** One figure: `bytes` are to be at most `aim` times `of` bytes. */
interface Figure {
  what: string;
  bytes: number;
  of: number;
  aim: number;
}

interface Descriptor {
  digest: string;
  size: number;
}

interface Manifest {
  config: Descriptor;
  layers: (Descriptor & { mediaType: string })[];
}

/** The only manifest of a layout. */
function onlyManifest(layout: string): { manifest: Manifest; size: number } {
  const index = JSON.parse(Deno.readTextFileSync(`${layout}/index.json`));
  const { digest, size } = index.manifests[0] as Descriptor;
  const path = `${layout}/blobs/${digest.replace(":", "/")}`;
  return { manifest: JSON.parse(Deno.readTextFileSync(path)), size };
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total + size, 0);
}

const TYPE_TAR_DIFF = "application/vnd.tar-diff";
const PLAIN_HTTP = ["--tls-verify=false", "--insecure-policy"];

async function newRepository(dir: TempDir, ...options: string[]): Promise<string> {
  const path = dir.join("repo");
  await cfsOk(["--repo", path, "init", "--insecure", ...options]);
  return path;
}

/** What a registry sends for an image of which one file in ten is new. */
async function partialPull(): Promise<Figure[]> {
  const { old, next } = await chunkedImages();
  await using registry = await TestRegistry.start();
  await registry.push(`oci:${old}`, "bench:old", ["--preserve-digests"]);
  await registry.push(`oci:${next}`, "bench:next", ["--preserve-digests"]);
  const { manifest, size } = onlyManifest(next);
  const of = size + sum([manifest.config, ...manifest.layers].map((each) => each.size));
  const figures: Figure[] = [];
  for (const partial of ["auto", "off"]) {
    using dir = new TempDir({ prefix: "cfs-bench-" });
    const repo = await newRepository(dir);
    const pull = (...args: string[]) =>
      cfsOk(["--repo", repo, "oci", "pull", ...PLAIN_HTTP, ...args], { timeout: PATIENCE });
    await pull("--partial", partial, `docker://${registry.host}/bench:old`, "old");
    await using proxy = new FaultProxy(registry.host);
    await pull(`docker://${proxy.host}/bench:next`, "next");
    const what = `old image pulled ${partial === "off" ? "as whole blobs" : "in parts"}`;
    figures.push({ what, bytes: proxy.sent, of, aim: 0.15 });
  }
  return figures;
}

/** Bytes on disk that a process holds beside the objects of a repository, with or without a name. */
function heldBytes(pid: number, repo: string): number {
  const downloads = `${repo}/downloads`;
  const seen = new Map<string, number>();
  const add = (path: string) => {
    const { dev, ino, blocks, isFile } = Deno.statSync(path);
    if (isFile) seen.set(`${dev}:${ino}`, (blocks ?? 0) * BLOCK);
  };
  const tolerant = (look: () => void) => {
    try {
      look();
    } catch (error) {
      // Files and processes go while they are looked at.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  };
  tolerant(() => {
    for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
      tolerant(() => {
        const path = `/proc/${pid}/fd/${name}`;
        const file = Deno.readLinkSync(path);
        // Objects are written without a name, and get it when they are whole.
        if (file.endsWith(" (deleted)") && !file.startsWith(`${repo}/objects/`)) add(path);
      });
    }
  });
  tolerant(() => {
    for (const { name } of Deno.readDirSync(downloads)) tolerant(() => add(`${downloads}/${name}`));
  });
  return sum([...seen.values()]);
}

/** Most that applying a delta from a registry holds on disk beside what the repository keeps. */
async function deltaDisk(): Promise<Figure[]> {
  const { oci, tag } = await benchInputs();
  await makeDelta();
  const { manifest } = onlyManifest(deltaPath());
  const blobs = manifest.layers.filter(({ mediaType }) => mediaType === TYPE_TAR_DIFF)
    .map(({ size }) => Math.ceil(size / PAGE) * PAGE).sort((a, b) => b - a);
  await using registry = await TestRegistry.start();
  await registry.push(`oci:${deltaPath()}`, "bench:delta", ["--preserve-digests"]);
  using dir = new TempDir({ prefix: "cfs-bench-" });
  const repo = await newRepository(dir);
  await cfsOk(["--repo", repo, "oci", "pull", `oci:${oci}:${tag}`, "old"], { timeout: PATIENCE });
  const [program, ...args] = cfsCommand([
    ...["--repo", repo, "oci", "pull", ...PLAIN_HTTP],
    ...[`docker://${registry.host}/bench:delta`, "next"],
  ]);
  const child = new Deno.Command(program!, { args, stdin: "null", stdout: "null" }).spawn();
  let [held, done] = [0, false];
  const status = child.status.finally(() => done = true);
  while (!done) {
    held = Math.max(held, heldBytes(child.pid, repo));
    await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
  if (!(await status).success) throw new Error("The delta could not be applied");
  const what = `the two largest of ${blobs.length} delta blobs`;
  return [{ what, bytes: held, of: sum(blobs.slice(0, 2)), aim: 1 }];
}

/** Our deltas between the images of the fixtures beside those of the Go tool. */
async function deltaSizes(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const [name, row] of Object.entries(expectedDeltas())) {
    if (row.tar_diffs === undefined || name === "main-redhat-type") continue;
    using dir = new TempDir();
    const images = [oldImage(name), newImage(name)].map((image) =>
      `oci-archive:${ROOT}fixtures/oci/delta/${image}.oci.tar`
    );
    const out = `oci-archive:${dir.join("delta.tar")}`;
    // As theirs, it is for their own tool: the reference's bugs need not be worked around.
    const create = ["oci", "delta", "create", "--json", "--target-compat", "oci-delta"];
    const made = await cfsOk([...create, "--platform", "linux/amd64", ...images, out]);
    const { size: bytes, layer_size } = JSON.parse(made.stdout);
    const theirs = sum(row.tar_diffs.map(({ size }) => size));
    figures.push(
      UNSOUND.test(name)
        ? { what: `${name}, beside its layers`, bytes, of: layer_size, aim: 1 }
        : { what: name, bytes, of: theirs, aim: 1 },
    );
  }
  return figures;
}

/**
 * Pairs for which the Go tool takes content from files that the old image does not have (they are
 * deleted or replaced in its later layers), or gives the layer up: no delta that applies to the old
 * image can be as small.
 */
const UNSOUND = /^gen-(whdir|replaced_by_.*|parent_replaced|zstd_fallback)$/;

const ROWS: Record<string, () => Promise<Figure[]>> = {
  "partial pull": partialPull,
  "delta apply, disk": deltaDisk,
  "delta create, fixtures": deltaSizes,
};

if (import.meta.main) {
  const chosen = Object.entries(ROWS).filter(([title]) =>
    Deno.args.length === 0 || Deno.args.some((word) => title.includes(word))
  );
  for (const [title, measure] of chosen) {
    for (const { what, bytes, of, aim } of await measure()) {
      const ratio = bytes / of;
      const missed = ratio > aim ? "  missed" : "";
      console.log(
        `${title}: ${what}: ${bytes} of ${of} bytes, ${
          ratio.toFixed(3)
        } × (aim ≤ ${aim} ×)${missed}`,
      );
      if (missed) Deno.exitCode = 1;
    }
  }
  if (chosen.length === 0) throw new TypeError("No such row");
}
