import assert from "node:assert/strict";
import { pullImage } from "../../lib/oci/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import "../helpers/libraries.ts";
import { LoopFs } from "../helpers/loop_fs.ts";
import { content, header } from "../helpers/make_tar.ts";
import { needFileSystem, needRoot, needTool, testWith } from "../helpers/needs.ts";
import { TempDir } from "../helpers/temp.ts";
import { operations, tarDiff, writeDelta } from "../oci/_delta_layout.ts";
import { AMD64, chain, LayoutMaker, names } from "../oci/_oci.ts";

const MIB = 2 ** 20;

testWith({
  name: "a small delta that makes very much gives up before the file system is full",
  needs: [needRoot(), needTool("mkfs.ext4"), needFileSystem("ext4")],
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
    const before = names(repository);
    let least = repository.available;
    const watch = setInterval(() => least = Math.min(least, repository.available), 2);
    try {
      const pulled = pullImage(repository, maker.index([delta]), { name: "new", ...options });
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
  },
});
