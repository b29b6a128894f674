import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { ALGORITHMS, FormatError, nodeZstd } from "../../lib/base/mod.ts";
import { openSplitstream } from "../../lib/splitstream/mod.ts";
import { readLayerEntries } from "../../lib/tar/mod.ts";
import { importLayer } from "../helpers/layer.ts";
import { content, END, header } from "../helpers/make_tar.ts";

const algorithm = ALGORITHMS.sha256;
const link = (size: number) => header({ name: "link", type: "1", link: "a", size });
const small = Buffer.concat([header({ name: "small", size: 5 }), content("hello")]);
const large = Buffer.concat([header({ name: "large", size: 700 }), content("x".repeat(700))]);

/** A header-only entry with a size: stale, or followed by that much data. */
const CASES: { name: string; tar: Buffer; entries?: string[]; fault?: string }[] = [
  {
    name: "stale, an external file follows",
    tar: Buffer.concat([link(70), large, END]),
    entries: ["/link", "/large"],
  },
  {
    name: "stale, and the block behind lies in the content of an external file",
    tar: Buffer.concat([link(1024), large, small, END]),
    entries: ["/link", "/large", "/small"],
  },
  {
    name: "stale and beyond the window",
    tar: Buffer.concat([link(3 * 2 ** 30), large, small, END]),
    entries: ["/link", "/large", "/small"],
  },
  {
    name: "stale and reaching behind the end of the stream",
    tar: Buffer.concat([link(9000), small, large, END]),
    entries: ["/link", "/small", "/large"],
  },
  {
    name: "stale at the end of the archive",
    tar: Buffer.concat([small, link(5000), END]),
    entries: ["/small", "/link"],
  },
  {
    name: "stale at the end of a stream without end marker",
    tar: Buffer.concat([link(70), small]),
    entries: ["/link", "/small"],
  },
  {
    name: "several stale ones in a row",
    tar: Buffer.concat([link(9000), link(3000), link(100_000), large, END]),
    entries: ["/link", "/link", "/link", "/large"],
  },
  {
    name: "headers at both places: as the reference, which always believes it",
    tar: Buffer.concat([link(70), link(70), large, END]),
    entries: ["/link", "/large"],
  },
  {
    name: "real data",
    tar: Buffer.concat([link(700), content("d".repeat(700)), large, END]),
    entries: ["/link", "/large"],
  },
  {
    name: "real data that is a tar stream itself",
    tar: Buffer.concat([link(small.length), small, large, END]),
    entries: ["/link", "/large"],
  },
  {
    name: "real data of zeros",
    tar: Buffer.concat([link(700), Buffer.alloc(1024), large, END]),
    entries: ["/link", "/large"],
  },
  {
    name: "real data behind a type without a meaning",
    tar: Buffer.concat([header({ name: "odd", type: "6", size: 5 }), content("hello"), small, END]),
    entries: ["/odd", "/small"],
  },
  {
    name: "data cut off",
    tar: Buffer.concat([link(5000), content("hello")]),
    fault: "unexpected EOF reading tar entry",
  },
  {
    name: "nothing behind it",
    tar: link(5000),
    fault: "unexpected EOF reading tar entry",
  },
];

Deno.test("A size in a header without content is believed only when the data is there", async (t) => {
  for (const { name, tar, entries, fault } of CASES) {
    await t.step(name, () => {
      for (const piece of [1, 100, 512, 700, tar.length]) {
        const run = () => importLayer(tar, { algorithm, piece });
        if (fault !== undefined) {
          assert.throws(run, (error) => error instanceof FormatError && error.message === fault);
          continue;
        }
        const layer = run();
        const stream = openSplitstream(layer.file, { algorithm, codec: nodeZstd });
        assert.deepEqual([...readLayerEntries(stream)].map(({ path }) => path), entries);
        assert.equal(layer.entries, entries!.length);
        const external = tar.includes(large);
        assert.equal(layer.externalCount, external ? 1 : 0);
      }
    });
  }
});
