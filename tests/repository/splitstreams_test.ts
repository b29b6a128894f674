import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { ALGORITHMS, ComposefsError } from "../../lib/base/mod.ts";
import { initRepository, Repository, type StreamContentOptions } from "../../lib/repository/mod.ts";
import { HEADER_SIZE, INFO } from "../../lib/splitstream/layout.ts";
import { CONTENT_TYPE } from "../../lib/splitstream/mod.ts";
import { ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { callCfs } from "./_fixtures.ts";

const STREAMS = `${ROOT}fixtures/splitstream/streams`;

interface Expected {
  file: string;
  object_id: string;
  cat: "ok" | "error";
  cat_length?: number;
  cat_sha256?: string;
  reference_fsck: { exit: number | "crash"; errors: string[] };
  reference_gc_dry_run: string;
}

/** Ours refuses a range past the end of the file, which the reference may not reach. */
const REFUSED = new Set(["i25_stream_beyond"]);

const CASES = (JSON.parse(Deno.readTextFileSync(`${STREAMS}/expected.json`)) as Expected[]).map(
  (row): Expected => {
    const name = row.file.replace(/\.splitstream$/, "");
    if (!REFUSED.has(name)) return row;
    const errors = [`fsck: stream-open-failed: streams/${name}: Opening stream '${name}'`];
    const reference_fsck = { exit: 1, errors };
    return { ...row, cat: "error", reference_fsck, reference_gc_dry_run: "error" };
  },
);

/** What the reference does not see and ours reports as `stream-content-invalid`. */
const CONTENT_FAULTS = new Set([
  "i11_ext_oor",
  "i12_inline_trunc",
  "i13_instr_trunc",
  "i14_min",
  "i15_huge_inline",
  "i20_bad_zstd",
  "i20b_not_zstd",
  "i20c_trunc_zstd",
  "v13_wrong_size",
  "v20_zero_stream",
  "x21_trailing_garbage",
  "x24_trailing_zero",
]);

/** What ours keeps in gc although the reference drops it: unnamed and shadowed references. */
const KEPT: Record<string, string> = {
  v16_unnamed_streamref: "Objects: 1 removed (5001 bytes)",
  v18_dup_name: "Objects: 0 removed (0 bytes)",
};

/** A repository with one of the files as the stream `name` and the reference `root`. */
function prepare(dir: TempDir, name: string): Repository {
  initRepository(dir.join("r"), { insecure: true, algorithm: ALGORITHMS.sha256 });
  const repository = Repository.open(dir.join("r"));
  for (const { name: id } of Deno.readDirSync(`${STREAMS}/objects`)) {
    const written = repository.objects.write(Deno.readFileSync(`${STREAMS}/objects/${id}`));
    assert.equal(written.id, id);
  }
  const file = Deno.readFileSync(`${STREAMS}/${name}.splitstream`);
  repository.writeStream(name, file, { ref: "root" });
  return repository;
}

Deno.test("hand-made splitstreams in a repository: cat, fsck and gc", async (t) => {
  assert.equal(CASES.length, 54);
  for (const row of CASES) {
    const name = row.file.replace(/\.splitstream$/, "");
    await t.step(name, async () => {
      using dir = new TempDir();
      using repository = prepare(dir, name);
      assert.equal(repository.streamObject(name), row.object_id);
      checkContent(repository, name, row);
      await checkFsck(repository, name, row);
      await checkGc(repository, name, row);
    });
  }
});

function checkContent(repository: Repository, name: string, row: Expected): void {
  const hash = createHash("sha256");
  let length = 0;
  const started = performance.now();
  const read = () => {
    for (const piece of repository.streamContent(repository.openStream(name), { verify: true })) {
      hash.update(piece);
      length += piece.length;
    }
  };
  if (row.cat === "ok") {
    // A wrong total is an error, but only after everything was delivered.
    if (name === "v13_wrong_size") assert.throws(read, /3 bytes where its header says/);
    else read();
    assert.equal(length, row.cat_length);
    assert.equal(hash.digest("hex"), row.cat_sha256);
  } else assert.throws(read, ComposefsError);
  assert.ok(performance.now() - started < 3000);
}

Deno.test("streamContent() ends at the first byte too many, unless all of them are wanted", () => {
  using dir = new TempDir();
  using repository = prepare(dir, CASES[0]!.file.replace(/\.splitstream$/, ""));
  const { id, size } = repository.objects.write(new Uint8Array(5 * 2 ** 20));
  using writer = repository.newStream(CONTENT_TYPE.ociLayer);
  for (let i = 0; i < 10; i++) {
    writer.addInline(new Uint8Array(512));
    writer.addExternal(id, size);
  }
  const file = writer.finish();
  const view = new DataView(file.buffer, file.byteOffset);
  view.setBigUint64(HEADER_SIZE + INFO.streamSize[0], 10_000n, true);
  repository.writeStream("small", file);
  const read = (options: StreamContentOptions) => {
    let total = 0;
    for (const piece of repository.streamContent(repository.openStream("small"), options)) {
      total += piece.length;
    }
    return total;
  };
  assert.throws(() => read({}), {
    message: /^Stream has \d{7} bytes where its header says 10000$/,
  });
  assert.equal(read({ anySize: true }), 10 * (size + 512));
});

Deno.test("cat delivers all of a stream whose announced size is wrong, and says so", async () => {
  using dir = new TempDir();
  using repository = prepare(dir, "v13_wrong_size");
  const { cat_length: length } = CASES.find(({ file }) => file.startsWith("v13_wrong_size"))!;
  const called = await callCfs(["--repo", repository.path, "cat", "v13_wrong_size"]);
  assert.equal(called.code, 0);
  assert.equal(called.stdout.length, length);
  const warning = `warning: v13_wrong_size has ${length} bytes where its header says `;
  assert.ok(called.stderr.startsWith(warning), called.stderr);
});

async function checkFsck(repository: Repository, name: string, row: Expected): Promise<void> {
  const report = await repository.fsck();
  const expected = row.reference_fsck.errors.map((line) => line.replaceAll("NAME", name));
  if (row.reference_fsck.exit === "crash") {
    expected.push(`fsck: stream-open-failed: streams/${name}: Opening stream '${name}'`);
  }
  if (CONTENT_FAULTS.has(name)) expected.push(`fsck: stream-content-invalid: streams/${name}: `);
  assert.equal(report.errors.length, expected.length, report.errors.join("\n"));
  expected.forEach((line, i) =>
    assert.ok(report.errors[i]!.startsWith(line), report.errors.join())
  );
  assert.equal(report.ok, expected.length === 0);
  const damaged = expected.some((line) => /stream-(open-failed|content-invalid)/.test(line));
  assert.equal(report.streams_corrupted, damaged ? 1 : 0);
  const missing = expected.filter((line) => line.includes("missing-")).length;
  assert.equal(report.missing_objects, missing);
  // Without the content the reference's blindness is ours.
  const shallow = await repository.fsck({ metadataOnly: true });
  const blind = expected.filter((line) => !line.includes("content-invalid"));
  assert.equal(shallow.errors.length, blind.length);
}

async function checkGc(repository: Repository, name: string, row: Expected): Promise<void> {
  const called = await callCfs(["--repo", repository.path, "gc", "-n"]);
  if (row.reference_gc_dry_run === "error") {
    assert.equal(called.code, 1);
    assert.match(called.stderr, /streams\/refs\/root/);
    return;
  }
  const expected = KEPT[name] ?? row.reference_gc_dry_run;
  assert.equal(called.stdout, `Dry run (no files deleted):\n${expected}\n`);
}

Deno.test("cfs cat gives the content of good streams and as much as there is of bad ones", async (t) => {
  for (const name of ["v04_mixed_dedupe", "v08_old_header", "v13_wrong_size", "i11_ext_oor"]) {
    await t.step(name, async () => {
      using dir = new TempDir();
      using repository = prepare(dir, name);
      const row = CASES.find(({ file }) => file === `${name}.splitstream`)!;
      const { code, stderr } = await callCfs(["--repo", repository.path, "cat", name]);
      assert.equal(code, row.cat === "ok" ? 0 : 1, stderr);
      // A wrong total is worth a warning only.
      assert.equal(stderr !== "", name !== "v04_mixed_dedupe" && name !== "v08_old_header");
    });
  }
});
