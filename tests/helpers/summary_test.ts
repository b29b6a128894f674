import assert from "node:assert/strict";
import { run, runOk } from "./run.ts";
import { add, summarize } from "./summary.ts";
import { TempDir } from "./temp.ts";

const cases: { log: string; totals: [passed: number, failed: number, ignored: number] }[] = [
  { log: "ok | 3 passed | 0 failed (51ms)\n", totals: [3, 0, 0] },
  {
    log: "\x1b[0m\x1b[32mok\x1b[0m | 3 passed (28 steps) | 0 failed \x1b[38;5;245m(1s)\x1b[0m",
    totals: [3, 0, 0],
  },
  { log: "FAILED | 1 passed (1 step) | 2 failed (1 step) (8s)\n", totals: [1, 2, 0] },
  { log: "ok | 5 passed | 0 failed | 2 ignored (1s)\n", totals: [5, 0, 2] },
  { log: "ok | 5 passed | 0 failed | 2 ignored (3 steps) (1s)\n", totals: [5, 0, 5] },
  { log: "ok | 5 passed | 0 failed | 0 ignored (3 steps) (1s)\n", totals: [5, 0, 3] },
  { log: "ok | 5 passed | 0 failed | 7 filtered out (1s)\n", totals: [5, 0, 0] },
  { log: "ok | 9 passed | 0 failed (1s)\nFAILED | 1 passed | 1 failed (1s)\n", totals: [1, 1, 0] },
  { log: "error: Type checking failed.\n", totals: [0, 1, 0] },
  { log: "", totals: [0, 1, 0] },
];

Deno.test("summarize() reads the totals of a run", async (t) => {
  for (const { log, totals } of cases) {
    await t.step(JSON.stringify(log), () => {
      const { passed, failed, ignored } = summarize(log);
      assert.deepEqual([passed, failed, ignored], totals);
    });
  }
});

Deno.test("summarize() agrees with what deno test prints", async () => {
  using dir = new TempDir();
  const file = dir.write(
    "a_test.ts",
    `Deno.test("good", () => {});
     Deno.test({ name: "idle", ignore: true, fn() {} });
     Deno.test("steps", async (t) => {
       await t.step("one", () => {});
       await t.step({ name: "lazy", ignore: true, fn() {} });
     });
     Deno.test("bad", () => { throw new Error("no"); });`,
  );
  const { stdout } = await run([Deno.execPath(), "test", "--no-config", "--no-check", file]);
  const { passed, failed, ignored, ignoredNames } = summarize(stdout);
  assert.deepEqual([passed, failed, ignored], [2, 1, 2], stdout);
  assert.match(ignoredNames.join(), /^idle \.\.\. ignored.*,lazy \.\.\. ignored/);
});

Deno.test("add() sums up runs", () => {
  const one = { passed: 1, failed: 2, ignored: 1, ignoredNames: ["a"] };
  const other = { passed: 3, failed: 0, ignored: 0, ignoredNames: [] };
  assert.deepEqual(add([one, other]), { passed: 4, failed: 2, ignored: 1, ignoredNames: ["a"] });
});

Deno.test("the summary program fails on failures, on ignored tests and when nothing ran", async (t) => {
  using dir = new TempDir();
  const good = dir.write("good", "ok | 3 passed | 0 failed (1s)\n");
  const ignored = dir.write("ignored", "ok | 3 passed | 0 failed | 1 ignored (1s)\n");
  const program = new URL("summary.ts", import.meta.url).pathname;
  const command = [Deno.execPath(), "run", "-A", "--no-check", program];
  const last = (text: string) => text.trimEnd().split("\n").at(-1);
  await t.step("all passed", async () => {
    assert.equal(last((await runOk([...command, good, good])).stdout), "6 passed, 0 failed");
  });
  for (
    const [args, line] of [
      [[good, ignored], "6 passed, 1 failed"],
      [["--failed", "2", good], "3 passed, 2 failed"],
      [[], "0 passed, 0 failed"],
    ] as const
  ) {
    await t.step(args.map((arg) => arg.replace(dir.path, "")).join(" "), async () => {
      const result = await run([...command, ...args]);
      assert.deepEqual([result.code, last(result.stdout)], [1, line]);
    });
  }
});
