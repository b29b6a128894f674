import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { type Algorithm, ALGORITHMS } from "../../lib/base/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import "../helpers/libraries.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { ROOT, runOk } from "../helpers/run.ts";
import { unpack } from "../helpers/tar.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { listTree } from "../repository/_fixtures.ts";

const needs = [needTool("cfsctl")];

/** Runs the reference on a repository, which must succeed; returns what it printed. */
async function reference(path: string, ...args: string[]): Promise<string> {
  return (await runOk([tool("cfsctl"), "--repo", path, ...args])).stdout;
}

/** Asserts that the reference finds nothing wrong. */
async function assertSound(path: string): Promise<void> {
  assert.match(await reference(path, "fsck"), /^status: ok$/m);
}

const SETTINGS = Object.values(ALGORITHMS).flatMap((algorithm: Algorithm) =>
  ([0, 1, 2] as const).map((version) => ({ algorithm, version }))
);

testWith({
  name: "both programs make the same new repository",
  needs,
  async fn(t) {
    for (const { algorithm, version } of SETTINGS) {
      await t.step(`${algorithm.id}, EROFS ${version}`, async () => {
        using dir = new TempDir();
        await runOk([
          tool("cfsctl"),
          "init",
          "--insecure",
          "--algorithm",
          algorithm.id,
          "--erofs-version",
          String(version),
          dir.join("theirs"),
        ]);
        initRepository(dir.join("ours"), { insecure: true, algorithm, erofsVersion: version });
        assert.deepEqual(
          Deno.readFileSync(dir.join("ours/meta.json")),
          Deno.readFileSync(dir.join("theirs/meta.json")),
        );
        assert.deepEqual(listTree(dir.join("ours")), listTree(dir.join("theirs")));
        assert.equal(
          Deno.statSync(dir.join("ours")).mode,
          Deno.statSync(dir.join("theirs")).mode,
        );
      });
    }
  },
});

testWith({
  name: "the reference works on what ours wrote: cat, images, image-objects, fsck, gc",
  needs,
  async fn(t) {
    for (const algorithm of Object.values(ALGORITHMS)) {
      await t.step(algorithm.id, async () => {
        using dir = new TempDir();
        await unpack("fixtures/repository/repos/fs.tar", dir.path);
        const path = dir.join("ours");
        initRepository(path, { insecure: true, algorithm });
        // An image of the reference's making, taken over as bytes.
        const other = dir.join("theirs");
        initRepository(other, { insecure: true, algorithm });
        const digest = (await reference(other, "create-image", dir.join("fs"), "n")).trim();
        const id = digest.slice(digest.indexOf(":") + 1);
        const content = new TextEncoder().encode("content ".repeat(1000));
        {
          using theirs = Repository.open(other);
          using ours = Repository.open(path);
          for (const object of theirs.objects.list()) {
            ours.objects.write(theirs.objects.read(object));
          }
          const image = theirs.objects.read(theirs.findImage("n"));
          assert.equal(ours.writeImage(image, { name: "a name/with spaces" }), id);
          const { id: object } = ours.objects.write(content);
          using writer = ours.newStream(1n);
          writer.addInline(new TextEncoder().encode("head"));
          writer.addExternal(object, content.length);
          ours.writeStream("a stream", writer.finish(), { ref: "x/y" });
        }
        assert.equal(
          await reference(path, "cat", "a stream"),
          "head" + new TextDecoder().decode(content),
        );
        assert.equal(
          await reference(path, "cat", "refs/x/y"),
          "head" + new TextDecoder().decode(content),
        );
        assert.deepEqual(JSON.parse(await reference(path, "images", "--json")), {
          images: [{ name: "a name/with spaces", digest: id }],
        });
        assert.equal(
          (await reference(path, "image-objects", "refs/a name/with spaces")).split("\n").length,
          (await reference(other, "image-objects", "n")).split("\n").length,
        );
        await assertSound(path);
        const before = listTree(path);
        assert.match(await reference(path, "gc"), /^Objects: 0 removed \(0 bytes\)$/m);
        assert.deepEqual(listTree(path), before);
        {
          using ours = Repository.open(path);
          ours.removeRef("streams", "x/y");
          assert.equal(ours.gc({ dryRun: true }).objectsRemoved, 2);
        }
        assert.match(await reference(path, "gc", "-n"), /^Objects: 2 removed/m);
      });
    }
  },
});

testWith({
  name: "ours works on what the reference wrote",
  needs,
  async fn(t) {
    for (const { algorithm, version } of SETTINGS) {
      await t.step(`${algorithm.id}, EROFS ${version}`, async () => {
        using dir = new TempDir();
        await unpack("fixtures/repository/repos/fs.tar", dir.path);
        const path = dir.join("r");
        await runOk([
          tool("cfsctl"),
          "init",
          "--insecure",
          "--algorithm",
          algorithm.id,
          "--erofs-version",
          String(version),
          path,
        ]);
        const digest = (await reference(path, "create-image", dir.join("fs"), "my/name")).trim();
        const id = digest.slice(digest.indexOf(":") + 1);
        const listed = (await reference(path, "image-objects", id)).trim().split("\n").sort();
        const tar = Deno.readFileSync(`${ROOT}fixtures/splitstream/inputs/worked_example.tar`);
        const layer = `sha256:${createHash("sha256").update(tar).digest("hex")}`;
        await runOk([tool("cfsctl"), "--repo", path, "oci", "import-layer", layer], { stdin: tar });
        using repository = Repository.open(path);
        assert.deepEqual(repository.formats, [version]);
        assert.equal(repository.findImage("refs/my/name"), id);
        assert.deepEqual(
          repository.imageObjects(id).map((object) => `${algorithm.hash}:${object}`),
          listed,
        );
        const stream = repository.openStream(`oci-layer-${layer}`);
        const pieces = repository.streamContent(stream, { verify: true });
        assert.deepEqual(
          Buffer.concat([...pieces].map((piece) => piece.slice())),
          Buffer.from(tar),
        );
        const report = await repository.fsck();
        assert.ok(report.ok, report.errors.join("\n"));
        repository.removeRef("images", "my/name");
        const expected = /Objects: (\d+) removed \((\d+) bytes\)/.exec(
          await reference(path, "gc", "-n"),
        )!;
        const result = repository.gc();
        assert.deepEqual(
          [result.objectsRemoved, result.objectsBytes],
          [Number(expected[1]), Number(expected[2])],
        );
        await assertSound(path);
      });
    }
  },
});

testWith({
  name: "the reference finds the same damage",
  needs,
  async fn() {
    using dir = new TempDir();
    await unpack("fixtures/repository/repos/oci256.tar", dir.path);
    const path = dir.join("oci256");
    using repository = Repository.open(path);
    const objects = [...repository.objects.list()];
    for (const object of objects) {
      const file = `${path}/objects/${object.slice(0, 2)}/${object.slice(2)}`;
      const bytes = Deno.readFileSync(file);
      const damaged = bytes.slice();
      damaged[bytes.length - 1]! ^= 1;
      Deno.writeFileSync(file, damaged);
      const theirs = JSON.parse(await reference(path, "fsck", "--json"));
      const ours = await repository.fsck();
      const key = (line: string) => line.startsWith("fsck: object-");
      assert.deepEqual(ours.errors.filter(key), theirs.errors.filter(key));
      assert.equal(ours.objects_corrupted, 1);
      assert.equal(theirs.objects_corrupted, 1);
      Deno.writeFileSync(file, bytes);
    }
    assert.ok((await repository.fsck()).ok);
  },
});
