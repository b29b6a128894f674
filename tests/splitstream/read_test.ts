import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  ALGORITHMS,
  createNodeZstd,
  FormatError,
  nodeHash,
  nodeZstd,
  parseObjectId,
  UnsupportedError,
} from "../../lib/base/mod.ts";
import { objectIdOf } from "../../lib/fsverity/mod.ts";
import { HEADER_SIZE, INFO, LIMITS } from "../../lib/splitstream/layout.ts";
import { openSplitstream, type Splitstream, SplitstreamWriter } from "../../lib/splitstream/mod.ts";
import { ROOT } from "../helpers/run.ts";
import rows from "../../fixtures/splitstream/streams/expected.json" with { type: "json" };

const FIXTURES = `${ROOT}fixtures/splitstream/streams/`;
const algorithm = ALGORITHMS.sha256;

/** Our messages; the last cause of the reference where it reports one. */
const FAULTS: Record<string, string> = {
  i01_magic: "Invalid splitstream header magic value",
  i02_version: "Invalid splitstream version 1",
  i03_algorithm: "Invalid splitstream fs-verity algorithm type",
  i04_blocksize: "Invalid splitstream fs-verity block size",
  i05_short: "Splitstream file is shorter than its header",
  i05b_empty: "Splitstream file is shorter than its header",
  i06_info_beyond: "Incomplete read from splitstream file",
  i07_info_small: "Splitstream info section has 79 bytes, not 80",
  i08_negative: "Negative-sized range in splitstream",
  i09_huge: "Incomplete read from splitstream file",
  i10_not_multiple: "Splitstream references take 31 bytes, not a multiple of 32",
  i11_ext_oor: "Splitstream external reference is out of range",
  i12_inline_trunc: "Unexpected end of stream: 95 inline bytes are missing",
  i13_instr_trunc: "Unexpected end of stream inside an instruction",
  i14_min: "Inline chunk exceeds the size of the stream",
  i15_huge_inline: "Inline chunk exceeds the size of the stream",
  i16_named_oor: "Named reference out of bounds",
  i17_no_colon: "Named reference doesn't contain a colon",
  i18_no_nul: "Trailing junk in named references section",
  i19_nonutf8: "Named reference is not valid UTF-8",
  i20_bad_zstd: "Data corruption detected",
  i20b_not_zstd: "Unknown frame descriptor",
  i20c_trunc_zstd: "incomplete frame",
  i21_neg_idx: "Named reference contains a non-integer index",
  i25_stream_beyond: "Incomplete read from splitstream file",
  i26_stream_neg: "Negative-sized range in splitstream",
  v19_zero_named: "incomplete frame",
  v20_zero_stream: "incomplete frame",
  x21_trailing_garbage: "Unknown frame descriptor",
  x24_trailing_zero: "Unknown frame descriptor",
};

/** Streams that refer to objects that are not there: found by whoever fetches them. */
const MISSING: Record<string, string> = {
  i22_missing_obj: "0".repeat(63) + "1",
  i27_range_overlap: "53706c697453747265616d000000010c20000000000000007000000000000000",
};

const objects = new Map<string, Uint8Array>();
for (const entry of Deno.readDirSync(`${FIXTURES}objects`)) {
  const bytes = Deno.readFileSync(`${FIXTURES}objects/${entry.name}`);
  assert.equal(objectIdOf(bytes, { algorithm, provider: nodeHash }), entry.name);
  objects.set(entry.name, bytes);
}
const [objectA, objectB] = [...objects.keys()].sort((a, b) =>
  objects.get(a)!.length - objects.get(b)!.length
);

function load(name: string): Uint8Array {
  return Deno.readFileSync(`${FIXTURES}${name}.splitstream`);
}

function object(stream: Splitstream, index: number): Uint8Array {
  const id = stream.objectRefs.id(index);
  const bytes = objects.get(id);
  if (bytes === undefined) throw new Error(`missing ${id}`);
  return bytes;
}

/** Reassembles into a hash; pieces must keep to their limit. */
function cat(stream: Splitstream): { length: number; sha256: string } {
  const hash = createHash("sha256");
  let length = 0;
  for (const chunk of stream.chunks()) {
    const bytes = chunk.type === "inline" ? chunk.bytes : object(stream, chunk.index);
    if (chunk.type === "inline") assert.ok(bytes.length <= 2 ** 20);
    hash.update(bytes);
    length += bytes.length;
  }
  return { length, sha256: hash.digest("hex") };
}

Deno.test("openSplitstream() accepts and refuses what it should", async (t) => {
  for (const row of rows) {
    const name = row.file.replace(/\.splitstream$/, "");
    for (const codec of [nodeZstd, createNodeZstd({ documentedOnly: true })]) {
      await t.step(`${name} (${codec === nodeZstd ? "stepped" : "whole"})`, () => {
        const file = load(name);
        assert.equal(objectIdOf(file, { algorithm, provider: nodeHash }), row.object_id);
        const run = () => cat(openSplitstream(file, { algorithm, codec }));
        const fault = FAULTS[name];
        if (fault !== undefined) {
          assert.ok(row.cat !== "ok" || name === "i25_stream_beyond");
          assert.throws(run, (error) => {
            assert.ok(error instanceof FormatError, String(error));
            // The one-call decoder words content faults differently.
            if (codec === nodeZstd || name !== "i20_bad_zstd") assert.equal(error.message, fault);
            return true;
          });
        } else if (MISSING[name] !== undefined) {
          assert.throws(run, { message: `missing ${MISSING[name]}` });
        } else {
          assert.equal(row.cat, "ok");
          const { length, sha256 } = run();
          assert.equal(length, row.cat_length);
          assert.equal(sha256, row.cat_sha256);
        }
      });
    }
  }
});

Deno.test("openSplitstream() believes no announced size that no layer's headers can have", () => {
  for (const announced of [2n ** 46n, 2n ** 53n, 2n ** 64n - 1n]) {
    const file = load("i15_huge_inline"); // 2^45 bytes
    const view = new DataView(file.buffer, file.byteOffset);
    view.setBigUint64(HEADER_SIZE + INFO.streamSize[0], announced, true);
    assert.throws(() => cat(openSplitstream(file, { algorithm, codec: nodeZstd })), {
      message: FAULTS.i15_huge_inline!,
    });
  }
});

Deno.test("openSplitstream() reads the references", async (t) => {
  const open = (name: string) => openSplitstream(load(name), { algorithm, codec: nodeZstd });
  const a = parseObjectId(objectA!);
  const b = parseObjectId(objectB!);
  await t.step("named references, with colons in the name", () => {
    const stream = open("v09_named");
    assert.ok(stream.namedRefs.size > 0);
    for (const id of stream.namedRefs.values()) assert.ok([...stream.streamRefs].includes(id));
    assert.ok([...stream.namedRefs.keys()].some((name) => name.includes(":")));
  });
  await t.step("stream references without a name are kept", () => {
    const stream = open("v16_unnamed_streamref");
    assert.equal(stream.namedRefs.size, 0);
    assert.deepEqual([...stream.streamRefs], [a]);
  });
  await t.step("of a name that occurs twice the last one counts", () => {
    const stream = open("v18_dup_name");
    assert.deepEqual([...stream.streamRefs].sort(), [a, b].sort());
    assert.equal(stream.namedRefs.size, 1);
    assert.equal([...stream.namedRefs.values()][0], stream.streamRefs.id(1));
  });
  await t.step("the empty name and odd forms of numbers", () => {
    assert.ok(open("v23_empty_name").namedRefs.has(""));
    assert.equal(open("v22_index_forms").namedRefs.size, 2);
  });
  await t.step("duplicate and unused object references", () => {
    assert.equal(open("v15_dup_objref").objectRefs.length, 2);
    const unused = open("v14_unused_objref");
    const used = new Set(
      [...unused.chunks()].flatMap((c) => c.type === "external" ? [c.index] : []),
    );
    assert.ok(used.size < unused.objectRefs.length);
  });
  await t.step("the announced size is not believed, but handed out", () => {
    assert.notEqual(open("v13_wrong_size").streamSize, 3n);
  });
  await t.step("an index out of range", () => {
    assert.throws(() => open("v03_external").objectRefs.id(1), FormatError);
    assert.throws(() => open("v03_external").objectRefs.id(-1), FormatError);
    assert.throws(() => open("v03_external").objectRefs.id(NaN), FormatError);
  });
});

Deno.test("openSplitstream() takes as many named references as are written, and no more", () => {
  const options = { algorithm, contentType: 1n, codec: nodeZstd };
  const id = parseObjectId("ab".repeat(32));
  const writer = new SplitstreamWriter(options);
  const limit = LIMITS.namedRefCount;
  for (let i = 0; i < limit; i++) writer.addNamedRef(`n${i}`, id);
  const most = writer.finish();
  const { namedRefs } = openSplitstream(most, options);
  assert.equal(namedRefs.size, limit);
  assert.equal(namedRefs.get(`n${limit - 1}`), id);
  assert.throws(() => writer.addNamedRef("more", id), UnsupportedError);
  // Sixteen megabytes of names in a file of one: they are not made into a table of gigabytes.
  let text = "";
  for (let i = 0; text.length < LIMITS.namedRefs - 20; i++) text += `0:${i.toString(36)}\0`;
  const named = nodeZstd.compress(new TextEncoder().encode(text));
  const bytes = new Uint8Array(most.length + named.length);
  bytes.set(most);
  bytes.set(named, most.length);
  const view = new DataView(bytes.buffer);
  const at = HEADER_SIZE + INFO.namedRefs[0];
  view.setBigUint64(at, BigInt(most.length), true);
  view.setBigUint64(at + 8, BigInt(bytes.length), true);
  assert.throws(() => openSplitstream(bytes, options), {
    name: "FormatError",
    message: /^More than \d+ named references$/,
  });
});
