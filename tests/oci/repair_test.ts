import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { ObjectId } from "../../lib/base/mod.ts";
import { checkImages, copyImage, openImageRef, repairImage } from "../../lib/oci/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";
import { file, header, tar } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import { chain, listing, makeImage, newRepository, packed, pull } from "./_oci.ts";

loadNative();

const LAYERS = [
  tar(header({ name: "usr/", type: "5", mode: 0o755 }), file("usr/one", "1".repeat(5000))),
  tar(file("usr/two", "2".repeat(3000)), file("usr/three", "3".repeat(100))),
];

/** What can be broken, with the objects that hold it. */
const PARTS = [
  "manifest stream",
  "manifest",
  "config stream",
  "config",
  "layer stream",
  "file",
  "image",
] as const;

function objectOf(repository: Repository, part: (typeof PARTS)[number]): ObjectId {
  const image = openImageRef(repository, "t");
  const [layer] = image.layerIds;
  const stream = image.manifestStream.refs.get(String(layer))!;
  switch (part) {
    case "manifest stream":
      return image.manifestStream.stream;
    case "manifest":
      return [...repository.openStreamObject(image.manifestStream.stream).objectRefs][0]!;
    case "config stream":
      return image.configStream.stream;
    case "config":
      return [...repository.openStreamObject(image.configStream.stream).objectRefs][0]!;
    case "layer stream":
      return stream;
    case "file":
      return [...repository.openStreamObject(stream).objectRefs][0]!;
    case "image":
      return image.configStream.refs.get("composefs.image.v1")!;
  }
}

const DAMAGES: Record<string, (path: string) => void> = {
  "gone": (path) => Deno.removeSync(path),
  "empty": (path) => Deno.writeFileSync(path, new Uint8Array()),
  "longer": (path) => Deno.writeFileSync(path, new Uint8Array([0]), { append: true }),
  "another byte": (path) =>
    Deno.writeFileSync(
      path,
      Deno.readFileSync(path).map((byte, i, all) => i === all.length >> 1 ? byte ^ 1 : byte),
    ),
};

/** Replaced, not written to: other repositories may share the file. */
function damage(repository: Repository, id: ObjectId, how: (path: string) => void): void {
  const path = `${repository.path}/objects/${id.slice(0, 2)}/${id.slice(2)}`;
  const copy = Deno.readFileSync(path);
  Deno.removeSync(path);
  Deno.writeFileSync(path, copy);
  how(path);
}

interface Sources {
  readonly [name: string]: string | undefined;
}

/** A repository with an image, and other places that have it. */
async function prepared(dir: TempDir): Promise<{ repository: Repository; sources: Sources }> {
  const reference = makeImage(dir.join("layout"), { layers: LAYERS, packing: "gzip" });
  const repository = newRepository(dir.join("repo"));
  await pull(repository, reference);
  for (const hash of ["sha256", "sha512"] as const) {
    using other = newRepository(dir.join(hash), { hash });
    await copyImage(other, "t", { from: repository });
  }
  return {
    repository,
    sources: {
      "a repository": dir.join("sha256"),
      "a repository with another algorithm": dir.join("sha512"),
      "a layout": reference,
    },
  };
}

async function assertSound(repository: Repository): Promise<void> {
  const report = await checkImages(repository, { deep: true, jobs: 1 });
  assert.deepEqual([report.errors, report.repo.errors], [[], []]);
}

Deno.test("repairImage() repairs every kind of damage from every kind of source", async (t) => {
  using dir = new TempDir();
  const { repository, sources } = await prepared(dir);
  using _repository = repository;
  const before = listing(repository.path);
  for (const part of PARTS) {
    const id = objectOf(repository, part);
    for (const [kind, how] of Object.entries(DAMAGES)) {
      for (const [name, from] of Object.entries(sources)) {
        await t.step(`${part}: ${kind}, from ${name}`, async () => {
          damage(repository, id, how);
          assert.equal((await checkImages(repository, { jobs: 1 })).ok, false);
          const result = await repairImage(repository, "t", { from, jobs: 1 });
          assert.notDeepEqual(result.faults, []);
          await assertSound(repository);
          assert.deepEqual(listing(repository.path), before);
          if (name === "a repository") {
            assert.deepEqual([result.objectsRestored, result.layersImported], [1, []]);
          } else {
            const layers = ["file", "layer stream"].includes(part) ? 1 : 0;
            assert.equal(result.layersImported.length, layers);
          }
          const again = await repairImage(repository, "t", { from, jobs: 1 });
          assert.deepEqual(again.faults, []);
        });
      }
    }
  }
});

Deno.test("repairImage() makes names again, and works out images, without a source", async (t) => {
  using dir = new TempDir();
  const { repository } = await prepared(dir);
  using _repository = repository;
  const before = listing(repository.path);
  const image = openImageRef(repository, "t");
  const links = [
    `streams/oci-layer-${image.layerIds[1]}`,
    `streams/oci-config-${image.configDigest}`,
    `images/${objectOf(repository, "image")}`,
  ];
  for (const link of links) {
    await t.step(link, async () => {
      Deno.removeSync(`${repository.path}/${link}`);
      await repairImage(repository, "t");
      await assertSound(repository);
      assert.deepEqual(listing(repository.path), before);
    });
  }
  await t.step("image", async () => {
    damage(repository, objectOf(repository, "image"), DAMAGES["gone"]!);
    await repairImage(repository, "t");
    await assertSound(repository);
  });
});

Deno.test("repairImage() takes layers that are packed in another way", async () => {
  using dir = new TempDir();
  const { repository } = await prepared(dir);
  using _repository = repository;
  const other = makeImage(dir.join("other"), { layers: LAYERS, packing: "zstd" });
  damage(repository, objectOf(repository, "file"), DAMAGES["another byte"]!);
  const result = await repairImage(repository, "t", { from: other });
  assert.match(result.faults.join(), /\(\/usr\/one\)/);
  await assertSound(repository);
});

Deno.test("repairImage() makes nothing worse when it fails", async (t) => {
  using dir = new TempDir();
  const { repository, sources } = await prepared(dir);
  using _repository = repository;
  damage(repository, objectOf(repository, "file"), DAMAGES["another byte"]!);
  const before = listing(repository.path);
  const wrong = makeImage(dir.join("wrong"), {
    layers: [tar(file("x", "y".repeat(300)))],
  });
  const lying = makeImage(dir.join("lying"), { layers: LAYERS, packing: "gzip" });
  // The blob's digest is right for its manifest, but its content is not what the config says.
  const cases: Record<string, [string | undefined, RegExp]> = {
    "no source": [undefined, /no source to fetch it from was named/],
    "another image": [wrong, /is another image: it has no layer/],
    "a source that is not there": ["oci:/nowhere", /\/nowhere/],
  };
  Deno.writeFileSync(
    `${dir.join("lying")}/blobs/sha256/` + sha(packed(LAYERS[0]!, "gzip")),
    packed(LAYERS[1]!, "gzip"),
  );
  cases["a source that lies"] = [lying, /Expected size|mismatch|expected/];
  for (const [name, [from, message]] of Object.entries(cases)) {
    await t.step(name, async () => {
      await assert.rejects(
        repairImage(repository, "t", { from, jobs: 1 }),
        (error) => message.test(chain(error)),
      );
      const names = (lines: string[]) => lines.filter((line) => !line.startsWith("/objects/"));
      assert.deepEqual(names(listing(repository.path)), names(before));
    });
  }
  await t.step("a source that is damaged in the same place", async () => {
    using other = Repository.open(sources["a repository"]!);
    damage(other, objectOf(repository, "file"), DAMAGES["gone"]!);
    await assert.rejects(repairImage(repository, "t", { from: other.path }));
  });
  await repairImage(repository, "t", { from: sources["a layout"] });
  await assertSound(repository);
});

Deno.test("pullImage() with repair heals every kind of damage", async (t) => {
  using dir = new TempDir();
  const { repository, sources } = await prepared(dir);
  using _repository = repository;
  for (const part of PARTS) {
    const id = objectOf(repository, part);
    for (const [kind, how] of Object.entries(DAMAGES)) {
      await t.step(`${part}: ${kind}`, async () => {
        damage(repository, id, how);
        await pull(repository, sources["a layout"]!, { repair: true, jobs: 1 });
        await assertSound(repository);
      });
    }
  }
});

function sha(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
