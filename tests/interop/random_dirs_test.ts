import assert from "node:assert/strict";
import { ALGORITHMS, type HashName } from "../../lib/base/mod.ts";
import { type ErofsVersion, writeImage } from "../../lib/erofs/mod.ts";
import { objectIdOf } from "../../lib/fsverity/mod.ts";
import { scanDirectory } from "../../lib/scan/mod.ts";
import { systemHash } from "../../ffi/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { needRoot, needTool, testWith } from "../helpers/needs.ts";
import { fillRandomly } from "../helpers/random_dir.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";

loadNative();

const COUNT = 300;
const SEED = 20_000;
const VERSIONS: ErofsVersion[] = [0, 1, 2];
const HASHES: HashName[] = ["sha256", "sha512"];

async function reference(path: string, hash: HashName, version: number): Promise<string> {
  const { stdout } = await runOk([
    tool("cfsctl"),
    "--no-repo",
    ...["--hash", hash, "--erofs-version", String(version)],
    ...["compute-id", "--no-propagate-usr-to-root", path],
  ]);
  return stdout.trim();
}

async function ours(path: string, hash: HashName): Promise<string[]> {
  const { tree } = await scanDirectory(path, { hash });
  return VERSIONS.map((version) =>
    objectIdOf(writeImage(tree, { hash, version }), {
      algorithm: ALGORITHMS[hash],
      provider: systemHash(),
    })
  );
}

testWith({
  name: `scanDirectory() and the reference name ${COUNT} random directories alike (seed ${SEED})`,
  needs: [needRoot(), needTool("cfsctl")],
  fn: async () => {
    let next = 0;
    const worker = async () => {
      for (let number = next++; number < COUNT; number = next++) {
        using dir = new TempDir();
        fillRandomly(dir.path, SEED + number);
        for (const hash of HASHES) {
          const got = await ours(dir.path, hash);
          for (const version of VERSIONS) {
            const want = await reference(dir.path, hash, version);
            assert.equal(got[version], want, `seed ${SEED + number} ${hash} V${version}`);
          }
        }
      }
    };
    await Promise.all([worker(), worker()]);
  },
});
