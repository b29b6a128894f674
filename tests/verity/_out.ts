/** Images of secure repositories on their way out, between repositories, and repaired. */
import assert from "node:assert/strict";
import { ALGORITHMS, objectPath } from "../../lib/base/mod.ts";
import {
  checkImages,
  copyImage,
  openImageRef,
  pullImage,
  pushImage,
  repairImage,
} from "../../lib/oci/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { ROOT } from "../helpers/run.ts";
import { verityTest } from "./_verity_test.ts";

const DEMO = `oci-archive:${ROOT}fixtures/demo/demo.oci.tar:demo`;
const AMD64 = { os: "linux", architecture: "amd64" };

verityTest("images of secure repositories are pushed, copied, shared and repaired", {
  tools: [],
  async fn(dir, t) {
    const algorithm = ALGORITHMS.sha256;
    const open = (name: string, insecure = false) => {
      initRepository(dir.join(name), { algorithm, insecure });
      return Repository.open(dir.join(name));
    };
    const assertSound = async (repository: Repository) => {
      const report = await checkImages(repository, { jobs: 1, deep: true });
      assert.deepEqual([report.errors, report.repo.errors], [[], []]);
    };
    using from = open("from");
    assert.ok(from.secure);
    await pullImage(from, DEMO, { name: "t", platform: AMD64, jobs: 1 });
    const { layerIds } = openImageRef(from, "t");
    const [id] = from.openStream(`oci-layer-${layerIds[0]}`).objectRefs;
    const file = (repository: Repository) => `${repository.path}/objects/${objectPath(id!)}`;

    await t.step("pushed", async () => {
      const destination = `oci:${dir.join("layout")}:v1`;
      await pushImage(from, "t", { destination, jobs: 1 });
      using other = open("pulled");
      await pullImage(other, destination, { name: "t", platform: AMD64, jobs: 1 });
      await assertSound(other);
    });
    for (const zerocopy of [false, true]) {
      await t.step(zerocopy ? "shared" : "copied", async () => {
        using to = open(zerocopy ? "shared" : "copied");
        await copyImage(to, "t", { from, name: "t", zerocopy, jobs: 1 });
        const same = Deno.statSync(file(to)).ino === Deno.statSync(file(from)).ino;
        assert.equal(same, zerocopy); // ext4 has no shared blocks
        await assertSound(to);
      });
    }
    await t.step("not shared with files that nothing protects", async () => {
      // A kernel that can gives insecure repositories fs-verity, too; a copied file has none.
      using loose = open("loose", true);
      await pullImage(loose, DEMO, { name: "t", platform: AMD64, jobs: 1 });
      const bytes = Deno.readFileSync(file(loose));
      Deno.removeSync(file(loose));
      Deno.writeFileSync(file(loose), bytes);
      using to = open("strict");
      await assert.rejects(copyImage(to, "t", { from: loose, zerocopy: true, jobs: 1 }));
      assert.throws(() => Deno.statSync(file(to)), Deno.errors.NotFound);
      await copyImage(to, "t", { from: loose, name: "t", jobs: 1 });
      await assertSound(to);
    });
    await t.step("repaired", async () => {
      using to = Repository.open(dir.join("copied"));
      for (const unprotected of [false, true]) {
        const bytes = Deno.readFileSync(file(to));
        Deno.removeSync(file(to));
        if (unprotected) Deno.writeFileSync(file(to), bytes);
        const result = await repairImage(to, "t", { from: from.path, jobs: 1 });
        assert.equal(result.objectsRestored, 1);
        await assertSound(to);
      }
    });
  },
});
