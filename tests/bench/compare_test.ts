import assert from "node:assert/strict";
import { needTool, testWith } from "../helpers/needs.ts";
import { compare, formatComparison, median } from "./compare.ts";
import { makeDumpfile } from "./dumpfile.ts";

Deno.test("median() is the middle value", () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([9, 1, 5, 6]), 5.5);
});

testWith({
  name: "compare() measures commands in fresh directories",
  needs: [needTool("time")],
  async fn() {
    const dirs = new Set<string>();
    // Fails when it is not a fresh directory with what was prepared and nothing else.
    const check = 'test "$(ls "$0")" = ready && touch "$0/used" && sleep "$1"';
    const side = (name: string, pause: string) => ({
      name,
      prepare: (dir: string) => [["touch", `${dirs.add(dir) && dir}/ready`]],
      command: (dir: string) => ["sh", "-c", check, dir, pause],
    });
    const result = await compare("pauses", [side("a", "0.2"), side("b", "0.02")], { runs: 3 });
    assert.equal(dirs.size, 8);
    assert.ok(result.ratio! > 2, `${result.ratio}`);
    for (const { wall, min, median, max, rssMiB } of result.sides) {
      assert.equal(wall.length, 3);
      assert.ok(min >= 20 && min <= median && median <= max && rssMiB > 0);
    }
    assert.match(
      formatComparison(result)[0]!,
      /^pauses +a +0\.2\d\d +0\.\d+ +0\.\d+ +\d+ +\d+\.\d\d ×$/,
    );
    await assert.rejects(
      compare("x", [{ name: "bad", command: () => ["false"] }]),
      /exited with 1/,
    );
  },
});

Deno.test("makeDumpfile() gives the same lines each time, parents first", () => {
  const text = makeDumpfile(250);
  assert.equal(text, makeDumpfile(250));
  const paths = text.trimEnd().split("\n").map((line) => line.split(" ")[0]!);
  assert.equal(paths.length, 2 + 3 + 250);
  assert.equal(new Set(paths).size, paths.length);
  for (const [index, path] of paths.entries()) {
    if (index > 0) assert.ok(paths.indexOf(path.slice(0, path.lastIndexOf("/")) || "/") < index);
  }
});
