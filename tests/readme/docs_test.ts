/** What the documents name is there, and what is there is named. */
import assert from "node:assert/strict";
import { exists } from "../helpers/exists.ts";
import { ROOT } from "../helpers/run.ts";
import { documents, documentText } from "./_console.ts";

const DOCUMENTS = ["CONTRIBUTING.md", "CHANGELOG.md", ...documents()];

/** Where links into a document can lead: its headings, as web sites make anchors of them. */
function anchors(path: string): Set<string> {
  const headings = [...documentText(path).matchAll(/^#+ (.*)$/gm)].map((match) => match[1]!);
  return new Set(
    headings.map((text) =>
      `#${text.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")}`
    ),
  );
}

Deno.test("links in the documents lead to files that are there", async (t) => {
  for (const path of DOCUMENTS) {
    await t.step(path, () => {
      const base = new URL(path, "file:///");
      const links = [...documentText(path).matchAll(/\]\(([^)\s]+)\)/g)];
      for (const [, target] of links) {
        const url = new URL(target!, base);
        if (url.protocol !== "file:") continue;
        const file = url.pathname.slice(1);
        assert.ok(exists(ROOT + file), `${path} leads to ${target}`);
        if (url.hash !== "") assert.ok(anchors(file).has(url.hash), `${path} leads to ${target}`);
      }
    });
  }
});

Deno.test("files and folders that the documents name are there", async (t) => {
  for (const path of DOCUMENTS) {
    await t.step(path, () => {
      const text = documentText(path);
      const names = [...text.matchAll(/`((?:lib|ffi|cli|tests|docs|fixtures|\.ci)\/[\w./-]+)`/g)];
      for (const [, name] of names) assert.ok(exists(ROOT + name!), `${path} names ${name}`);
    });
  }
});

Deno.test("docs/architecture.md has a row for each room and each worker", () => {
  const text = documentText("docs/architecture.md");
  const rooms = [...Deno.readDirSync(`${ROOT}lib`)].map(({ name }) => `lib/${name}`);
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`));
  const workers = [...tasks.compile.matchAll(/--include (\S+)/g)].map((match) => match[1]);
  assert.ok(rooms.length > 9 && workers.length > 3);
  for (const name of [...rooms, "ffi", "cli", ...workers]) {
    assert.match(text, new RegExp(`^\\| \`${name}\` +\\|`, "m"), name);
  }
});

Deno.test("the files that docs/architecture.md recommends are in their rooms", () => {
  const text = documentText("docs/architecture.md");
  const rows = [...text.matchAll(/^\| `((?:lib\/)?\w+)` +\|[^|]*\| (.*) \|$/gm)];
  assert.ok(rows.length > 12);
  for (const [, room, files] of rows) {
    for (const [, file] of files!.matchAll(/`([\w./]+\.ts)`/g)) {
      assert.ok(exists(ROOT + `${room}/${file}`), `${room}/${file}`);
    }
  }
});
