/** What a check has found damaged is healed by the next pull of an image that uses it. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { existsSync } from "node:fs";
import { type ObjectId, objectPath, type ProgressEvent } from "../../lib/base/mod.ts";
import {
  checkImages,
  copyImage,
  layerObject,
  openImageRef,
  planPull,
  pullImage,
  type PullOptions,
  repairImage,
} from "../../lib/oci/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";
import { chunkedLayer } from "../helpers/chunked_layer.ts";
import { file, header, tar } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { run } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import {
  AMD64,
  fixtureLayout,
  LayoutMaker,
  listing,
  makeImage,
  newRepository,
  pull as pullHere,
  sha256,
  TYPE,
} from "./_oci.ts";

loadNative();

const ONE = "1".repeat(5000);
const LAYERS = [
  tar(header({ name: "usr/", type: "5", mode: 0o755 }), file("usr/one", ONE)),
  tar(file("usr/two", "2".repeat(3000)), file("usr/three", "3".repeat(100))),
];

function pathOf(repository: Repository, id: ObjectId): string {
  return `${repository.path}/objects/${objectPath(id)}`;
}

/** Changes a byte, in a file of its own: other repositories may share it. */
function flip(repository: Repository, id: ObjectId): void {
  const path = pathOf(repository, id);
  const bytes = Deno.readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  Deno.removeSync(path);
  Deno.writeFileSync(path, bytes);
}

function list(repository: Repository): string | undefined {
  const path = `${repository.path}/cfs-damage`;
  return existsSync(path) ? Deno.readTextFileSync(path) : undefined;
}

function idOf(repository: Repository, text: string): ObjectId {
  return repository.idOf(Buffer.concat([Buffer.from(text), Buffer.alloc(64)]).subarray(0, -64));
}

/** Pulls, and gives what the user is told; `layers` are those that were imported. */
async function pull(
  repository: Repository,
  reference: string,
  options: PullOptions = {},
): Promise<{ warnings: string[]; skipped: number; imported: number }> {
  const told = { warnings: [] as string[], skipped: 0, imported: 0 };
  await pullHere(repository, reference, {
    ...options,
    progress(event: ProgressEvent) {
      if (event.type === "warning") told.warnings.push(event.text);
      if (event.type === "skipped") told.skipped++;
      if (event.type === "done") told.imported++;
    },
  });
  return told;
}

async function assertSound(repository: Repository): Promise<void> {
  const report = await checkImages(repository, { deep: true, jobs: 1 });
  assert.deepEqual([report.errors, report.repo.errors], [[], []]);
}

const FOUND = "1 object of the image found damaged; layers with damage are taken once more";

Deno.test("pullImage() once more heals what fsck has found, whatever it is", async (t) => {
  using dir = new TempDir();
  const reference = makeImage(dir.join("layout"), { layers: LAYERS });
  for (const hash of ["sha256", "sha512"] as const) {
    using repository = newRepository(dir.join(hash), { hash });
    await pull(repository, reference);
    const before = listing(repository.path);
    for (const id of [...repository.objects.list()]) {
      await t.step(`${hash} ${id.slice(0, 8)}`, async () => {
        const bytes = Deno.readFileSync(pathOf(repository, id));
        flip(repository, id);
        assert.equal((await repository.fsck({ jobs: 1 })).objects_corrupted, 1);
        assert.equal(list(repository), `cfs-damage 1\n${id}\n`);
        await pull(repository, reference);
        assert.deepEqual(Deno.readFileSync(pathOf(repository, id)), bytes);
        assert.equal(list(repository), undefined);
        assert.deepEqual(listing(repository.path), before);
      });
    }
    await assertSound(repository);
  }
});

Deno.test("a pull takes once more the layers with damage and no others, and says so", async () => {
  using dir = new TempDir();
  const reference = makeImage(dir.join("layout"), { layers: LAYERS });
  using repository = newRepository(dir.join("repo"));
  await pull(repository, reference);
  const id = idOf(repository, ONE);
  flip(repository, id);
  // What nobody has found is not looked for: that would make every pull slow.
  assert.deepEqual(await pull(repository, reference), { warnings: [], skipped: 2, imported: 0 });
  await repository.fsck({ jobs: 1 });
  const plan = await planPull(repository, reference, { platform: AMD64 });
  assert.deepEqual([plan.complete, plan.way, plan.full?.blobs], [false, "full", 1]);
  assert.deepEqual(plan.layers.map(({ present }) => present), [false, true]);
  assert.equal(list(repository), `cfs-damage 1\n${id}\n`);
  const told = await pull(repository, reference);
  assert.deepEqual(told.warnings, [FOUND, `repaired damaged object ${id}`]);
  assert.deepEqual([told.skipped, told.imported], [1, 1]);
  assert.equal(list(repository), undefined);
  assert.equal((await planPull(repository, reference, { platform: AMD64 })).complete, true);
  assert.deepEqual(await pull(repository, reference), { warnings: [], skipped: 2, imported: 0 });
});

Deno.test("another image heals the layers and files that it shares", async (t) => {
  using dir = new TempDir();
  const first = makeImage(dir.join("first"), { layers: LAYERS });
  const others: Record<string, Uint8Array[]> = {
    "a layer": [LAYERS[0]!, tar(file("usr/four", "4".repeat(2000)))],
    "a file": [tar(file("copy", ONE), file("small", "x")), tar(file("x", "4".repeat(2000)))],
  };
  for (const [name, layers] of Object.entries(others)) {
    await t.step(name, async () => {
      const other = makeImage(dir.join(`other ${name}`), { layers });
      for (const jobs of [1, 2]) {
        using repository = newRepository(dir.join(`${name} ${jobs}`));
        await pull(repository, first, { name: "first" });
        const id = idOf(repository, ONE);
        flip(repository, id);
        await repository.fsck({ jobs: 1 });
        const told = await pull(repository, other, { name: "other", jobs });
        assert.ok(told.warnings.includes(`repaired damaged object ${id}`), told.warnings.join());
        assert.equal(list(repository), undefined);
        await assertSound(repository);
      }
    });
  }
});

Deno.test("damage that an image does not use costs it nothing, and stays on the list", async () => {
  using dir = new TempDir();
  const first = makeImage(dir.join("first"), { layers: [LAYERS[0]!] });
  const other = makeImage(dir.join("other"), { layers: [LAYERS[1]!] });
  using repository = newRepository(dir.join("repo"));
  await pull(repository, first, { name: "first" });
  await pull(repository, other, { name: "other" });
  const id = idOf(repository, ONE);
  flip(repository, id);
  await repository.fsck({ jobs: 1 });
  assert.deepEqual(await pull(repository, other), { warnings: [], skipped: 1, imported: 0 });
  assert.equal(list(repository), `cfs-damage 1\n${id}\n`);
});

Deno.test("a pull that is killed after it has healed leaves a list that does no harm", async () => {
  using dir = new TempDir();
  const reference = makeImage(dir.join("layout"), { layers: LAYERS });
  using repository = newRepository(dir.join("repo"));
  await pull(repository, reference);
  flip(repository, idOf(repository, ONE));
  await repository.fsck({ jobs: 1 });
  const before = list(repository)!;
  await pull(repository, reference);
  Deno.writeTextFileSync(`${repository.path}/cfs-damage`, before);
  // Sound objects are seen to be sound, and nothing is read from the source.
  assert.deepEqual(await pull(repository, reference), { warnings: [], skipped: 2, imported: 0 });
  assert.equal(list(repository), undefined);
});

Deno.test("a pull that fails leaves the list, and everything as it was", async () => {
  using dir = new TempDir();
  const reference = makeImage(dir.join("layout"), { layers: LAYERS });
  using repository = newRepository(dir.join("repo"));
  await pull(repository, reference);
  flip(repository, idOf(repository, ONE));
  await repository.fsck({ jobs: 1 });
  const before = listing(repository.path);
  Deno.renameSync(dir.join("layout/blobs"), dir.join("blobs"));
  await assert.rejects(pull(repository, reference));
  assert.deepEqual(listing(repository.path), before);
});

Deno.test("with a list that says nothing all of the image is checked", async (t) => {
  for (const text of ["nonsense", "cfs-damage 1\n*\n", ""]) {
    await t.step(JSON.stringify(text), async () => {
      using dir = new TempDir();
      const reference = makeImage(dir.join("layout"), { layers: LAYERS });
      using repository = newRepository(dir.join("repo"));
      await pull(repository, reference);
      const bytes = Deno.readFileSync(pathOf(repository, idOf(repository, ONE)));
      flip(repository, idOf(repository, ONE));
      Deno.writeTextFileSync(`${repository.path}/cfs-damage`, text);
      const told = await pull(repository, reference);
      assert.match(told.warnings[0]!, /no telling what is damaged/);
      assert.equal(told.warnings[1], FOUND);
      assert.deepEqual([told.skipped, told.imported], [1, 1]);
      assert.deepEqual(Deno.readFileSync(pathOf(repository, idOf(repository, ONE))), bytes);
      // Others may be damaged still, for all that anybody knows; a check finds that none is.
      assert.equal(list(repository), text);
      await repository.fsck({ jobs: 1 });
      assert.equal(list(repository), undefined);
    });
  }
});

Deno.test("a new image is compared with everything where anything may be damaged", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  await pull(repository, makeImage(dir.join("first"), { layers: LAYERS }), { name: "first" });
  flip(repository, idOf(repository, ONE));
  Deno.writeTextFileSync(`${repository.path}/cfs-damage`, "cfs-damage 1\n*\n");
  await pull(repository, makeImage(dir.join("o"), { layers: [tar(file("copy", ONE))] }));
  await assertSound(repository);
});

Deno.test("repairs and copies heal, and take objects off the list as well", async () => {
  using dir = new TempDir();
  const reference = makeImage(dir.join("layout"), { layers: LAYERS });
  using repository = newRepository(dir.join("repo"));
  await pull(repository, reference);
  using other = newRepository(dir.join("other"), { hash: "sha512" });
  await pull(other, reference);
  const ways = [
    () => pull(repository, reference, { repair: true }),
    () => repairImage(repository, "t", { from: reference, platform: AMD64 }),
    () => copyImage(repository, "t", { from: other }),
  ];
  for (const way of ways) {
    flip(repository, idOf(repository, ONE));
    await repository.fsck({ jobs: 1 });
    assert.notEqual(list(repository), undefined);
    await way();
    assert.equal(list(repository), undefined);
    await assertSound(repository);
  }
});

Deno.test("a delta on its own heals nothing, and says so", async () => {
  using dir = new TempDir();
  const name = "gen-parent_replaced";
  const [delta, old, fresh] = await Promise.all(
    [`${name}.delta`, `${name}-old`, `${name}-new`].map(async (one) =>
      `oci:${await fixtureLayout("delta", one, dir)}`
    ),
  ) as [string, string, string];
  using repository = newRepository(dir.join("repo"));
  await pull(repository, old, { name: "old" });
  await pull(repository, delta, { name: "new" });
  const image = openImageRef(repository, "new");
  const id = image.layerIds
    .flatMap((layer) => [...repository.openStreamObject(layerObject(image, layer)).objectRefs])[0]!;
  flip(repository, id);
  await repository.fsck({ jobs: 1 });
  const plan = await planPull(repository, delta, { platform: AMD64 });
  const told = await pull(repository, delta, { name: "new" });
  assert.match(told.warnings.join("\n"), /found damaged, which a delta cannot heal/);
  assert.equal(plan.way, "none");
  assert.equal(list(repository), `cfs-damage 1\n${id}\n`);
  await pull(repository, fresh, { name: "new" });
  assert.equal(list(repository), undefined);
  await assertSound(repository);
});

Deno.test("layers in parts are healed with the part that is damaged", async () => {
  using dir = new TempDir();
  const files = Array.from({ length: 40 }, (_, i) => ({
    name: `f${i}`,
    data: Uint8Array.from({ length: 9000 }, (_, at) => (at * 7 + i * 13 + (at >> 5) * i) & 255),
  }));
  const maker = new LayoutMaker(dir.join("layout"));
  const { blob, annotations, tar } = chunkedLayer(files);
  const layer = { ...maker.blob(blob, `${TYPE.layer}+zstd`), annotations };
  const rootfs = { type: "layers", diff_ids: [sha256(tar)] };
  const config = maker.json({ ...AMD64, rootfs }, TYPE.config);
  const document = { schemaVersion: 2, mediaType: TYPE.manifest, config, layers: [layer] };
  const reference = maker.index([maker.json(document, TYPE.manifest)]);
  using repository = newRepository(dir.join("repo"));
  const options = { platform: AMD64, name: "t", partial: "require", jobs: 2 } as const;
  await pullImage(repository, reference, options);
  const id = repository.idOf(files[5]!.data);
  flip(repository, id);
  await repository.fsck({ jobs: 1 });
  const plan = await planPull(repository, reference, options);
  assert.equal(plan.way, "parts");
  const warnings: string[] = [];
  const { layers } = await pullImage(repository, reference, {
    ...options,
    progress: (event) => void (event.type === "warning" && warnings.push(event.text)),
  });
  assert.deepEqual(warnings, [FOUND, `repaired damaged object ${id}`]);
  const [report] = layers;
  assert.ok(report?.partial.used);
  assert.equal(report.partial.reusedBytes, 39 * 9000);
  assert.equal(list(repository), undefined);
  await assertSound(repository);
});

testWith({
  name: "cfsctl takes a repository with a list, and leaves the list alone",
  needs: [needTool("cfsctl")],
  async fn() {
    using dir = new TempDir();
    const reference = makeImage(dir.join("layout"), { layers: LAYERS });
    const path = dir.join("repo");
    let text: string;
    {
      using repository = newRepository(path);
      await pull(repository, reference);
      flip(repository, idOf(repository, ONE));
      await repository.fsck({ jobs: 1 });
      text = list(repository)!;
    }
    const cfsctl = (...args: string[]) => run([tool("cfsctl"), "--repo", path, ...args]);
    const checked = await cfsctl("fsck");
    assert.match(checked.stdout, /status: 1 error/);
    assert.doesNotMatch(checked.stdout + checked.stderr, /cfs-damage/);
    for (const args of [["gc"], ["oci", "images"], ["oci", "untag", "t"], ["gc"]]) {
      const { code, stderr } = await cfsctl(...args);
      assert.equal(code, 0, stderr);
    }
    assert.equal(Deno.readTextFileSync(`${path}/cfs-damage`), text);
    // The object is gone, whoever removed it: ours has nothing left to list.
    using repository = Repository.open(path);
    assert.deepEqual([...repository.objects.list()], []);
    repository.gc();
    assert.equal(list(repository), undefined);
    assert.equal((await repository.fsck({ jobs: 1 })).ok, true);
  },
});
