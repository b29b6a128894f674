import assert from "node:assert/strict";
import type { HashName } from "../../lib/base/mod.ts";
import { checkImages, openImageRef } from "../../lib/oci/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { needFileSystem, needRoot, needTool, testWith } from "../helpers/needs.ts";
import { cfs, cfsOk, run, runOk, type RunResult } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { fixtureLayout, listing, newRepository, pull } from "../oci/_oci.ts";

loadNative();

const needs = [needTool("cfsctl")];

const SETTINGS = (["sha256", "sha512"] as const).flatMap((hash) =>
  ([0, 1, 2] as const).map((version) => ({ hash, version }))
);

/** Sources that both programs take: [area, name, tag in the repository]. */
const SOURCES = [
  ["basic", "basic", "basic"],
  ["sources", "img", "img"],
  ["sources", "zstd", "zstd"],
  ["sources", "art", "art"],
  ["layers", "xattr_filter", "xattrs"],
  ["layers", "devices", "devices"],
] as const;

/** One that the reference refuses next to the other artifact, which has the same empty config. */
const SECOND_ARTIFACT = ["sources", "artsub"] as const;

function cfsctl(path: string, ...args: string[]): Promise<RunResult> {
  const env = { RUST_BACKTRACE: "0", RUST_LIB_BACKTRACE: "0" };
  return run([tool("cfsctl"), "--repo", path, ...args], { env });
}

async function cfsctlOk(path: string, ...args: string[]): Promise<string> {
  return (await runOk([tool("cfsctl"), "--repo", path, ...args])).stdout;
}

async function layouts(dir: TempDir): Promise<string[]> {
  const paths: string[] = [];
  for (const [area, name] of SOURCES) paths.push(await fixtureLayout(area, name, dir));
  return paths;
}

/** A repository of ours with all sources in it. */
async function ours(
  path: string,
  options: { hash: HashName; version: 0 | 1 | 2; layouts: string[] },
): Promise<void> {
  using repository = newRepository(path, { hash: options.hash, erofsVersion: options.version });
  for (const [i, layout] of options.layouts.entries()) {
    await pull(repository, `oci:${layout}`, { name: SOURCES[i]![2] });
  }
  using dir = new TempDir();
  const about = await fixtureLayout(...SECOND_ARTIFACT, dir);
  if (options.layouts.length > 1) await pull(repository, `oci:${about}`, { name: "about" });
}

/** The same, made by the reference. */
async function theirs(
  path: string,
  options: { hash: HashName; version: 0 | 1 | 2; layouts: string[] },
): Promise<void> {
  await runOk([
    tool("cfsctl"),
    "--repo",
    path,
    "init",
    "--insecure",
    "--algorithm",
    `fsverity-${options.hash}-12`,
    "--erofs-version",
    `${options.version}`,
    path,
  ]);
  for (const [i, layout] of options.layouts.entries()) {
    await cfsctlOk(path, "oci", "pull", `oci:${layout}`, SOURCES[i]![2]);
  }
}

/** Commands that only look, for everything in a repository. */
function looks(path: string): string[][] {
  using repository = Repository.open(path);
  const commands = [["fsck"], ["oci", "fsck"], ["images"]];
  const layers = new Set<string>();
  for (const [, , name] of SOURCES) {
    const image = openImageRef(repository, name);
    commands.push(
      ["oci", "fsck", name],
      ["oci", "inspect", "--manifest", name],
      ["oci", "inspect", "--config", `@${image.manifestDigest}`],
    );
    if (image.config === undefined) continue;
    commands.push(["oci", "dump", name]);
    const versions = name === "basic" ? ["0", "1", "2"] : [];
    for (const version of versions) {
      commands.push(["--erofs-version", version, "oci", "compute-id", name]);
    }
    commands.push(["oci", "compute-id", "--xattrs", "keep-user-xattrs", name]);
    for (const id of image.layerIds) layers.add(id.toString());
  }
  for (const id of layers) {
    commands.push(
      ["oci", "layer", id],
      ["oci", "layer", "--json", id],
      ["oci", "layer", "--dumpfile", id],
    );
  }
  for (const { name } of Deno.readDirSync(`${path}/images`)) {
    if (/^[0-9a-f]+$/.test(name)) commands.push(["image-objects", name]);
  }
  commands.push(["oci", "inspect", "nope"], ["oci", "layer", "--json", `sha256:${"0".repeat(64)}`]);
  return commands;
}

/** Order and look may differ where the reference's own order is that of a hash map. */
function comparable(command: readonly string[], { stdout }: RunResult): string {
  return command[0] === "image-objects" ? stdout.split("\n").sort().join("\n") : stdout;
}

/** Both programs say the same about a repository. */
async function assertSameAnswers(path: string): Promise<void> {
  for (const command of looks(path)) {
    const [mine, other] = await Promise.all([
      cfs(["--repo", path, ...command]),
      cfsctl(path, ...command),
    ]);
    const shown = command.join(" ");
    assert.equal(mine.code, other.code, `${shown}: ${mine.stderr} ${other.stderr}`);
    assert.equal(comparable(command, mine), comparable(command, other), shown);
  }
  // Sorted by name in ours, in no order in the reference's.
  const images = async (result: Promise<RunResult>) =>
    (JSON.parse((await result).stdout).images as { name: string }[])
      .toSorted((a, b) => a.name < b.name ? -1 : 1);
  const args = ["oci", "images", "--json"];
  assert.deepEqual(
    await images(cfs(["--repo", path, ...args])),
    await images(cfsctl(path, ...args)),
  );
  for (const [, , name] of SOURCES) {
    const inspect = async (result: Promise<RunResult>) => JSON.parse((await result).stdout);
    assert.deepEqual(
      await inspect(cfs(["--repo", path, "oci", "inspect", name])),
      await inspect(cfsctl(path, "oci", "inspect", name)),
    );
  }
}

testWith({
  name: "both programs say the same about repositories of either",
  needs,
  async fn(t) {
    using dir = new TempDir();
    const sources = await layouts(dir);
    for (const { hash, version } of SETTINGS) {
      // The long list of questions once in either's and once with the other hash and format.
      const long = (path: string) =>
        hash === "sha256" ? version === 1 : version === 2 && path.includes("/ours-");
      await t.step(`${hash}, EROFS ${version}`, async () => {
        const paths = [dir.join(`ours-${hash}-${version}`)];
        await ours(paths[0]!, { hash, version, layouts: sources });
        if (version !== 0) {
          // The reference cannot pull in repositories of format 0 that it makes itself.
          paths.push(dir.join(`theirs-${hash}-${version}`));
          await theirs(paths[1]!, { hash, version, layouts: sources });
        }
        for (const path of paths) {
          if (long(path)) await assertSameAnswers(path);
          const dry = await cfsctlOk(path, "gc", "-n");
          // The first artifact's streams of config and manifest, which the second one replaced.
          if (path === paths[0]) assert.match(dry, /^Objects: 2 removed \(\d+ bytes\)$/m);
          const count = path === paths[0] ? 7 : 6;
          const checked = await cfsctlOk(path, "oci", "fsck");
          assert.ok(checked.includes(`oci images: ${count}/${count} ok\n`), checked);
          using repository = Repository.open(path);
          const report = await checkImages(repository, { deep: true });
          assert.deepEqual([report.errors, report.repo.errors], [[], []]);
        }
        if (version !== 0) {
          await withoutSecondArtifact(paths[0]!, sources[3]!);
          await assertSameObjects({ ours: paths[0]!, theirs: paths[1]! });
        }
        for (const path of paths) Deno.removeSync(path, { recursive: true });
      });
    }
  },
});

/** Documents' streams: the reference writes some references in no order. */
function documentStreams(path: string): Set<string> {
  const streams = new Set<string>();
  for (const { name } of Deno.readDirSync(`${path}/streams`)) {
    if (!/^oci-(config|manifest)-/.test(name)) continue;
    const target = Deno.readLinkSync(`${path}/streams/${name}`);
    streams.add(target.replace("../objects", ""));
  }
  return streams;
}

/** Removes what only ours stores: the second artifact and what the shared config has of it. */
async function withoutSecondArtifact(path: string, layout: string): Promise<void> {
  await cfsOk(["--repo", path, "oci", "untag", "about"]);
  await cfsOk(["--repo", path, "oci", "untag", "art"]);
  Deno.removeSync(`${path}/streams/refs/oci-referrers`, { recursive: true });
  await cfsOk(["--repo", path, "gc"]);
  using repository = Repository.open(path);
  await pull(repository, `oci:${layout}`, { name: "art" });
}

/** After collecting garbage both have the same objects, but for the streams of documents. */
async function assertSameObjects(paths: { ours: string; theirs: string }): Promise<void> {
  await cfsctlOk(paths.theirs, "gc");
  const objects = (path: string) => {
    const documents = documentStreams(path);
    return listing(`${path}/objects`).filter((line) => {
      const name = line.replace(/ \d+$/, "");
      return !documents.has(name) && !name.endsWith("/");
    });
  };
  assert.deepEqual(objects(paths.ours), objects(paths.theirs));
  const entries = (path: string) =>
    [...Deno.readDirSync(`${path}/streams`), ...Deno.readDirSync(`${path}/images`)]
      .map(({ name }) => name).sort();
  assert.deepEqual(entries(paths.ours), entries(paths.theirs));
  const layers = (path: string) =>
    listing(`${path}/streams`).filter((line) => line.includes("/oci-layer-"));
  assert.deepEqual(layers(paths.ours), layers(paths.theirs));
}

testWith({
  name: "each program continues in the other's repository",
  needs,
  async fn(t) {
    using dir = new TempDir();
    const sources = await layouts(dir);
    const image = `oci:${sources[1]}`;
    for (const version of [1, 2] as const) {
      const options = { hash: "sha256", version, layouts: sources } as const;
      await t.step(`the reference in ours, EROFS ${version}`, async () => {
        const path = dir.join(`ours-${version}`);
        await ours(path, options);
        const again = await cfsctlOk(path, "oci", "pull", image, "again");
        assert.match(again, /^objects {2}0 new \+ 0 already present objects; 0 B stored/m);
        await cfsctlOk(path, "oci", "tag", /sha256:\w{64}/.exec(again)![0], "tagged");
        await cfsctlOk(path, "oci", "untag", "img");
        await cfsctlOk(path, "gc");
        assert.match(
          (await cfsOk(["--repo", path, "oci", "fsck"])).stdout,
          /^oci images: 8\/8 ok$/m,
        );
      });
      await t.step(`ours in the reference's, EROFS ${version}`, async () => {
        const path = dir.join(`theirs-${version}`);
        await theirs(path, options);
        {
          using repository = Repository.open(path);
          const result = await pull(repository, image, { name: "again" });
          assert.equal(result.stats.layersPresent, 2);
          assert.equal(result.stats.objectsNew, 0);
          assert.equal(
            result.image,
            JSON.parse(await cfsctlOk(path, "oci", "inspect", "img")).composefs_erofs,
          );
          const artifact = await pull(repository, `oci:${sources[3]}`, { name: "more" });
          assert.equal(artifact.stats.layersPresent, 2);
        }
        await cfsOk(["--repo", path, "oci", "untag", "img"]);
        await cfsOk(["--repo", path, "gc"]);
        assert.match(await cfsctlOk(path, "oci", "fsck"), /^oci images: 7\/7 ok$/m);
        assert.match(await cfsctlOk(path, "fsck"), /^status: ok$/m);
      });
    }
  },
});

testWith({
  name: "the reference mounts images of ours",
  needs: [...needs, needRoot(), needFileSystem("erofs"), needFileSystem("overlay")],
  async fn(t) {
    // The reference cannot mount image files that are on tmpfs.
    using dir = new TempDir({ on: "disk" });
    const sources = await layouts(dir);
    Deno.mkdirSync(dir.join("mnt"));
    for (const { hash, version } of SETTINGS) {
      await t.step(`${hash}, EROFS ${version}`, async () => {
        const path = dir.join(`${hash}-${version}`);
        await ours(path, { hash, version, layouts: sources.slice(0, 1) });
        await cfsctlOk(path, "oci", "mount", "basic", dir.join("mnt"));
        try {
          assertBasic(dir.join("mnt"));
        } finally {
          await runOk(["umount", dir.join("mnt")]);
        }
      });
    }
  },
});

testWith({
  name: "ours mounts images of the reference",
  needs: [...needs, needRoot(), needFileSystem("erofs"), needFileSystem("overlay")],
  async fn(t) {
    using dir = new TempDir({ on: "disk" });
    const sources = await layouts(dir);
    Deno.mkdirSync(dir.join("mnt"));
    for (const { hash, version } of SETTINGS) {
      if (version === 0) continue; // the reference makes none
      await t.step(`${hash}, EROFS ${version}`, async () => {
        const path = dir.join(`${hash}-${version}`);
        await theirs(path, { hash, version, layouts: sources.slice(0, 1) });
        await cfsOk(["--repo", path, "oci", "mount", "basic", dir.join("mnt")]);
        try {
          assertBasic(dir.join("mnt"));
        } finally {
          await cfsOk(["umount", dir.join("mnt")]);
        }
        assert.deepEqual([...Deno.readDirSync(dir.join("mnt"))], []);
      });
    }
  },
});

/** The files of the basic image, seen through a mount. */
function assertBasic(mountpoint: string): void {
  const read = (name: string) => Deno.readTextFileSync(`${mountpoint}/${name}`);
  assert.equal(read("etc/hostname"), "testhost\n");
  assert.equal(read("usr/bin/hello"), "#!/bin/sh\necho hello\n");
  assert.equal(read("usr/s64"), "A".repeat(64));
  assert.equal(read("usr/s65").length, 65);
  assert.equal(read("usr/big").length, 4352);
  assert.equal(read("usr/big2"), read("usr/big"));
  assert.equal(Deno.readLinkSync(`${mountpoint}/usr/lib64`), "lib");
  assert.equal(Deno.statSync(`${mountpoint}/usr/big`).nlink, 2);
}
