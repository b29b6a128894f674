/** The demo image, pulled by our program: everything as the reference recorded it, and both agree. */
import assert from "node:assert/strict";
import { needTool, testWith } from "../helpers/needs.ts";
import { cfsOk, ROOT, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";

const DEMO = `${ROOT}fixtures/demo`;
const SOURCE = `oci-archive:${DEMO}/demo.oci.tar:demo`;

interface Expected {
  pulled: Record<string, { manifest: string; config: string }>;
  imageIds: { hash: string; erofsVersion: number; xattrs: string; id: string }[];
}

const expected: Expected = JSON.parse(await Deno.readTextFile(`${DEMO}/expected.json`));

async function pull(dir: TempDir, hash: string): Promise<string> {
  const repo = dir.join(`repo-${hash}`);
  await cfsOk(["--repo", repo, "init", "--insecure", "--algorithm", `fsverity-${hash}-12`]);
  return (await cfsOk(["--repo", repo, "oci", "pull", SOURCE, "demo"])).stdout;
}

for (const [hash, pulled] of Object.entries(expected.pulled)) {
  Deno.test(`cfs oci pull of the demo image gives the reference's digests, ${hash}`, async (t) => {
    using dir = new TempDir();
    const repo = dir.join(`repo-${hash}`);
    const stdout = await pull(dir, hash);
    for (const [name, value] of Object.entries(pulled)) {
      await t.step(name, () => assert.match(stdout, new RegExp(`^${name} +${value}$`, "m")));
    }
    await t.step("verity", async () => {
      const link = await Deno.readLink(`${repo}/streams/oci-manifest-${pulled.manifest}`);
      const verity = link.split("/").slice(-2).join("");
      assert.match(stdout, new RegExp(`^verity +${verity}$`, "m"));
    });
    const rows = expected.imageIds.filter((row) => row.hash === hash);
    assert.equal(rows.length, 6);
    for (const { erofsVersion, xattrs, id } of rows) {
      await t.step(`image id, V${erofsVersion}, ${xattrs}`, async () => {
        const options = ["--repo", repo, "--erofs-version", `${erofsVersion}`];
        const result = await cfsOk([...options, "oci", "compute-id", "--xattrs", xattrs, "demo"]);
        assert.equal(result.stdout.trim(), id);
      });
    }
  });
}

Deno.test("cfs oci dump of the demo image gives the reference's dumpfile", async () => {
  using dir = new TempDir();
  await pull(dir, "sha256");
  const { stdout } = await cfsOk(["--repo", dir.join("repo-sha256"), "oci", "dump", "demo"]);
  assert.equal(stdout, await Deno.readTextFile(`${DEMO}/expected.dump`));
});

testWith({
  name: "a repository of cfs with the demo image is the reference's, file by file",
  needs: [needTool("cfsctl"), needTool("skopeo"), needTool("find")],
  async fn(t) {
    using dir = new TempDir();
    await pull(dir, "sha256");
    const [ours, theirs] = [dir.join("repo-sha256"), dir.join("theirs")];
    const cfsctl = (...args: string[]) => runOk([tool("cfsctl"), ...args]);
    await cfsctl("--repo", theirs, "init", "--insecure", "--algorithm", "fsverity-sha256-12");
    await cfsctl("--repo", theirs, "oci", "pull", SOURCE, "demo");

    await t.step("the reference's fsck finds nothing", async () => {
      assert.match((await cfsctl("--repo", ours, "fsck")).stdout, /^status: ok$/m);
      assert.match((await cfsctl("--repo", ours, "oci", "fsck")).stdout, /^oci images: 1\/1 ok$/m);
    });
    await t.step("our fsck finds nothing in the reference's", async () => {
      assert.match((await cfsOk(["--repo", theirs, "fsck"])).stdout, /^status: ok$/m);
    });
    await t.step("files and links are equal", async () => {
      // The reference leaves the first versions of two streams behind.
      await cfsctl("--repo", theirs, "gc");
      assert.deepEqual(await list(ours), await list(theirs));
    });
    await t.step("the reference would collect nothing", async () => {
      assert.match(
        (await cfsctl("--repo", ours, "gc", "-n")).stdout,
        /^Objects: 0 removed \(0 bytes\)$/m,
      );
    });
    for (const args of [["oci", "images"], ["oci", "inspect", "demo"], ["oci", "dump", "demo"]]) {
      await t.step(`${args.join(" ")} says the same`, async () => {
        const peer = (await cfsctl("--repo", ours, ...args)).stdout;
        assert.equal((await cfsOk(["--repo", theirs, ...args])).stdout, peer);
      });
    }
  },
});

/**
 * Names, kinds, sizes and link targets of everything in a repository but directories. Of the
 * manifest's stream only the name: the reference writes its references in random order.
 */
async function list(repo: string): Promise<string[]> {
  const manifest = `streams/oci-manifest-${expected.pulled.sha256!.manifest}`;
  const object = (await Deno.readLink(`${repo}/${manifest}`)).replace("../", "");
  const format = "%P %y %s %l\\n";
  const { stdout } = await runOk(["find", repo, "!", "-type", "d", "-printf", format]);
  const lines = stdout.split("\n").filter((line) => !line.startsWith(`${object} `));
  return lines.map((line) => line.startsWith(manifest) ? manifest : line).sort();
}
