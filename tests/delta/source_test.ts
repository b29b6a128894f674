import assert from "node:assert/strict";
import { ALGORITHMS, type ObjectId, parseObjectId } from "../../lib/base/mod.ts";
import {
  buildSourceTable,
  GeneratorView,
  memoryFile,
  type SourceEntry,
  sourcePath,
  SourceTable,
  TableSource,
  treeSources,
} from "../../lib/delta/mod.ts";
import type { TarEntry, TarItem } from "../../lib/tar/mod.ts";
import { Directory, Leaf, NO_XATTRS, type Stat } from "../../lib/tree/mod.ts";

const STAT: Stat = { mode: 0o644, uid: 0, gid: 0, mtimeSec: 0n, mtimeNsec: 0, xattrs: NO_XATTRS };

function text(data: string): Extract<SourceEntry, { type: "inline" }> {
  return { type: "inline", data: new TextEncoder().encode(data) };
}

Deno.test("sourcePath() takes the ways to write a path and no way out", async (t) => {
  const cases: [string, string | undefined][] = [
    ["usr/bin/a", "usr/bin/a"],
    ["/usr/bin/a", "usr/bin/a"],
    ["//usr//bin/a/", "usr/bin/a"],
    ["./usr/./bin/a/.", "usr/bin/a"],
    ["...", "..."],
    ["a..b", "a..b"],
    ["", undefined],
    ["/", undefined],
    [".", undefined],
    ["..", undefined],
    ["usr/../a", undefined],
    ["a/..", undefined],
    ["a\0b", undefined],
  ];
  for (const [path, expected] of cases) {
    await t.step(JSON.stringify(path), () => {
      if (expected !== undefined) assert.equal(sourcePath(path), expected);
      else assert.throws(() => sourcePath(path), { message: /^Source file not found: / });
    });
  }
});

Deno.test("SourceTable finds what was put in, and says why it does not", () => {
  const id = parseObjectId("ab".repeat(ALGORITHMS.sha512.size));
  const entries = new Map<string, SourceEntry>([
    ["usr", { type: "directory" }],
    ["usr/link", { type: "other" }],
    ["usr/small", text("hello")],
    ["usr/empty", text("")],
    ["usr/big", { type: "external", digest: id, size: 2 ** 40 + 1 }],
    ["usr/n\xc3\xa4me", text("umlaut")],
  ]);
  for (let i = 0; i < 10_000; i++) entries.set(`many/${i}`, text(`${i}`));
  const table = new SourceTable(buildSourceTable(entries));
  assert.equal(table.size, entries.size);
  for (const [path, entry] of entries) assert.deepEqual(table.find(path), entry);
  assert.equal(table.find("many/10000"), undefined);
  assert.equal(table.find(""), undefined);
  assert.equal(new SourceTable(buildSourceTable(new Map())).find("a"), undefined);
  const reasons: [string, string][] = [
    ["usr", 'Directory entry "usr" is a directory'],
    ["usr/link", 'Directory entry "link" is not a regular file'],
    ["usr/link/x", 'Directory entry "link" is not a subdirectory'],
    ["usr/none", 'Directory entry "none" does not exist'],
    ["opt/x/y", 'Directory entry "opt" does not exist'],
    ["usr/x/y", 'Directory entry "usr/x" does not exist'],
    ["none", 'Directory entry "none" does not exist'],
  ];
  for (const [path, reason] of reasons) {
    assert.throws(() => table.file(path), (error: Error) => {
      assert.equal(error.message, `Source file not found: ${path}`);
      assert.equal((error.cause as Error).message, reason);
      return true;
    });
  }
  const opened: [ObjectId, number][] = [];
  const source = new TableSource(table, (id, size) => {
    opened.push([id, size]);
    return memoryFile(new Uint8Array(0));
  });
  source.open("/usr/big");
  assert.deepEqual(opened, [[id, 2 ** 40 + 1]]);
  const buffer = new Uint8Array(3);
  assert.equal(source.open("usr/small").read(buffer, 1), 3);
  assert.equal(new TextDecoder().decode(buffer), "ell");
  assert.equal(source.open("usr/small").read(buffer, 4), 1);
  assert.equal(source.open("usr/small").read(buffer, 9), 0);
});

Deno.test("SourceTable has its paths in other places each time, so that no image can choose them", () => {
  const entries = new Map(Array.from({ length: 500 }, (_, i) => [`usr/${i}`, text(`${i}`)]));
  const tables = [1, 2].map(() => buildSourceTable(entries));
  assert.notDeepEqual(...tables.map(({ slots }) => new Int32Array(slots)) as [unknown, unknown]);
  for (const memory of tables) {
    const table = new SourceTable(memory);
    for (const [path, entry] of entries) assert.deepEqual(table.find(path), entry);
    assert.equal(table.find("usr/500"), undefined);
  }
});

Deno.test("treeSources() knows all names, whatever they lead to", () => {
  const root = new Directory(STAT);
  const dir = new Directory(STAT);
  const file = new Leaf(STAT, text("x") as TarItem & { type: "inline" });
  root.entries.set("d", dir).set("f", file);
  dir.entries.set("g", file).set("l", new Leaf(STAT, { type: "symlink", target: "f" }));
  let deep = dir;
  for (let i = 0; i < 5000; i++) {
    const below = new Directory(STAT);
    deep.entries.set("d", below);
    deep = below;
  }
  deep.entries.set("unreachable", file);
  const table = new SourceTable(treeSources({ root }));
  assert.deepEqual(table.find("d/g"), text("x"));
  assert.deepEqual(table.find("f"), text("x"));
  assert.deepEqual(table.find("d/l"), { type: "other" });
  assert.deepEqual(table.find("d"), { type: "directory" });
  // No delta can name anything with a path of more than 4096 bytes.
  assert.ok(table.size > 2000 && table.size < 2100);
});

function entry(path: string, item: TarItem, mode = 0o644): TarEntry {
  return { path: `/${path}`, item, stat: { ...STAT, mode } };
}

Deno.test("GeneratorView follows the released generator's rules", async (t) => {
  const a = text("a") as Extract<TarItem, { type: "inline" }>;
  const b = text("b") as Extract<TarItem, { type: "inline" }>;
  const dir: TarItem = { type: "directory" };
  const empty: TarItem = { type: "inline", data: new Uint8Array(0) };
  const cases: { name: string; layers: TarEntry[][]; files: Record<string, string> }[] = [
    {
      name: "later layers and later entries win",
      layers: [[entry("f", b), entry("f", a), entry("g", a)], [entry("g", b)]],
      files: { f: "a", g: "b" },
    },
    {
      name: "whiteouts remove a path, but not what is below",
      layers: [[entry("d/f", a), entry("g", b)], [entry(".wh.d", empty), entry(".wh.g", empty)]],
      files: { "d/f": "a" },
    },
    {
      name: "opaque directories lose what is below, whatever its depth",
      layers: [
        [entry("d/e/f", a), entry("d/g", a), entry("dd/h", b)],
        [entry("d/.wh..wh..opq", empty), entry("d/new", b)],
      ],
      files: { "dd/h": "b", "d/new": "b" },
    },
    {
      name: "an opaque root",
      layers: [[entry("d/f", a)], [entry(".wh..wh..opq", empty), entry("x", b)]],
      files: { x: "b" },
    },
    {
      name: "whiteouts do not reach files of their own layer",
      layers: [[entry("f", a), entry(".wh.f", empty)]],
      files: { f: "a" },
    },
    {
      name: "what is no candidate hides nothing",
      layers: [
        [entry("d/f", a), entry("e", a), entry("u", a), entry("s", a)],
        [
          entry("d", { type: "symlink", target: "x" }),
          entry("e", empty),
          entry("u", b, 0o640),
          entry("s", dir),
        ],
      ],
      files: { "d/f": "a", e: "a", u: "a", s: "a" },
    },
    {
      name: "hard links are names of the file in their layer",
      layers: [
        [entry("f", a), entry("g", { type: "hardlink", target: "/f" })],
        [entry("h", { type: "hardlink", target: "/f" }), entry("f", b)],
        [entry("i", { type: "hardlink", target: "/f" })],
      ],
      files: { f: "b", g: "a", h: "b" },
    },
    {
      name: "paths are cleaned",
      layers: [[
        { ...entry("", a), path: "/./d//f" },
        { ...entry("", b), path: "/d/../../g" },
      ]],
      files: { "d/f": "a", g: "b" },
    },
  ];
  for (const { name, layers, files } of cases) {
    await t.step(name, () => {
      const view = new GeneratorView();
      for (const layer of layers) view.add(layer);
      const table = new SourceTable(view.finish());
      assert.equal(table.size, Object.keys(files).length);
      for (const [path, content] of Object.entries(files)) {
        assert.deepEqual(table.file(path), text(content));
      }
    });
  }
});
