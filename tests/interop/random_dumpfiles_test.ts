import assert from "node:assert/strict";
import { dumpfileImageId } from "../erofs/_image_id.ts";
import { seed } from "../fuzz/_mutate.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { DumpfileGenerator } from "./_random_dumpfile.ts";

const COUNT = 2000;
/** Peers at work at one time. */
const LANES = 2;

testWith({
  name: `writeImage() gives the peer's ids for ${COUNT} random dumpfiles, seed ${seed()}`,
  needs: [needTool("cfsctl")],
  async fn() {
    using dir = new TempDir();
    const peer = tool("mkcomposefs");
    const generator = new DumpfileGenerator(seed());
    const encoder = new TextEncoder();
    let next = 0;
    async function lane(): Promise<void> {
      while (next < COUNT) {
        const number = next++;
        const version = number % 2 as 0 | 1;
        const dumpfile = generator.next();
        const path = dir.write(`${number}.dump`, dumpfile);
        const { code, stdout, stderr } = await new Deno.Command(peer, {
          args: ["--from-file", `--min-version=${version}`, "--print-digest-only", path],
          stdin: "null",
          env: { RUST_BACKTRACE: "0" },
        }).output();
        const text = new TextDecoder();
        assert.equal(code, 0, `dumpfile ${number}: ${text.decode(stderr)}`);
        const ours = dumpfileImageId(encoder.encode(dumpfile), { version });
        assert.equal(ours, text.decode(stdout).trim(), `dumpfile ${number}, v${version}`);
        Deno.removeSync(path);
      }
    }
    await Promise.all(Array.from({ length: LANES }, lane));
  },
});
