import assert from "node:assert/strict";
import { FormatError } from "../../lib/base/mod.ts";
import {
  joinTarSplit,
  lossyText,
  mergeRanges,
  parseToc,
  type TarSplitLine,
  tarSplitLines,
} from "../../lib/chunked/mod.ts";

const DIGEST = "sha256:" + "ab".repeat(32);
const END = 1000;

const bytes = (text: string) => new TextEncoder().encode(text);

function toc(...entries: Record<string, unknown>[]): string {
  return JSON.stringify({ version: 1, entries });
}

const file = (fields: Record<string, unknown> = {}) => ({
  type: "reg",
  name: "f",
  size: 10,
  digest: DIGEST,
  offset: 100,
  endOffset: 200,
  ...fields,
});
const first = { chunkSize: 4, chunkDigest: DIGEST };
const second = {
  type: "chunk",
  name: "f",
  offset: 150,
  chunkSize: 6,
  chunkOffset: 4,
  chunkDigest: DIGEST,
};

/** As many keys of an object as are remembered, and some more. */
const keys = (count: number) => Array.from({ length: count }, (_, i) => `"k${i}":0`).join();

const GOOD: Record<string, string> = {
  "many unknown keys": `{"version":1,"entries":[],"x":{${keys(60_000)}},"y":{${keys(60_000)}}}`,
  "no entries": '{"version":1,"entries":null}',
  "white space": ' {\n"version" : 1 ,\t"entries" : [ ] } \r\n',
  "unknown keys": '{"x":{"y":[1,-2.5e3,"\\u00e9",true,false,null,{}]},"version":1,"entries":[]}',
  "escaped keys": '{"\\u0076ersion":1,"entries":[]}',
  "one file": toc(file()),
  "two chunks": toc(file(first), second),
  "zeros without a digest": toc(file({ chunkSize: 4, chunkType: "zeros" }), second),
  "an empty file": toc({ type: "reg", name: "e" }),
  "a link with a size": toc({ type: "hardlink", name: "h", linkName: "f", size: 10 }),
  "tarSplitDigest": `{"version":1,"entries":[],"tarSplitDigest":"${DIGEST}"}`,
};

const BAD: Record<string, string> = {
  "nothing": "",
  "an array": "[]",
  "two objects": GOOD["no entries"]! + GOOD["no entries"]!,
  "no version": '{"entries":[]}',
  "another version": '{"version":2,"entries":[]}',
  "no entries key": '{"version":1}',
  "a key twice": '{"version":1,"version":1,"entries":[]}',
  "a key twice, once escaped": '{"version":1,"\\u0076ersion":1,"entries":[]}',
  "an unknown key twice": '{"version":1,"entries":[],"x":1,"x":2}',
  "a key twice inside": '{"version":1,"entries":[],"x":{"a":1,"a":2}}',
  "an entry's key twice": '{"version":1,"entries":[{"type":"dir","name":"a","name":"a"}]}',
  "a trailing comma": '{"version":1,"entries":[],}',
  "a single quote": "{'version':1}",
  "a comment": '{"version":1,/**/"entries":[]}',
  "a bad escape": '{"version":1,"entries":[{"type":"dir","name":"\\x"}]}',
  "a raw control character": '{"version":1,"entries":[{"type":"dir","name":"\n"}]}',
  "a number with a fraction": toc(file({ size: 10.5 })),
  "a negative number": toc(file({ offset: -1 })),
  "a number as text": toc(file({ size: "10" })),
  "a number with leading zeros": toc(file()).replace('"size":10', '"size":010'),
  "a number above 2^53": toc(file()).replace('"size":10', '"size":9007199254740993'),
  "a digest of another kind": toc(file({ digest: "sha512:" + "ab".repeat(64) })),
  "a digest in upper case": toc(file({ digest: DIGEST.toUpperCase() })),
  "no digest": toc(file({ digest: undefined })),
  "no name": toc({ type: "dir" }),
  "no type": toc({ name: "x" }),
  "an unknown type": toc({ type: "socket", name: "x" }),
  "content behind the data": toc(file({ endOffset: END + 1 })),
  "content without bytes": toc(file({ endOffset: 100 })),
  "content at 0": toc(file({ offset: 0 })),
  "overlapping contents": toc(file(), file({ name: "g", offset: 199, endOffset: 300 })),
  "contents in another order": toc(file({ offset: 300, endOffset: 400 }), file({ name: "g" })),
  "more than 64 GiB": toc(file({ size: 2 ** 36 + 1 })),
  "a chunk without a file": toc(second),
  "a chunk after a whole file": toc(file(), second),
  "a chunk of another file": toc(file(first), { ...second, name: "g" }),
  "chunks that do not cover": toc(file(first)),
  "chunks that cover too much": toc(file(first), { ...second, chunkSize: 7 }),
  "a gap between chunks": toc(file(first), { ...second, chunkOffset: 5 }),
  "a chunk outside of its file": toc(file(first), { ...second, offset: 200 }),
  "a chunk before its file": toc(file(first), { ...second, offset: 100 }),
  "an empty chunk": toc(file(first), { ...second, chunkSize: 0 }),
  "a chunk without a digest": toc(file(first), { ...second, chunkDigest: undefined }),
  "an unknown kind of chunk": toc(file({ ...first, chunkType: "ones" }), second),
  "a bad tarSplitDigest": '{"version":1,"entries":[],"tarSplitDigest":"sha256:00"}',
  "more unknown keys than a file can have attributes": `{"version":1,"entries":[],${keys(70_000)}}`,
  "the same inside": `{"version":1,"entries":[{"type":"dir","name":"d","xattrs":{${
    keys(70_000)
  }}}]}`,
  "the same in objects inside of each other": `{"version":1,"entries":[],"x":{${
    keys(40_000)
  },"y":{${keys(40_000)}}}}`,
  "deep nesting": `{"version":1,"entries":[],"x":${"[".repeat(100_000)}}`,
};

Deno.test("parseToc() takes what is well formed and nothing else", async (t) => {
  for (const [name, text] of Object.entries(GOOD)) {
    await t.step(name, () => void parseToc(bytes(text), END));
  }
  for (const [name, text] of Object.entries(BAD)) {
    await t.step(`not ${name}`, () => assert.throws(() => parseToc(bytes(text), END), FormatError));
  }
});

const HEADER = (type: string) => {
  const block = new Uint8Array(512);
  block[156] = type.charCodeAt(0);
  return block.toBase64();
};
const segment = (type: string) => `{"type":2,"payload":"${HEADER(type)}","position":0}\n`;

function join(entries: string, lines: string): number[] {
  const parsed = parseToc(bytes(entries), END);
  return [...joinTarSplit(parsed, () => tarSplitLines([bytes(lines)]))];
}

Deno.test("joinTarSplit() goes by position, else by name", async (t) => {
  const two = toc(file({ name: "a" }), file({ name: "b", size: 7, offset: 300, endOffset: 400 }));
  const line = (name: string, size: number) => `{"type":1,"name":"${name}","size":${size}}\n`;
  const cases: { name: string; toc: string; lines: string; files?: number[] }[] = [
    {
      name: "the same order",
      toc: two,
      lines: segment("0") + line("a", 10) + segment("0") + line("b", 7),
      files: [0, 1],
    },
    {
      name: "another order",
      toc: two,
      lines: segment("0") + line("b", 7) + segment("7") + line("a", 10),
      files: [1, 0],
    },
    {
      name: "another size",
      toc: two,
      lines: segment("0") + line("a", 10) + segment("0") + line("b", 8),
    },
    { name: "a missing line", toc: two, lines: segment("0") + line("a", 10) },
    { name: "a line too many", toc: toc(file()), lines: segment("0") + line("f", 10).repeat(2) },
    { name: "another name", toc: toc(file()), lines: segment("0") + line("g", 10) },
    {
      name: "an escaped name",
      toc: toc(file()),
      lines: segment("0") + line("\\u0066", 10),
      files: [0],
    },
    {
      name: "a hard link with a size",
      toc: toc({ type: "hardlink", name: "h" }),
      lines: segment("1") + line("h", 10),
      files: [-1],
    },
    { name: "content of a link", toc: toc(file()), lines: segment("1") + line("f", 10) },
    { name: "no header", toc: toc(file()), lines: line("f", 10) },
    {
      name: "names that are not UTF-8, and equal when shown",
      toc: toc(
        file({ name: "\ufffd" }),
        file({ name: "\ufffd", size: 7, offset: 300, endOffset: 400 }),
      ),
      lines: segment("0") + '{"type":1,"name_raw":"/w==","size":10}\n' + segment("0") +
        '{"type":1,"name_raw":"/g==","size":7}',
      files: [0, 1],
    },
  ];
  for (const { name, toc, lines, files } of cases) {
    await t.step(name, () => {
      if (files === undefined) assert.throws(() => join(toc, lines), FormatError);
      else assert.deepEqual(join(toc, lines), files);
    });
  }
});

Deno.test("tarSplitLines() is the same whatever the pieces, and bounded", () => {
  const text = bytes(segment("0") + '{"type":1,"name":"é","size":3,"payload":null}\n\n{"type":2}');
  // The same object comes for each line.
  const shown = (lines: Iterable<TarSplitLine>) =>
    Array.from(lines, ({ type, size, payload }) => [type, size, payload.length]);
  const whole = shown(tarSplitLines([text]));
  assert.deepEqual(whole, [[2, 0, 512], [1, 3, 0], [2, 0, 0]]);
  for (const step of [1, 7, 100]) {
    const pieces = [];
    for (let at = 0; at < text.length; at += step) pieces.push(text.subarray(at, at + step));
    assert.deepEqual(shown(tarSplitLines(pieces)), whole);
  }
  const endless = function* () {
    const piece = new Uint8Array(1 << 20).fill(0x20);
    for (;;) yield piece;
  };
  assert.throws(() => [...tarSplitLines(endless())], /longer than/);
  for (const bad of ["{}", '{"type":3}', '{"type":1}', '{"type":2,"payload":"A"}', '{"type":2}x']) {
    assert.throws(() => [...tarSplitLines([bytes(bad)])], FormatError, bad);
  }
});

Deno.test("lossyText() replaces each byte that is not UTF-8", async (t) => {
  const cases: [number[], string][] = [
    [[0x61], "a"],
    [[0xff, 0xfe], "\ufffd\ufffd"],
    [[0xe2, 0x82], "\ufffd\ufffd"],
    [[0xe2, 0x82, 0xac], "€"],
    [[0xed, 0xa0, 0x80], "\ufffd\ufffd\ufffd"],
    [[0xc0, 0x80], "\ufffd\ufffd"],
    [[0xf0, 0x9f, 0x98, 0x80], "😀"],
    [[0xf4, 0x90, 0x80, 0x80], "\ufffd\ufffd\ufffd\ufffd"],
    [[0xef, 0xbb, 0xbf, 0x61], "\ufeffa"],
    [[0x61, 0x80, 0x62], "a\ufffdb"],
  ];
  for (const [input, text] of cases) {
    await t.step(input.join(" "), () => assert.equal(lossyText(Uint8Array.from(input)), text));
  }
});

Deno.test("mergeRanges() closes small gaps, and smaller ones when there are too many", () => {
  const ranges = [[0, 10], [15, 20], [20, 30], [100, 110], [112, 120]]
    .map(([start, end]) => ({ start: start!, end: end! }));
  const pairs = (options: { gap?: number; most?: number }) =>
    mergeRanges(ranges, options).map(({ start, end }) => [start, end]);
  assert.deepEqual(pairs({ gap: -1 }), [[0, 10], [15, 20], [20, 30], [100, 110], [112, 120]]);
  assert.deepEqual(pairs({ gap: 0 }), [[0, 10], [15, 30], [100, 110], [112, 120]]);
  assert.deepEqual(pairs({ gap: 2 }), [[0, 10], [15, 30], [100, 120]]);
  assert.deepEqual(pairs({}), [[0, 120]]);
  assert.deepEqual(pairs({ gap: 0, most: 2 }), [[0, 30], [100, 120]]);
  assert.deepEqual(mergeRanges([]), []);
});
