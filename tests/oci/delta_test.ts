import assert from "node:assert/strict";
import { NotFoundError, type ProgressEvent } from "../../lib/base/mod.ts";
import {
  checkImages,
  linkedImage,
  openImageRef,
  pullImage,
  type PullOptions,
} from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { type DeltaRow, expectedDeltas, FIXTURES, newImage, oldImage } from "../delta/_delta.ts";
import { loadNative } from "../helpers/native.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { AMD64, chain, fixtureLayout, isFault, names, newRepository } from "./_oci.ts";

loadNative();

/** Unpacks each fixture once. */
class Layouts {
  readonly #dir: TempDir;
  readonly #paths = new Map<string, string>();

  constructor(dir: TempDir) {
    this.#dir = dir;
  }

  async get(name: string): Promise<string> {
    const path = this.#paths.get(name) ?? `oci:${await fixtureLayout("delta", name, this.#dir)}`;
    this.#paths.set(name, path);
    return path;
  }
}

function pull(repository: Repository, reference: string, options: PullOptions = {}) {
  return pullImage(repository, reference, { platform: AMD64, jobs: 2, ...options });
}

/** All names with what they lead to, without the old image's and the tags. */
function streams(repository: Repository): string[] {
  return names(repository).filter((line) => !line.includes("/refs/"));
}

/** Deltas that must apply, although the reference refuses some. */
function isSound(name: string, row: DeltaRow): boolean {
  if (row.ref_stderr !== undefined) return true;
  return row.ref_exit_v2_repo === 0 || name === "hand-good_dot_path";
}

Deno.test("pullImage() applies every sound delta, as if the new image had been pulled", async (t) => {
  using dir = new TempDir();
  const layouts = new Layouts(dir);
  for (const [name, row] of Object.entries(expectedDeltas())) {
    if (!isSound(name, row)) continue;
    await t.step(name, async () => {
      const [old, fresh, delta] = await Promise.all(
        [oldImage(name), newImage(name), `${name}.delta`].map((each) => layouts.get(each)),
      ) as [string, string, string];
      using direct = newRepository(dir.join(`${name}.direct`), { extra: [2] });
      await pull(direct, old, { name: "old" });
      const target = await pull(direct, fresh, { name: "new" });
      using repository = newRepository(dir.join(`${name}.repo`), { extra: [2] });
      await pull(repository, old, { name: "old" });
      const warnings: string[] = [];
      const result = await pull(repository, delta, {
        name: "new",
        progress: (event: ProgressEvent) => {
          if (event.type === "warning") warnings.push(event.text);
        },
      });
      // The generator mislabels layers that it could not make smaller.
      if (name === "gen-zstd_fallback") {
        assert.match(warnings.join(), /^layer \S+ is zstd, its media type says gzip$/);
      } else assert.deepEqual(warnings, []);
      assert.equal(
        result.manifestDigest.toString(),
        row.target_manifest ?? target.manifestDigest.toString(),
      );
      assert.equal(
        result.configDigest.toString(),
        row.target_config ?? target.configDigest.toString(),
      );
      const { refs } = openImageRef(repository, "new").configStream;
      if (row.target_erofs_v1 !== undefined) {
        assert.equal(linkedImage(refs, 1), row.target_erofs_v1);
        assert.equal(linkedImage(refs, 2), row.target_erofs_v2);
      }
      assert.equal(linkedImage(refs, 1), target.image);
      // Everything, to the object ids of all streams, is as after a direct pull.
      assert.deepEqual(names(repository), names(direct));
      assert.deepEqual((await checkImages(repository, { deep: true })).errors, []);
    });
  }
});

Deno.test("deltas apply in repositories of each format and algorithm", async (t) => {
  using dir = new TempDir();
  const layouts = new Layouts(dir);
  for (const hash of ["sha256", "sha512"] as const) {
    for (const erofsVersion of [0, 1, 2] as const) {
      await t.step(`${hash}, format ${erofsVersion}`, async () => {
        const path = (kind: string) => dir.join(`${kind}-${hash}-${erofsVersion}`);
        using direct = newRepository(path("direct"), { hash, erofsVersion });
        using repository = newRepository(path("delta"), { hash, erofsVersion });
        for (const each of [direct, repository]) {
          await pull(each, await layouts.get("main-old"), { name: "old" });
        }
        const target = await pull(direct, await layouts.get("main-new"), { name: "new" });
        const result = await pull(repository, await layouts.get("main.delta"), { name: "new" });
        assert.equal(result.image, target.image);
        assert.equal(result.manifestStream, target.manifestStream);
        assert.deepEqual(names(repository), names(direct));
      });
    }
  }
});

Deno.test("a delta in an archive applies, whatever jobs there are", async (t) => {
  const row = expectedDeltas().main!;
  for (const jobs of [1, 2, 4]) {
    await t.step(`${jobs} jobs`, async () => {
      using dir = new TempDir();
      using repository = newRepository(dir.join("repo"));
      await pull(repository, `oci:${await fixtureLayout("delta", "main-old", dir)}`, { jobs });
      const archive = `oci-archive:${FIXTURES}main.delta.oci-archive.tar`;
      const result = await pull(repository, archive, { jobs });
      assert.equal(result.manifestDigest.toString(), row.target_manifest);
      assert.equal(result.image, row.target_erofs_v1);
      assert.equal(result.tag, archive);
    });
  }
});

Deno.test("a delta in an archive of any form applies", async (t) => {
  using dir = new TempDir();
  const layout = await fixtureLayout("delta", "main.delta", dir);
  const old = await fixtureLayout("delta", "main-old", dir);
  // GNU tar's ways to write the same: the names, what is in front of them, the records, the packing.
  const forms: Record<string, string[]> = {
    "names that begin with ./": ["-c", "."],
    "no directories": ["-c", "--no-recursion", ...blobPaths(layout)],
    "PAX records": ["-c", "--format=posix", "--pax-option=comment=long", "."],
    "gzip": ["-cz", "."],
    "zstd": ["-c", "--use-compress-program=zstd", "."],
    "the index last": ["-c", "oci-layout", "blobs", "index.json"],
  };
  for (const [name, args] of Object.entries(forms)) {
    await t.step(name, async () => {
      const archive = dir.join("archive.tar");
      await runOk(["tar", "-C", layout, `--file=${archive}`, ...args]);
      using repository = newRepository(dir.join(name.replaceAll(/\W/g, "_")));
      await pull(repository, `oci:${old}`, { name: "old" });
      const result = await pull(repository, `oci-archive:${archive}`, { name: "new" });
      assert.equal(result.manifestDigest.toString(), expectedDeltas().main!.target_manifest);
    });
  }
});

/** Files of a layout, relative to it. */
function blobPaths(layout: string): string[] {
  const blobs = [...Deno.readDirSync(`${layout}/blobs/sha256`)].map(({ name }) => name).sort();
  return ["oci-layout", "index.json", ...blobs.map((name) => `blobs/sha256/${name}`)];
}

/** The end of the chain of messages; the reference's, where it is not said otherwise. */
function expectedFault(name: string, row: DeltaRow): string | RegExp {
  switch (name) {
    // It is no tar either, and that shows first when it is split as it comes.
    case "hand-diffid_mismatch":
      return ": unexpected EOF in tar stream";
    case "hand-empty_name":
      return ': Source file not found: : Invalid filename ""';
    case "hand-escape_path":
      return ': Source file not found: ../../etc/passwd: Invalid filename "../../etc/passwd"';
    case "hand-dotdot_path":
      return ': Source file not found: usr/../usr/src: Invalid filename "usr/../usr/src"';
    case "hand-name_4096":
      return /: Source file not found: a{4096}: Directory entry "a{4096}" does not exist$/;
    case "hand-add_past_eof":
      return ": Reading source data for AddData: Short read from data source: expected 4000, got 2048";
    // "failed to fill whole buffer" in the reference.
    case "hand-varint_trunc":
      return ": Unexpected end of file in a tar-diff operation";
    case "hand-empty_blob":
      return ": Unexpected end of file in the tar-diff header";
    // The decoder has more to say in the reference.
    case "hand-nonutf8_name":
      return ": Invalid UTF-8 in tar-diff filename";
    case "hand-bad_to":
    case "hand-bad_source_config":
      return /: Invalid (delta\.to|source config) digest: missing ':' in digest "\w+"$/;
    default:
      return row.ref_error_or_first_line!.split("|")
        .map((line) => line.replace(/^\s*\d: /, "").trim()).join(": ");
  }
}

Deno.test("pullImage() refuses deltas that are not sound, and registers nothing", async (t) => {
  using dir = new TempDir();
  const layouts = new Layouts(dir);
  const old = await layouts.get("hand-old");
  let refused = 0;
  for (const [name, row] of Object.entries(expectedDeltas())) {
    if (isSound(name, row)) continue;
    refused++;
    await t.step(name, async () => {
      using repository = newRepository(dir.join(`${name}.repo`));
      await pull(repository, old, { name: "old" });
      const before = names(repository);
      await assert.rejects(pull(repository, await layouts.get(`${name}.delta`)), (error) => {
        assert.ok(isFault(error));
        const expected = expectedFault(name, row);
        if (expected instanceof RegExp) assert.match(chain(error), expected);
        else assert.ok(chain(error).endsWith(expected), `${chain(error)}\n${expected}`);
        return true;
      });
      assert.deepEqual(names(repository), before);
      assert.ok((await repository.fsck()).ok);
    });
  }
  assert.equal(refused, 35);
});

Deno.test("a delta needs the image that it starts from, unless nothing is missing", async () => {
  using dir = new TempDir();
  const layouts = new Layouts(dir);
  using repository = newRepository(dir.join("repo"));
  const delta = await layouts.get("main.delta");
  await assert.rejects(pull(repository, delta), (error) => {
    assert.match(
      chain(error),
      /The delta is based on an image with config sha256:c62b2270\w+, but it is not present/,
    );
    return true;
  });
  assert.deepEqual(names(repository), []);
  // The target is there: all that is wanted is the tag.
  await pull(repository, await layouts.get("main-new"), { name: "new" });
  const result = await pull(repository, delta, { name: "again" });
  assert.equal(result.stats.layersPresent, 3);
  assert.equal(
    openImageRef(repository, "again").manifestDigest.toString(),
    `${result.manifestDigest}`,
  );
  assert.ok(streams(repository).length > 0);
});

Deno.test("layers that a delta reuses have to be there, and all that are not are named", async () => {
  using dir = new TempDir();
  const layouts = new Layouts(dir);
  using repository = newRepository(dir.join("repo"));
  await pull(repository, await layouts.get("main-old"), { name: "old" });
  const reused = "sha256:e3a8a2aed0d551cd0e124a1c8112b166f2fe3a5d0b0757d76f825cf0a1633086";
  Deno.removeSync(`${repository.path}/streams/oci-layer-${reused}`);
  await assert.rejects(pull(repository, await layouts.get("main.delta")), (error) => {
    assert.ok(chain(error).endsWith(`: Reused layer ${reused} not found`), chain(error));
    assert.ok((error as Error).cause instanceof NotFoundError);
    return true;
  });
});
