import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { ALGORITHMS, nodeZstd, objectPath, parseObjectId } from "../../lib/base/mod.ts";
import { openSplitstream } from "../../lib/splitstream/mod.ts";
import { readLayerEntries } from "../../lib/tar/mod.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { dumpLine, importLayer } from "../helpers/layer.ts";
import { randomLayer } from "../helpers/make_tar.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { run, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";

const decoder = new TextDecoder("latin1");

testWith({
  name: `cfsctl stores the same splitstreams for random layers (SEED=${seed()})`,
  needs: [needTool("cfsctl")],
  fn: async (t) => {
    const rng = new Rng(seed());
    for (const hash of ["sha256", "sha512"] as const) {
      using dir = new TempDir();
      const algorithm = ALGORITHMS[hash];
      const cfsctl = [tool("cfsctl"), "--repo", dir.path];
      await runOk([...cfsctl, "init", "--insecure", "--algorithm", algorithm.id]);
      for (let i = 0; i < 25; i++) {
        await t.step(`${hash} ${i}`, async () => {
          const tar = randomLayer(rng, { entries: rng.below(120) });
          const diffId = `sha256:${createHash("sha256").update(tar).digest("hex")}`;
          const { stdout } = await runOk([...cfsctl, "oci", "import-layer", diffId], {
            stdin: tar,
          });
          const theirs = parseObjectId(stdout.trim().replace(/^.*:/, ""), hash);
          const layer = importLayer(tar, { algorithm, piece: 1 + rng.below(5000) });
          const path = `${dir.path}/objects/${objectPath(theirs)}`;
          assert.deepEqual(layer.file, Uint8Array.from(await Deno.readFile(path)));
          assert.equal(layer.id, theirs);
          const dump = await run([...cfsctl, "oci", "layer", "--dumpfile", diffId]);
          const stream = openSplitstream(layer.file, { algorithm, codec: nodeZstd });
          let text = "";
          for (const entry of readLayerEntries(stream)) text += dumpLine(entry) + "\n";
          const theirText = decoder.decode(dump.stdoutBytes);
          if (dump.code === 0) assert.equal(text, theirText);
          else {
            // The reference cannot read the last entry when it is empty and no end marker follows.
            assert.match(dump.stderr, /Unexpected EOF in splitstream/);
            assert.ok(text.startsWith(theirText));
            assert.equal(text.slice(theirText.length).split("\n").length, 2);
          }
        });
      }
    }
  },
});

testWith({
  name: "cfsctl compresses more than 20 MB of inline data to the same bytes",
  needs: [needTool("cfsctl")],
  fn: async () => {
    using dir = new TempDir();
    const algorithm = ALGORITHMS.sha256;
    const cfsctl = [tool("cfsctl"), "--repo", dir.path];
    await runOk([...cfsctl, "init", "--insecure", "--algorithm", algorithm.id]);
    const rng = new Rng(seed());
    const tar = randomLayer(rng, { entries: 32_000, sizes: [0, 1, 20, 63, 64, 64, 64] });
    const diffId = `sha256:${createHash("sha256").update(tar).digest("hex")}`;
    const { stdout } = await runOk([...cfsctl, "oci", "import-layer", diffId], { stdin: tar });
    const layer = importLayer(tar, { algorithm, piece: 65536 });
    assert.ok(layer.inlineSize > 20_000_000, `${layer.inlineSize} bytes are inline`);
    assert.equal(`sha256:${layer.id}`, stdout.trim());
  },
});
