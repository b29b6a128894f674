/** The README's first command. */
import assert from "node:assert/strict";
import { runDemo } from "../../cli/demo.ts";
import { recordedExpectation } from "../../cli/demo_expectation.ts";
import { loadNative } from "../helpers/native.ts";
import { needRoot } from "../helpers/needs.ts";
import { ROOT, run, runOk } from "../helpers/run.ts";
import { mountsBelow, TempDir } from "../helpers/temp.ts";

loadNative();

function demo(args: string[], dir: TempDir) {
  const command = [Deno.execPath(), "task", "--quiet", "demo", ...args];
  return { command, options: { cwd: ROOT, env: { NO_COLOR: "1", TMPDIR: dir.path } } };
}

Deno.test("deno task demo does the whole job and leaves nothing behind", async () => {
  using dir = new TempDir({ on: "disk" });
  const { command, options } = demo([], dir);
  const { stdout, stderr } = await runOk(command, options);
  const { manifest, image } = recordedExpectation();
  assert.match(stdout, new RegExp(`^ +manifest ${manifest}$`, "m"));
  assert.match(stdout, new RegExp(`^ +${image}$`, "m"));
  assert.match(stdout, /^ +layer 2 .* zstd, \d+ bytes: whiteouts and links$/m);
  assert.match(stdout, /^ +status: ok$/m);
  assert.equal(stderr.match(/^ +sha256:[0-9a-f]{64}: done, /gm)?.length, 3);
  if (needRoot().met) {
    assert.match(stdout, /^ +mounted at \S+:$/m);
    assert.match(stdout, /the 7 larger files, read through the mount, have the right digests/);
  } else {
    assert.match(stdout, /^ +not mounted: /m);
    assert.match(stdout, /^ +\/usr\/bin\/hello\t@ 06\/806f15/m);
  }
  assert.deepEqual([...Deno.readDirSync(dir.path)], []);
  assert.deepEqual(mountsBelow(dir.path), []);
});

Deno.test("deno task demo --keep leaves the repository and the mount", async () => {
  using dir = new TempDir({ on: "disk" });
  const { command, options } = demo(["--keep"], dir);
  const { stdout } = await runOk(command, options);
  const repository = /^ +repository +(\S+)$/m.exec(stdout)?.[1];
  assert.ok(repository?.startsWith(dir.path));
  assert.ok(Deno.statSync(`${repository}/meta.json`).isFile);
  assert.equal(mountsBelow(dir.path).length, needRoot().met ? 1 : 0);
});

Deno.test("deno task demo with an unknown option says how it is called", async () => {
  using dir = new TempDir({ on: "disk" });
  const { command, options } = demo(["--mount"], dir);
  const { code, stderr } = await run(command, options);
  assert.deepEqual([code, stderr], [2, "Usage: deno task demo [--keep]\n"]);
});

Deno.test("the demo fails when anything is not what the reference computed", async (t) => {
  const expected = recordedExpectation();
  const wrong = "0".repeat(64);
  const cases = [
    { what: "the manifest's digest", expected: { ...expected, manifest: `sha256:${wrong}` } },
    { what: "the image's digest", expected: { ...expected, image: wrong } },
    { what: "the list of files", expected: { ...expected, dump: `${expected.dump}/x\n` } },
  ];
  for (const one of cases) {
    await t.step(one.what, async () => {
      const before = new Set(Array.from(Deno.readDirSync(tmp()), ({ name }) => name));
      let stderr = "";
      const sink = (write: (text: string) => void) => ({
        writeSync: (bytes: Uint8Array) => (write(new TextDecoder().decode(bytes)), bytes.length),
        isTerminal: () => false,
      });
      const options = { stdout: sink(() => {}), stderr: sink((text) => stderr += text) };
      assert.equal(await runDemo({ ...options, expected: one.expected }), 1);
      assert.match(stderr, new RegExp(`^demo failed: ${one.what}: the reference computed `, "m"));
      const left = [...Deno.readDirSync(tmp())].filter(({ name }) =>
        name.startsWith("composefs-demo-") && !before.has(name)
      );
      assert.deepEqual(left, []);
    });
  }
});

function tmp(): string {
  return Deno.env.get("TMPDIR") || "/tmp";
}
