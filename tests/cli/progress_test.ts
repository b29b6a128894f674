import assert from "node:assert/strict";
import type { ProgressEvent } from "../../lib/base/mod.ts";
import { progressDisplay } from "../../cli/progress.ts";
import { Output } from "../../cli/output.ts";
import { Context } from "../../cli/context.ts";
import type { GlobalOptions } from "../../cli/globals.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { cfsCommand, cfsOk, ROOT, run } from "../helpers/run.ts";
import { unpack } from "../helpers/tar.ts";
import { TempDir } from "../helpers/temp.ts";

const EVENTS: ProgressEvent[] = [
  { type: "message", text: "Importing 2 layers" },
  { type: "skipped", id: "sha256:0" },
  { type: "started", id: "sha256:1", unit: "bytes", total: 2048 },
  { type: "progress", id: "sha256:1", done: 1024, objects: 3 },
  { type: "started", id: "objects", unit: "objects", total: 2 },
  { type: "warning", text: "odd entry" },
  { type: "done", id: "sha256:1", transferred: 2048 },
  { type: "done", id: "objects", transferred: 2 },
];

function sink(terminal: boolean) {
  const pieces: string[] = [];
  return {
    writeSync(bytes: Uint8Array): number {
      pieces.push(new TextDecoder().decode(bytes));
      return bytes.length;
    },
    isTerminal: () => terminal,
    text: () => pieces.join(""),
  };
}

Deno.test("progress as JSON is one event a line, as plain text one line for what matters", async () => {
  const json = sink(false);
  using first = await progressDisplay("json", new Output(json));
  EVENTS.forEach(first.sink);
  assert.deepEqual(json.text().trimEnd().split("\n").map((line) => JSON.parse(line)), EVENTS);
  const plain = sink(false);
  using second = await progressDisplay("plain", new Output(plain));
  EVENTS.forEach(second.sink);
  assert.deepEqual(plain.text().split("\n"), [
    "Importing 2 layers",
    "sha256:0: skipped",
    "sha256:1: started, 2.00 KiB",
    "objects: started, 2 objects",
    "warning: odd entry",
    "sha256:1: done, 2.00 KiB",
    "objects: done, 2 objects",
    "",
  ]);
});

Deno.test("progress as JSON has no more counts than a reader can follow", async () => {
  const json = sink(false);
  using display = await progressDisplay("json", new Output(json));
  display.sink({ type: "started", id: "a", unit: "objects" });
  for (let done = 1; done <= 5000; done++) {
    for (const id of ["a", "b"]) display.sink({ type: "progress", id, done });
  }
  display.sink({ type: "done", id: "a", transferred: 5000 });
  const events = json.text().trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(events.slice(0, 3), [
    { type: "started", id: "a", unit: "objects" },
    { type: "progress", id: "a", done: 1 },
    { type: "progress", id: "b", done: 1 },
  ]);
  assert.ok(events.length < 1000, `${events.length} events`);
  assert.deepEqual(events.at(-1), { type: "done", id: "a", transferred: 5000 });
});

const modes: { name: string; globals: GlobalOptions; terminal: boolean; text: RegExp }[] = [
  { name: "no terminal", globals: {}, terminal: false, text: /^warning: odd entry\n$/ },
  { name: "--progress=none", globals: { progress: "none" }, terminal: true, text: /^warning: odd/ },
  { name: "--quiet", globals: { quiet: true }, terminal: true, text: /^$/ },
  {
    name: "--quiet --progress=plain",
    globals: { quiet: true, progress: "plain" },
    terminal: false,
    text: /^Importing/,
  },
];

Deno.test("progress is shown to a terminal or when asked for, warnings unless --quiet", async (t) => {
  for (const { name, globals, terminal, text } of modes) {
    await t.step(name, async () => {
      const stderr = sink(terminal);
      const context = new Context({ programName: "cfs", stdout: sink(false), stderr });
      context.globals = globals;
      using display = await context.progress();
      EVENTS.forEach(display.sink);
      assert.match(stderr.text(), text);
    });
  }
});

testWith({
  name: "on a terminal there are bars while it works, and the result stays alone",
  needs: [needTool("script")],
  async fn() {
    using dir = new TempDir();
    Deno.mkdirSync(dir.join("layout"));
    await unpack("fixtures/oci/basic/basic.oci.tar", dir.join("layout"));
    await cfsOk(["init", "--insecure", "r"], { cwd: dir.path });
    const command = [...cfsCommand(["--repo", "r", "oci", "pull", "oci:layout", "img"]), "> out"];
    const { stdout, code } = await run(["script", "-qec", command.join(" "), "/dev/null"], {
      cwd: dir.path,
    });
    assert.equal(code, 0, stdout);
    assert.match(stdout, /\[eta/);
    assert.match(stdout, / sha256:[0-9a-f]{12}(?![0-9a-f])/);
    assert.ok(stdout.endsWith("\x1b[J") || stdout.includes("\x1b[?25h"), JSON.stringify(stdout));
    const result = Deno.readTextFileSync(dir.join("out"));
    assert.match(result, /^manifest sha256:[0-9a-f]{64}\nconfig /);
    assert.ok(!result.includes("\x1b"), result);
  },
});

/** What bars begin with. */
const HIDE_CURSOR = "\x1b[?25l";

testWith({
  name: "on a terminal the bars are gone when the result is written",
  needs: [needTool("script")],
  async fn(t) {
    using dir = new TempDir();
    Deno.mkdirSync(dir.join("layout"));
    await unpack("fixtures/oci/basic/basic.oci.tar", dir.join("layout"));
    await cfsOk(["init", "--insecure", "r"], { cwd: dir.path });
    await cfsOk(["--repo", "r", "oci", "pull", "oci:layout", "img"], { cwd: dir.path });
    const tool = ["mkcomposefs", "--print-digest-only", "layout"];
    const repo = ["--repo", "r"];
    const rows: [string[], string][] = [
      [[...repo, "fsck"], "meta.json: ok"],
      [[...repo, "oci", "fsck"], "meta.json: ok"],
      [[...repo, "oci", "push", "img", "oci:out"], "manifest sha256:"],
      [[...repo, "gc"], "Objects: 0 removed"],
      [tool, await cfsOk(tool, { cwd: dir.path }).then(({ stdout }) => stdout.trim())],
    ];
    for (const [args, first] of rows) {
      await t.step(args.join(" "), async () => {
        const command = cfsCommand(args).join(" ");
        const options = { cwd: dir.path };
        const { stdout, code } = await run(["script", "-qec", command, "/dev/null"], options);
        assert.equal(code, 0, stdout);
        assert.ok(stdout.includes(HIDE_CURSOR), JSON.stringify(stdout));
        assert.ok(stdout.includes(first), JSON.stringify(stdout));
        const result = stdout.slice(stdout.indexOf(first));
        assert.ok(result.startsWith(first), JSON.stringify(stdout));
        assert.ok(!result.includes("\x1b"), JSON.stringify(result));
      });
    }
  },
});

Deno.test("signals end the program while bars are shown", async (t) => {
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    await t.step(signal, async () => {
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--quiet", `${ROOT}tests/cli/_bars_process.ts`],
        stdout: "piped",
        stderr: "null",
      }).spawn();
      const reader = child.stdout.getReader();
      await reader.read(); // it is ready
      child.kill(signal);
      assert.equal((await child.status).code, code);
      await reader.cancel();
    });
  }
});
