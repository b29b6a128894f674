import assert from "node:assert/strict";
import { checkImages, linkedImage, openImageRef } from "../../lib/oci/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";
import { expectedDeltas, newImage, oldImage } from "../delta/_delta.ts";
import { loadNative } from "../helpers/native.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { fixtureLayout, newRepository, pull } from "../oci/_oci.ts";

loadNative();

/** Deltas that the reference can apply, in repositories of format 2 only. */
function theirs(): string[] {
  return Object.entries(expectedDeltas())
    .filter(([, row]) => row.ref_exit_v2_repo === 0).map(([name]) => name);
}

/** The image, and the documents as they are stored. */
function outcome(repository: Repository): unknown {
  const image = openImageRef(repository, "new");
  const { configStream, manifestStream } = image;
  return {
    manifest: image.manifestDigest.toString(),
    config: image.configDigest.toString(),
    layers: image.layerIds.map(String),
    objects: image.layerIds.map((id) => {
      const stream = repository.openStream(`oci-layer-${id}`);
      return [stream.streamSize, ...stream.objectRefs];
    }),
    image: linkedImage(configStream.refs, 2),
    configRefs: [...configStream.refs.keys()].sort(),
    manifestRefs: [...manifestStream.refs.keys()].sort(),
  };
}

async function ours(path: string, reference: string, name: string): Promise<void> {
  using repository = Repository.open(path);
  await pull(repository, reference, { name });
}

testWith({
  name: "cfsctl and we make the same of deltas, and each goes on where the other was",
  needs: [needTool("cfsctl")],
  async fn(t) {
    using dir = new TempDir();
    assert.equal(theirs().length, 13);
    for (const hash of ["sha256", "sha512"] as const) {
      for (const name of hash === "sha256" ? theirs() : ["main", "hand-good_add"]) {
        await t.step(`${name}, ${hash}`, async () => {
          const [old, fresh, delta] = await Promise.all(
            [oldImage(name), newImage(name), `${name}.delta`].map(async (each) => {
              using own = new TempDir();
              const path = await fixtureLayout("delta", each, own);
              const kept = dir.join(`${each}-${hash}-${name}`);
              await runOk(["cp", "-a", path, kept]);
              return `oci:${kept}`;
            }),
          ) as [string, string, string];
          const path = (kind: string) => dir.join(`${name}-${hash}-${kind}`);
          const outcomes: unknown[] = [];
          // Who pulls the old image, and who applies the delta.
          const ways: ("cfs" | "cfsctl")[][] = [
            ["cfs", "cfs"],
            ["cfsctl", "cfsctl"],
            ["cfsctl", "cfs"],
            ["cfs", "cfsctl"],
          ];
          for (const way of ways) {
            const repo = path(way.join("-"));
            newRepository(repo, { hash, erofsVersion: 2 })[Symbol.dispose]();
            for (const [i, [reference, name]] of [[old, "old"], [delta, "new"]].entries()) {
              if (way[i] === "cfs") await ours(repo, reference!, name!);
              else await runOk([tool("cfsctl"), "--repo", repo, "oci", "pull", reference!, name!]);
            }
            using repository = Repository.open(repo);
            outcomes.push(outcome(repository));
            assert.deepEqual((await checkImages(repository, { deep: true })).errors, []);
            await runOk([tool("cfsctl"), "--repo", repo, "oci", "fsck"]);
          }
          const direct = path("direct");
          newRepository(direct, { hash, erofsVersion: 2 })[Symbol.dispose]();
          await ours(direct, fresh, "new");
          using repository = Repository.open(direct);
          const expected = outcome(repository);
          for (const [i, each] of outcomes.entries()) {
            assert.deepEqual(each, expected, ways[i]!.join(", "));
          }
        });
      }
    }
  },
});
