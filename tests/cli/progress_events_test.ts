import assert from "node:assert/strict";
import type { ProgressEvent } from "../../lib/base/mod.ts";
import { unpack } from "../helpers/tar.ts";
import { TempDir } from "../helpers/temp.ts";
import { ROOT } from "../helpers/run.ts";
import { call } from "./_call.ts";

const DEMO = `oci-archive:${ROOT}fixtures/demo/demo.oci.tar:demo`;
const OLD = `oci-archive:${ROOT}fixtures/oci/delta/main-old.oci.tar`;
const NEW = `oci-archive:${ROOT}fixtures/oci/delta/main-new.oci.tar`;

/** Commands that may take long, in an order in which each finds what it works on. */
const long: { args: string[]; id: RegExp }[] = [
  { args: ["oci", "pull", DEMO, "demo"], id: /^sha256:/ },
  { args: ["fsck"], id: /^objects$/ },
  { args: ["oci", "fsck", "--deep"], id: /^objects$/ },
  { args: ["create-image", "DIR/tree", "x"], id: /^scan$/ },
  { args: ["compute-id", "DIR/tree"], id: /^scan$/ },
  { args: ["create-dumpfile", "DIR/tree"], id: /^scan$/ },
  { args: ["gc", "-n"], id: /^(mark|objects)$/ },
  { args: ["oci", "push", "demo", "oci:DIR/out:v"], id: /^sha256:/ },
  { args: ["oci", "copy", "--from", "DIR/r", "demo", "--repo", "DIR/r2"], id: /^sha256:/ },
  { args: ["oci", "delta", "create", OLD, NEW, "oci:DIR/delta:v"], id: /^sha256:/ },
  { args: ["ostree", "pull-local", "DIR/ostree", "test/stable"], id: /^[0-9a-f]{64}$/ },
  { args: ["ostree", "fsck", "test/stable"], id: /^fsck$/ },
  { args: ["ostree", "export", "test/stable", "DIR/out-ostree"], id: /^export$/ },
];

/** Checks that what is worked on is started before it is counted, and done in the end. */
function checkOrder(events: readonly ProgressEvent[]): string[] {
  const open = new Map<string, number>();
  const ended: string[] = [];
  for (const event of events) {
    switch (event.type) {
      case "started":
        open.set(event.id, 0);
        break;
      case "progress":
        assert.ok(open.has(event.id), `${event.id} counts before it has started`);
        assert.ok(event.done >= open.get(event.id)!, `${event.id} goes backwards`);
        open.set(event.id, event.done);
        break;
      case "done":
        assert.ok(open.delete(event.id), `${event.id} is done before it has started`);
        ended.push(event.id);
        break;
      case "skipped":
        open.delete(event.id);
        ended.push(event.id);
    }
  }
  assert.deepEqual([...open.keys()], [], "not done");
  return ended;
}

Deno.test("long commands tell what they work on, from start to end", async (t) => {
  using dir = new TempDir();
  dir.write("tree/usr/bin/x", "x".repeat(5000));
  dir.write("out-ostree/config", "[core]\nrepo_version=1\nmode=bare-user\n");
  for (const name of ["ostree", "out-ostree/objects", "out-ostree/refs/heads"]) {
    Deno.mkdirSync(dir.join(name), { recursive: true });
  }
  await unpack("fixtures/ostree/repos/archive.tar", dir.join("ostree"));
  for (const name of ["r", "r2"]) {
    const algorithm = "fsverity-sha256-12";
    await call(["init", "--insecure", "--algorithm", algorithm, dir.join(name)]);
  }
  for (const { args, id } of long) {
    await t.step(args.slice(0, 3).join(" "), async () => {
      const given = args.map((arg) => arg.replaceAll("DIR", dir.path));
      const before = given.includes("--repo") ? [] : ["--repo", dir.join("r")];
      const { code, stderr } = await call([...before, "--progress=json", ...given]);
      assert.equal(code, 0, stderr);
      const lines = stderr.split("\n").filter((line) => line.startsWith("{"));
      const ended = checkOrder(lines.map((line) => JSON.parse(line) as ProgressEvent));
      assert.ok(ended.length > 0 && ended.every((one) => id.test(one)), ended.join());
    });
  }
});
