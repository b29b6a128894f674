import assert from "node:assert/strict";
import { Context } from "../../cli/context.ts";
import { showPlan } from "../../cli/plan_output.ts";
import { Digest } from "../../lib/base/mod.ts";
import type { PullPlan } from "../../lib/oci/mod.ts";

const DIGEST = Digest.parse(`sha256:${"0".repeat(64)}`);
const PLAN: PullPlan = {
  manifestDigest: DIGEST,
  configDigest: DIGEST,
  complete: false,
  way: "full",
  full: { blobs: 1, bytes: 4096 },
  available: 4096,
  layers: [],
};

function shown(plan: PullPlan): { stdout: string; stderr: string } {
  const out = { stdout: "", stderr: "" };
  const sink = (name: keyof typeof out) => ({
    writeSync(bytes: Uint8Array) {
      out[name] += new TextDecoder().decode(bytes);
      return bytes.length;
    },
    isTerminal: () => false,
  });
  const context = new Context({
    programName: "cfs",
    stdout: sink("stdout"),
    stderr: sink("stderr"),
  });
  showPlan(context, plan);
  context.stdout.flush();
  context.stderr.flush();
  return out;
}

Deno.test("showPlan() warns where there is no room", () => {
  assert.equal(shown(PLAN).stderr, "");
  const { stdout, stderr } = shown({ ...PLAN, available: 2048 });
  assert.match(stdout, /^full {5}1 blob, 4\.00 KiB\npull {5}whole layers\n$/m);
  assert.equal(stderr, "warning: only 2.00 KiB are free for it\n");
  assert.equal(shown({ ...PLAN, way: "none", available: 0 }).stderr, "");
});
