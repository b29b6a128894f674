import assert from "node:assert/strict";
import { pullImage } from "../../lib/oci/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { openSource } from "../../lib/transport/mod.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { FaultServer, plainReply } from "../helpers/fault_server.ts";
import "../helpers/libraries.ts";
import { LoopFs } from "../helpers/loop_fs.ts";
import { content, header } from "../helpers/make_tar.ts";
import { needFileSystem, needRoot, needTool, testWith } from "../helpers/needs.ts";
import { TempDir } from "../helpers/temp.ts";
import { operations, tarDiff, writeDelta } from "../oci/_delta_layout.ts";
import { blobOf } from "../registry/_images.ts";
import { AMD64, chain, LayoutMaker, names } from "../oci/_oci.ts";

const MIB = 2 ** 20;

const needs = [needRoot(), needTool("mkfs.ext4"), needFileSystem("ext4")];

/** Pulls what does not fit, and checks that it gives up early and leaves nothing behind. */
async function givesUp(repository: Repository, reference: string): Promise<void> {
  const before = names(repository);
  let least = repository.available;
  const watch = setInterval(() => least = Math.min(least, repository.available), 2);
  try {
    const pulled = pullImage(repository, reference, { name: "new", platform: AMD64, jobs: 2 });
    await assert.rejects(pulled, (error) => {
      assert.match(chain(error), /: No space left on device: the repository is nearly full$/);
      return true;
    });
  } finally {
    clearInterval(watch);
  }
  assert.ok(least > MIB, `${least} bytes were left`);
  assert.deepEqual(names(repository), before);
  assert.ok((await repository.fsck()).ok);
  repository.gc();
  assert.ok(repository.available > 80 * MIB);
}

testWith({
  name: "a small delta that makes very much gives up before the file system is full",
  needs,
  async fn() {
    using dir = new TempDir();
    const rng = new Rng(seed());
    const maker = new LayoutMaker(dir.join("layout"));
    const data = Uint8Array.from({ length: MIB }, () => rng.next());
    const layer = (name: string, size: number) => [
      header({ name: "usr/", type: "5", mode: 0o755 }),
      header({ name, size }),
    ];
    const end = new Uint8Array(1024);
    const old = maker.image({
      layers: [Buffer.concat([...layer("usr/file", MIB), content(data), end])],
    });
    const copies = 500;
    const text = [operations(...layer("usr/big", copies * MIB))];
    for (let i = 0; i < copies; i++) text.push(operations("usr/file", MIB));
    text.push(operations(end));
    const fresh = maker.image({ layers: [new Uint8Array(1024)] });
    const delta = writeDelta(maker, { old, fresh, layers: [tarDiff(Buffer.concat(text))] });
    using fs = new LoopFs("ext4", { sizeMiB: 120 });
    const path = fs.join("r");
    initRepository(path, { insecure: true });
    using repository = Repository.open(path);
    const options = { platform: AMD64, jobs: 2 };
    await pullImage(repository, maker.index([old]), { name: "old", ...options });
    await givesUp(repository, maker.index([delta]));
  },
});

testWith({
  name: "a small layer that unpacks to very much gives up before the file system is full",
  needs,
  async fn() {
    using dir = new TempDir();
    const maker = new LayoutMaker(dir.join("layout"));
    const head = header({ name: "usr/big", size: 300 * MIB });
    const bomb = Buffer.concat([head, Buffer.alloc(300 * MIB + 1024)]);
    const image = maker.image({ layers: [bomb] });
    using fs = new LoopFs("ext4", { sizeMiB: 120 });
    const path = fs.join("r");
    initRepository(path, { insecure: true });
    using repository = Repository.open(path);
    await givesUp(repository, maker.index([image]));
  },
});

testWith({
  name: "a layer that is there already needs no space",
  needs,
  async fn() {
    using dir = new TempDir();
    const files = Array.from({ length: 40 }, (_, i) => {
      const bytes = new Uint8Array(MIB).fill(i);
      return Buffer.concat([header({ name: `usr/${i}`, size: MIB }), content(bytes)]);
    });
    const maker = new LayoutMaker(dir.join("layout"));
    const image = maker.image({ layers: [Buffer.concat([...files, Buffer.alloc(1024)])] });
    using fs = new LoopFs("ext4", { sizeMiB: 80 });
    const path = fs.join("r");
    initRepository(path, { insecure: true });
    using repository = Repository.open(path);
    const options = { platform: AMD64, jobs: 1 };
    await pullImage(repository, maker.index([image]), { name: "first", ...options });
    const filler = new Uint8Array(repository.available - 10 * MIB);
    Deno.writeFileSync(fs.join("filler"), filler);
    await pullImage(repository, maker.index([image]), { name: "next", repair: true, ...options });
  },
});

testWith({
  name: "a blob that does not fit is given up before the file system is full",
  needs,
  async fn() {
    const blob = blobOf(new Uint8Array(100 * MIB));
    await using server = new FaultServer((request) =>
      request.path === "/v2/"
        ? {}
        : request.path.includes("/blobs/")
        ? plainReply(request, blob.bytes)
        : { body: new TextEncoder().encode('{"schemaVersion":2}') }
    );
    using fs = new LoopFs("ext4", { sizeMiB: 60 });
    const path = fs.join("r");
    initRepository(path, { insecure: true });
    using repository = Repository.open(path);
    const before = repository.available;
    {
      await using source = await openSource(`docker://${server.host}/a/b@${blob.digest}`, {
        repository,
        tlsVerify: false,
        credentials: "none",
        surroundings: { variable: () => undefined, uid: 0, root: "/nonexistent" },
      });
      const { digest, size } = blob;
      using opened = await source.blob({ mediaType: "x/y", digest, size });
      while (opened.arrival!.failure === undefined) {
        assert.ok(opened.arrival!.arrived < size);
        await new Promise((go) => setTimeout(go, 5));
      }
      assert.match(chain(opened.arrival!.failure), /nearly full$/);
    }
    assert.ok(before - repository.available < MIB, "nothing is left behind");
  },
});
