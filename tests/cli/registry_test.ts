/** Commands that talk to a real registry, as a user calls them. */
import assert from "node:assert/strict";
import { needTool, testWith } from "../helpers/needs.ts";
import { PASSWORD, TestRegistry, USER } from "../helpers/registry.ts";
import { ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { call } from "./_call.ts";

const DEMO = `oci-archive:${ROOT}fixtures/demo/demo.oci.tar:demo`;
const INSECURE = "--tls-verify=false";

/** Calls the program on a repository; fails with its words. */
async function cfs(repository: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await call(["--repo", repository, ...args]);
  assert.equal(code, 0, stderr);
  return stdout;
}

async function newRepository(dir: TempDir, name: string): Promise<string> {
  const path = dir.join(name);
  await cfs(path, "init", "--insecure", "--algorithm", "fsverity-sha256-12");
  return path;
}

testWith({
  name: "oci push takes layers from other repositories of the registry",
  needs: [needTool("docker-registry"), needTool("skopeo")],
  async fn(t) {
    await using registry = await TestRegistry.start();
    using dir = new TempDir();
    await registry.push(DEMO, "first/demo:v1", ["--preserve-digests"]);
    const repository = await newRepository(dir, "repository");
    const origin = `${registry.host}/first/demo:v1`;
    await cfs(repository, "oci", "pull", INSECURE, `docker://${origin}`, "demo");
    const push = (name: string, ...args: string[]) =>
      cfs(
        repository,
        "oci",
        "push",
        INSECURE,
        "demo",
        `docker://${registry.host}/${name}`,
        ...args,
      );
    // The blobs were made by another compressor: only where they are mounted the manifest can stay.
    const mounted = await push("second/demo:v1", "--mount-from", origin);
    await t.step("named", () => assert.match(mounted, /^layers {3}0 new \+ 3 already present/m));
    await t.step("and so the image stays the same", () => assert.doesNotMatch(mounted, /^source/m));
    const sent = await push("third/demo:v1");
    await t.step("not named", () => assert.match(sent, /^layers {3}3 new \+ 0 already present/m));
    await cfs(repository, "oci", "pull", INSECURE, `docker://${registry.host}/third/demo:v1`);
    const again = await cfs(
      repository,
      ...["oci", "push", INSECURE, `docker://${registry.host}/third/demo:v1`],
      `docker://${registry.host}/fourth/demo:v1`,
    );
    await t.step("told by the tag", () => assert.match(again, /^layers {3}0 new \+ 3 already/m));
  },
});

testWith({
  name: "trust check asks a registry as it is told to",
  needs: [needTool("docker-registry"), needTool("skopeo"), needTool("htpasswd")],
  async fn(t) {
    await using registry = await TestRegistry.start({ auth: "basic" });
    using dir = new TempDir();
    await registry.push(DEMO, "team/demo:v1");
    const policy = dir.write("policy.json", '{"default": [{"type": "reject"}]}');
    const image = `docker://${registry.host}/team/demo:v1`;
    const check = (...args: string[]) =>
      call(["trust", "check", "--policy", policy, INSECURE, ...args, image]);
    await t.step("without a password", async () => {
      const { code, stderr } = await check("--no-creds");
      assert.equal(code, 1);
      assert.match(stderr, /authentication required/);
    });
    await t.step("with one", async () => {
      const { code, stdout, stderr } = await check("--creds", `${USER}:${PASSWORD}`);
      assert.equal(code, 3, stderr);
      assert.match(stdout, /NOT TRUSTED: Running image .* is rejected by policy/);
    });
  },
});
