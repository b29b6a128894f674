import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { FaultServer } from "../helpers/fault_server.ts";

const CHILD = fileURLToPath(new URL("./_proxy_child.ts", import.meta.url));

async function ask(name: string, env: Record<string, string>) {
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-lock", "-A", CHILD, name],
    env,
  }).output();
  const decoder = new TextDecoder();
  return { stdout: decoder.decode(output.stdout), stderr: decoder.decode(output.stderr) };
}

Deno.test("proxies of the environment are asked", async (t) => {
  await using server = new FaultServer(({ path }) =>
    path.endsWith("/v2/") ? {} : { body: new TextEncoder().encode('{"mediaType":"a/b"}') }
  );
  await t.step("for a registry that only the proxy can reach", async () => {
    const { stdout, stderr } = await ask("registry.invalid/a", { HTTP_PROXY: server.url });
    assert.equal(stdout, "a/b", stderr);
    assert.equal(server.requests.at(-1)!.path, "http://registry.invalid/v2/a/manifests/latest");
  });
  await t.step("but not for what is not to go through it", async () => {
    const env = { HTTP_PROXY: "http://127.0.0.1:1", NO_PROXY: "127.0.0.1" };
    const { stdout, stderr } = await ask(`${server.host}/a`, env);
    assert.equal(stdout, "a/b", stderr);
    assert.equal(server.requests.at(-1)!.path, "/v2/a/manifests/latest");
  });
  await t.step("and are named when they cannot be reached", async () => {
    const { stderr } = await ask("registry.invalid/a", {
      HTTP_PROXY: "http://u:secret@127.0.0.1:1",
    });
    assert.match(stderr, /Request failed through proxy 127\.0\.0\.1:1: /);
    assert.doesNotMatch(stderr, /secret/);
  });
});
