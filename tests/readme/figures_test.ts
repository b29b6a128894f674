import assert from "node:assert/strict";
import { documentText } from "./_console.ts";
import { figuresOf, withFigures } from "./figures.ts";

function side(name: string, median: number, rssMiB = 100) {
  return { name, wall: [median], min: median, median, max: median, rssMiB };
}

const MAIN = JSON.stringify([
  {
    title: "oci pull",
    sides: [side("cfs", 1000, 210.3), side("cfsctl", 2000)],
    ratio: 0.5,
    missed: [],
  },
  {
    title: "fsck",
    sides: [side("cfs", 1300), side("cfsctl", 1000)],
    ratio: 1.3,
    missed: ["ratio above 1.2"],
  },
  { title: "--version", sides: [side("cfs", 120)], missed: ["median above 100 ms"] },
  { title: "create-image", sides: [], missed: ["it failed"] },
]);

const OSTREE = JSON.stringify([{
  title: "pull over HTTP",
  sides: [side("cfs", 900), side("cfsctl", 1000), side("ostree", 1200)],
  missed: ["ratio to ostree above 0.5"],
}]);

const BYTES = `partial pull: old image pulled in parts: 11 of 100 bytes, 0.110 × (aim ≤ 0.15 ×)
partial pull: old image pulled as whole blobs: 16 of 100 bytes, 0.160 × (aim ≤ 0.15 ×)  missed
`;

const CREATE = `delta 2800000 bytes, zstd 5500000 bytes
size beside zstd -19 --long=27 --patch-from: 0.51 (aim ≤ 1.05)
seconds: 31.20 (aim ≤ 60)
peak memory in MiB: 512.00 (aim ≤ 1024)
`;

Deno.test("the README's tables of figures take what the benchmarks print", () => {
  const figures = new Map([MAIN, OSTREE, BYTES, CREATE].flatMap((text) => [...figuresOf(text)]));
  const { text, empty } = withFigures(documentText("README.md"), figures);
  const rows = new Map(
    text.split("\n").filter((line) => line.startsWith("| ")).map((line) => {
      const [first, ...rest] = line.slice(1, -1).split("|").map((cell) => cell.trim());
      return [first!, rest.slice(0, -1)];
    }),
  );
  assert.deepEqual(rows.get("`oci pull` of 380 MB in 3 gzip layers"), [
    "1.00 s",
    "2.00 s",
    "0.50 ×",
  ]);
  assert.deepEqual(rows.get("memory of that"), ["211 MiB", "", ""]);
  assert.deepEqual(rows.get("`fsck`")?.slice(-3), ["1.30 s", "1.00 s", "**1.30 ×**"]);
  assert.deepEqual(rows.get("`--version`"), ["**0.12 s**", "–", "–"]);
  assert.deepEqual(rows.get("`ostree pull` over HTTP"), [
    ...["0.90 s", "1.00 s", "1.20 s", "0.90 ×", "**0.75 ×**"],
  ]);
  assert.equal(
    rows.get("traffic of a pull in parts, one file in ten being new")?.[1],
    "**0.16 ×**",
  );
  assert.equal(rows.get("delta of a Debian upgrade")?.[1], "0.51 ×");
  assert.equal(rows.get("time to make that delta, two cores")?.[1], "32 s");
  assert.equal(rows.get("memory of making it")?.[1], "512 MiB");
  for (const row of figures.keys()) assert.ok(rows.has(row) && !empty.includes(row), row);
});

Deno.test("the README has a row for each row of the benchmarks", async (t) => {
  for (const program of ["main", "ostree"]) {
    const source = Deno.readTextFileSync(new URL(`../bench/${program}.ts`, import.meta.url));
    const titles = [...source.matchAll(/^ +(?:\{ )?title: "(.*?)"/gm)].map((match) => match[1]!);
    assert.ok(titles.length > 5);
    for (const title of titles) {
      await t.step(title, () => {
        const printed = JSON.stringify([{ title, sides: [side("cfs", 1)] }]);
        const figures = figuresOf(printed);
        assert.ok(figures.size > 0, "not known to tests/readme/figures.ts");
        const { text } = withFigures(documentText("README.md"), figures);
        for (const row of figures.keys()) assert.ok(text.includes(`\n| ${row} |`), row);
      });
    }
  }
});
