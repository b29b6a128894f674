/**
 * The inputs of the OSTree benchmarks, made once from the tree of `image.ts` and kept in the user's
 * cache (on disk, 600 MB): archive repositories with the refs
 *
 * - `first`: the tree, without its devices;
 * - `next`: its child, in which every 33rd regular file has a line more; a static delta leads there;
 * - `big` (in a repository of its own): a small tree with one file of 3 GB.
 *
 * @module
 */
import { cacheDir } from "../helpers/cache.ts";
import { exists } from "../helpers/exists.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { benchInputs, writeBigFile } from "./image.ts";

/** Every so-manieth file changes: 3 %. */
const CHANGED_EVERY = 33;
const MINUTES = 60_000;

/** Where the repositories are. */
export interface OstreeInputs {
  /** Archive repository with the refs `first` and `next`, and a delta between them. */
  archive: string;
  /** The commit of `first` in bare-user form. */
  bareUser: string;
  /** Archive repository with the ref `big`. */
  big: string;
}

async function ostree(repository: string, ...args: string[]): Promise<string> {
  const command = [tool("ostree"), `--repo=${repository}`, ...args];
  return (await runOk(command, { timeout: 20 * MINUTES })).stdout.trim();
}

async function commit(repository: string, tree: string, options: string[]): Promise<string> {
  return await ostree(
    repository,
    ...["commit", "--no-xattrs", "--timestamp=2024-01-02 03:04:05 +0000", ...options],
    `--tree=dir=${tree}`,
  );
}

/** Adds a line to every so-manieth regular file, in the order of names. */
async function change(tree: string): Promise<void> {
  const { stdout } = await runOk(["find", tree, "-type", "f", "-size", "-4096k"]);
  const files = stdout.trim().split("\n").sort();
  for (let i = 0; i < files.length; i += CHANGED_EVERY) {
    await Deno.writeTextFile(files[i]!, `\nchanged ${i}\n`, { append: true });
  }
}

async function makeRepositories(work: TempDir): Promise<void> {
  const { tree } = await benchInputs();
  const copy = work.join("tree");
  await runOk(["cp", "-a", tree, copy], { timeout: 5 * MINUTES });
  await runOk(["find", copy, "!", "-type", "f", "!", "-type", "d", "!", "-type", "l", "-delete"]);
  const archive = work.join("archive");
  await ostree(archive, "init", "--mode=archive");
  const first = await commit(archive, copy, ["--branch=first"]);
  await change(copy);
  const next = await commit(archive, copy, ["--branch=next", `--parent=${first}`]);
  await ostree(archive, "static-delta", "generate", `--from=${first}`, `--to=${next}`);
  await ostree(archive, "summary", "--update");
  const bareUser = work.join("bare-user");
  await ostree(bareUser, "init", "--mode=bare-user");
  await ostree(bareUser, "pull-local", archive, "first");
  await Deno.remove(copy, { recursive: true });
}

async function makeBig(work: TempDir): Promise<void> {
  const tree = work.join("tree");
  await Deno.mkdir(tree);
  await Deno.writeTextFile(`${tree}/small`, "small\n".repeat(100));
  await writeBigFile(`${tree}/big`);
  const repository = work.join("big");
  await ostree(repository, "init", "--mode=archive");
  await ostree(repository, "config", "set", "archive.zlib-level", "1");
  await commit(repository, tree, ["--branch=big"]);
  await ostree(repository, "summary", "--update");
  await Deno.remove(tree, { recursive: true });
}

/**
 * Makes the repositories that are missing.
 *
 * @returns Where they are.
 */
export async function ostreeInputs(): Promise<OstreeInputs> {
  const dir = cacheDir("bench-ostree");
  const kinds: [string, (work: TempDir) => Promise<void>][] = [
    ["two", makeRepositories],
    ["one", makeBig],
  ];
  for (const [name, make] of kinds) {
    if (exists(`${dir}/${name}`)) continue;
    // Beside its place on the same disk, and renamed at the end: half of one is never used.
    using work = new TempDir({ dir, prefix: ".making-" });
    await make(work);
    await Deno.rename(work.path, `${dir}/${name}`);
  }
  return {
    archive: `${dir}/two/archive`,
    bareUser: `${dir}/two/bare-user`,
    big: `${dir}/one/big`,
  };
}
