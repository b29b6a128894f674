import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import {
  Digest,
  DigestMismatchError,
  FormatError,
  InvalidNameError,
  NotFoundError,
  type ObjectId,
  objectPath,
  type ProgressEvent,
} from "../../lib/base/mod.ts";
import { importLayerStream, layerEntries, layerInfo, openLayer } from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { dumpLine } from "../helpers/layer.ts";
import { loadNative } from "../helpers/native.ts";
import { ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { names, newRepository, sha256 } from "./_oci.ts";

loadNative();

const TAR = `${ROOT}fixtures/tar/`;

interface Row {
  diff_id: string;
  import_exit: number;
  dumpfile_exit: number;
  dumpfile?: string;
  layer_json?: Record<string, unknown> | string;
}

/** Rows that the reference cannot import, and what ours does with them; and the other way. */
const ACCEPTED = new Set(["pax_mtime_neg", "hardlink_size_nonzero_nodata"]);
const REFUSED = new Set(["pax_uid_big"]);

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
}

function put(
  repository: Repository,
  bytes: Uint8Array,
  options: { as?: string; name?: string } = {},
) {
  return importLayerStream(repository, Digest.parse(options.as ?? sha256(bytes)), {
    input: pieces(bytes),
    ...(options.name === undefined ? {} : { name: options.name }),
  });
}

function fixture(name: string): Uint8Array {
  return name === "pax_1MiB_plus"
    ? gunzipSync(Deno.readFileSync(`${TAR}${name}.tar.gz`))
    : Deno.readFileSync(`${TAR}${name}.tar`);
}

Deno.test("importLayerStream() and layerInfo() agree with the reference", async (t) => {
  const rows: Record<string, Row> = JSON.parse(Deno.readTextFileSync(`${TAR}expected.json`));
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  let compared = 0;
  for (const [name, row] of Object.entries(rows)) {
    await t.step(name, async () => {
      const bytes = fixture(name.replace(/\.tar(\.gz)?$/, ""));
      const key = name.replace(/\.tar(\.gz)?$/, "");
      const before = names(repository);
      if ((row.import_exit !== 0 && !ACCEPTED.has(key)) || REFUSED.has(key)) {
        // Some faults show only when the entries are read, as in the reference.
        const failure = await put(repository, bytes).then(() => undefined, (error) => error);
        if (failure === undefined) {
          const read = () => [...layerEntries(repository, Digest.parse(row.diff_id))];
          assert.ok(REFUSED.has(key));
          assert.throws(read, FormatError);
        } else {
          assert.ok(failure instanceof FormatError, String(failure));
          assert.deepEqual(names(repository), before);
        }
        return;
      }
      const { stream, existed } = await put(repository, bytes);
      assert.equal(existed, false);
      const diffId = Digest.parse(row.diff_id);
      assert.equal(openLayer(repository, diffId).id, stream);
      const out: Uint8Array[] = [];
      for (const piece of repository.streamContent(openLayer(repository, diffId))) {
        out.push(piece.slice());
      }
      assert.equal(sha256(concat(out)), row.diff_id);
      const expected = typeof row.layer_json === "string"
        ? JSON.parse(row.layer_json)
        : row.layer_json;
      if (expected === undefined || expected === null || row.dumpfile_exit !== 0) return;
      compared++;
      const { verity, ...facts } = layerInfo(repository, diffId);
      assert.equal(verity, stream);
      const { verity: _, ...theirs } = expected;
      assert.deepEqual(facts, theirs);
      const lines = [...layerEntries(repository, diffId)].map((entry) => dumpLine(entry));
      assert.equal(lines.map((line) => line + "\n").join(""), row.dumpfile);
    });
  }
  assert.ok(compared > 40, `${compared} rows were compared`);
  assert.deepEqual((await repository.fsck()).errors, []);
});

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

Deno.test("importLayerStream() refuses content with another digest", async (t) => {
  const bytes = fixture("size65");
  const wrong = `sha256:${"0".repeat(64)}`;
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  await t.step("and registers nothing", async () => {
    await assert.rejects(put(repository, bytes, { as: wrong, name: "x" }), (error) => {
      assert.ok(error instanceof DigestMismatchError);
      assert.equal(
        error.message,
        `layer content does not match declared diff_id: expected ${wrong}, got ${sha256(bytes)}`,
      );
      return true;
    });
    assert.deepEqual(names(repository), []);
  });
  await t.step("of an algorithm that is unknown", async () => {
    await assert.rejects(put(repository, bytes, { as: "md5:00" }), FormatError);
    await assert.rejects(put(repository, bytes, { as: `sha384:${"0".repeat(96)}` }), FormatError);
    assert.deepEqual(names(repository), []);
  });
  await t.step("a bad name is refused before anything is read", async () => {
    const input = (async function* () {
      yield await Promise.reject(new Error("input was read"));
    })();
    const diffId = Digest.parse(sha256(bytes));
    await assert.rejects(
      importLayerStream(repository, diffId, { input, name: "../x" }),
      InvalidNameError,
    );
  });
});

Deno.test("importLayerStream() does not read a layer that is there", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const bytes = fixture("size65");
  const first = await put(repository, bytes, { name: "a/b" });
  const diffId = Digest.parse(sha256(bytes));
  const input = (async function* () {
    yield await Promise.reject(new Error("input was read"));
  })();
  const again = await importLayerStream(repository, diffId, { input, name: "c" });
  assert.deepEqual(again, { stream: first.stream, existed: true });
  const refs = `${repository.path}/streams/refs`;
  assert.equal(Deno.readLinkSync(`${refs}/a/b`), `../../oci-layer-${diffId}`);
  assert.equal(Deno.readLinkSync(`${refs}/c`), `../oci-layer-${diffId}`);
  // One that lacks an object is imported again.
  const object = openLayer(repository, diffId).objectRefs.id(0) as ObjectId;
  Deno.removeSync(`${repository.path}/objects/${objectPath(object)}`);
  const healed = await put(repository, bytes);
  assert.deepEqual(healed, { stream: first.stream, existed: false });
  assert.deepEqual((await repository.fsck()).errors, []);
});

Deno.test("importLayerStream() tells how much it has read, and lets timers fire", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const bytes = fixture("size65");
  const diffId = Digest.parse(sha256(bytes));
  let fired = false;
  const timer = setTimeout(() => fired = true);
  const input = (async function* () {
    for await (const piece of [bytes.subarray(0, 1000), bytes.subarray(1000)]) {
      // As long as a slow disk would take.
      for (const end = performance.now() + 60; performance.now() < end;);
      yield piece;
    }
  })();
  const events: ProgressEvent[] = [];
  const progress = (event: ProgressEvent) => events.push(event);
  await importLayerStream(repository, diffId, { input, progress });
  assert.ok(fired);
  clearTimeout(timer);
  const id = diffId.toString();
  assert.deepEqual(events, [
    { type: "started", id, unit: "bytes" },
    { type: "progress", id, done: 1000 },
    { type: "progress", id, done: bytes.length },
    { type: "done", id, transferred: bytes.length },
  ]);
  events.length = 0;
  await importLayerStream(repository, diffId, { input, progress });
  assert.deepEqual(events, [{ type: "skipped", id }]);
});

Deno.test("openLayer() says which layer is missing", () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const diffId = Digest.parse(`sha256:${"0".repeat(64)}`);
  for (const look of [openLayer, layerInfo, layerEntries]) {
    assert.throws(() => look(repository, diffId), (error) => {
      assert.ok(error instanceof NotFoundError);
      assert.equal(error.message, `Layer ${diffId} not found`);
      return true;
    });
  }
});
