import assert from "node:assert/strict";
import { ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { call } from "./_call.ts";

const FIXTURES = `oci-archive:${ROOT}fixtures/oci/delta`;
const DELTA = `${FIXTURES}/main.delta.oci.tar`;
const HINT = "note: the tag is the delta's reference; NAME or --name-from-target gives another\n";

Deno.test("oci pull of a delta without a name says what it is called", async (t) => {
  using dir = new TempDir();
  const cfs = (...args: string[]) => call(["--repo", dir.join("r"), ...args]);
  await call(["init", "--insecure", dir.join("r")]);
  const first = await cfs("oci", "pull", `${FIXTURES}/main-old.oci.tar`);
  assert.deepEqual([first.code, first.stderr], [0, ""]);
  const rows: { args: string[]; tag: string; stderr: string }[] = [
    { args: [DELTA], tag: DELTA, stderr: HINT },
    { args: [DELTA, "os"], tag: "os", stderr: "" },
  ];
  for (const { args, tag, stderr } of rows) {
    await t.step(args.slice(1).join() || "no name", async () => {
      const result = await cfs("oci", "pull", ...args);
      assert.deepEqual([result.code, result.stderr], [0, stderr]);
      assert.match(result.stdout, new RegExp(`^tagged   ${RegExp.escape(tag)}$`, "m"));
    });
  }
  assert.equal((await cfs("-q", "oci", "pull", DELTA)).stderr, "");
  await t.step("--name-from-target of a target without", async () => {
    const { code, stderr } = await cfs("oci", "pull", "--name-from-target", DELTA);
    assert.equal(code, 1);
    assert.match(stderr, /does not say its name \(org\.opencontainers\.image\.ref\.name\)/);
  });
  await t.step("--name-from-target and a name", async () => {
    const { code, stderr } = await cfs("oci", "pull", "--name-from-target", DELTA, "os");
    assert.equal(code, 2);
    assert.match(stderr, /^error: the argument '\[NAME\]' cannot be used with '--name-from-t/);
  });
});
