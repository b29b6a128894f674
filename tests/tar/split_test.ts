import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { ALGORITHMS, FormatError, nodeZstd } from "../../lib/base/mod.ts";
import { formatEntry, formatHardlink } from "../../lib/dumpfile/mod.ts";
import { CONTENT_TYPE, openSplitstream } from "../../lib/splitstream/mod.ts";
import { readLayerEntries, type TarEntry } from "../../lib/tar/mod.ts";
import { Directory, Leaf } from "../../lib/tree/mod.ts";
import { dumpLine, importLayer, reassemble } from "../helpers/layer.ts";
import { ROOT } from "../helpers/run.ts";

const FIXTURES = `${ROOT}fixtures/tar/`;
const ALGORITHM = ALGORITHMS.sha256;
const PIECES = [1, 7, 511, 512, 513, 65536];

interface Row {
  size: number;
  diff_id: string;
  import_exit: number;
  import_stderr?: string;
  splitstream?: {
    total_size: number;
    object_refs: string[];
    chunks: (["inline", number, string] | ["external", number])[];
  };
  dumpfile_exit?: number;
  dumpfile_stderr?: string;
  dumpfile?: string;
  layer_json?: {
    diffId: string;
    size: number;
    entryCount: number;
    splitstream: { externalObjects: number; externalSize: number; inlineSize: number };
  };
}

/** Where ours is better: what happens instead. */
const OURS: Record<string, { error?: string; dumpfile?: string }> = {
  pax_mtime_neg: {
    dumpfile: "/usr 0 40755 1 0 0 0 0.0 - - -\n/usr/x 1 100644 1 0 0 0 -6.500000000 - x -\n",
  },
  pax_uid_big: { error: "uid 4294967301 is out of range" },
  hardlink_size_nonzero_nodata: {
    dumpfile: "/usr 0 40755 1 0 0 0 0.0 - - -\n" +
      "/usr/a 70 100644 1 0 0 0 0.0 6c/42c955cc37190c58306c62c3919ed30c23de97fcf6b04c9f783d9b6fdf888e" +
      " - 6c42c955cc37190c58306c62c3919ed30c23de97fcf6b04c9f783d9b6fdf888e\n" +
      "/usr/b 0 @120000 - - - - 0.0 /usr/a - -\n/usr/c 2 100644 1 0 0 0 0.0 - cc -\n",
  },
};

const rows: Record<string, Row> = JSON.parse(Deno.readTextFileSync(`${FIXTURES}expected.json`));

function load(name: string): Uint8Array {
  try {
    return Deno.readFileSync(`${FIXTURES}${name}.tar`);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return gunzipSync(Deno.readFileSync(`${FIXTURES}${name}.tar.gz`));
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The line as the product's formatter writes it. */
function productLine({ path, stat, item }: TarEntry): string {
  if (item.type === "hardlink") return formatHardlink(path, item.target);
  const node = item.type === "directory" ? new Directory(stat) : new Leaf(stat, item);
  return formatEntry(path, node);
}

/** The entries as dumpfile text, and the message of the fault that ended them. */
function dump(file: Uint8Array): { text: string; fault: string | undefined } {
  let text = "";
  try {
    const stream = openSplitstream(file, {
      algorithm: ALGORITHM,
      contentType: CONTENT_TYPE.ociLayer,
      codec: nodeZstd,
    });
    for (const entry of readLayerEntries(stream)) {
      const line = dumpLine(entry) + "\n";
      assert.equal(productLine(entry), line);
      text += line;
    }
  } catch (error) {
    assert.ok(error instanceof FormatError, String(error));
    return { text, fault: error.message };
  }
  return { text, fault: undefined };
}

/** The chunks with inline pieces merged, in the form of the fixture. */
function chunks(file: Uint8Array): (["inline", number, string] | ["external", number])[] {
  const stream = openSplitstream(file, { algorithm: ALGORITHM, codec: nodeZstd });
  const out: (["inline", number, string] | ["external", number])[] = [];
  let inline: Uint8Array[] = [];
  const close = () => {
    if (inline.length > 0) {
      const whole = Buffer.concat(inline);
      out.push(["inline", whole.length, sha256(whole)]);
    }
    inline = [];
  };
  for (const chunk of stream.chunks()) {
    if (chunk.type === "inline") inline.push(chunk.bytes.slice());
    else {
      close();
      out.push(["external", chunk.index]);
    }
  }
  close();
  return out;
}

Deno.test("TarSplitter and readLayerEntries() do with each fixture what is expected", async (t) => {
  for (const [name, row] of Object.entries(rows)) {
    await t.step(name, () => {
      const tar = load(name);
      assert.equal(tar.length, row.size);
      assert.equal(`sha256:${sha256(tar)}`, row.diff_id);
      const ours = OURS[name];
      const error = ours === undefined && row.import_exit !== 0
        ? /^Error: (.*)/.exec(row.import_stderr!)![1]!
        : ours?.error;
      if (error !== undefined) {
        for (const piece of [tar.length, ...PIECES]) {
          assert.throws(
            () => importLayer(tar, { algorithm: ALGORITHM, piece }),
            (fault) => fault instanceof FormatError && fault.message === error,
            error,
          );
        }
        return;
      }
      const layer = importLayer(tar, { algorithm: ALGORITHM });
      const whole = reassemble(layer.file, { algorithm: ALGORITHM, objects: layer.objects });
      assert.equal(sha256(whole), sha256(tar));
      if (row.splitstream !== undefined) {
        assert.equal(layer.streamSize, row.splitstream.total_size);
        assert.deepEqual([...layer.objects.keys()], row.splitstream.object_refs);
        assert.deepEqual(chunks(layer.file), row.splitstream.chunks);
      }
      const { text, fault } = dump(layer.file);
      assert.equal(text, ours?.dumpfile ?? row.dumpfile);
      const wanted = row.dumpfile_exit
        ? row.dumpfile_stderr!.replace(/^Error: /, "").trim()
        : undefined;
      assert.equal(fault, wanted);
      if (row.layer_json !== undefined) {
        assert.equal(layer.entries, row.layer_json.entryCount);
        assert.deepEqual({
          externalObjects: layer.objects.size,
          externalSize: layer.externalSize,
          inlineSize: layer.inlineSize,
        }, row.layer_json.splitstream);
      }
      for (const piece of PIECES) {
        assert.equal(importLayer(tar, { algorithm: ALGORITHM, piece }).id, layer.id, `${piece}`);
      }
    });
  }
});
