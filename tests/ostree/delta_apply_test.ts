import assert from "node:assert/strict";
import { ALGORITHMS, ComposefsError, type ProgressEvent } from "../../lib/base/mod.ts";
import {
  applyLocalDelta,
  type Checksum,
  generateDelta,
  parseDeltaSuperblock,
} from "../../lib/ostree/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import "../helpers/libraries.ts";
import { ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

const FIXTURES = `${ROOT}fixtures/ostree/deltas`;
const A = "07c21df612e3ecd8f5421edbaecf8d762a57859e69c937c95494a9edee43a7b2";
const B = "927c5470b98460a6e908a9f8539535def1566d5e11af003872b8ae1e573d9939";
const IMAGE_A = "f59d20f934dbcaa6ac4ec0a2d5de8a819074f3fc334eaeb3018718aef514081b";
const IMAGE_B = "2ac8bf3ff5990ca641c0019dc1be4e1f6e789c1258cbec3d8e8f602442705ec1";

function newRepository(dir: TempDir, hash: "sha256" | "sha512" = "sha256"): Repository {
  const path = dir.join("repo");
  initRepository(path, { algorithm: ALGORITHMS[hash], insecure: true });
  return Repository.open(path);
}

/** Names of everything that is linked in a repository. */
function linked(dir: TempDir): string[] {
  const names = (at: string): string[] => {
    const path = dir.join("repo", at);
    try {
      return [...Deno.readDirSync(path)].flatMap(({ name, isDirectory }) =>
        isDirectory ? names(`${at}/${name}`) : `${at}/${name}`
      );
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  };
  return [...names("streams"), ...names("images")].sort();
}

/** Messages of an error and its causes. */
function messages(error: unknown): string {
  const out: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) out.push(at.message);
  return out.join("\n");
}

Deno.test("applyLocalDelta() makes the same commits as a pull", async (t) => {
  const names = ["std", "std/superblock", "nobsdiff", "big", "inline", "signed-inline.superblock"];
  for (const hash of ["sha256", "sha512"] as const) {
    const streams = new Set<string>();
    for (const name of names) {
      await t.step(`${name}, ${hash}`, async () => {
        using dir = new TempDir();
        using repository = newRepository(dir, hash);
        const first = await applyLocalDelta(repository, `${FIXTURES}/scratch`);
        assert.equal(first.commit, A);
        assert.deepEqual(first.stats.delta, { metadata: 13, files: 26, parts: 1 });
        const second = await applyLocalDelta(repository, `${FIXTURES}/${name}`, { tag: "a/b" });
        assert.equal(second.commit, B);
        assert.equal(second.tag, "a/b");
        assert.deepEqual(second.stats.delta, { metadata: 6, files: 6, parts: 1 });
        if (hash === "sha256") assert.deepEqual([first.image, second.image], [IMAGE_A, IMAGE_B]);
        streams.add(second.stream);
        assert.deepEqual(
          linked(dir),
          [
            `images/${first.image}`,
            `images/${second.image}`,
            `streams/ostree-commit-${A}`,
            `streams/ostree-commit-${B}`,
            "streams/refs/ostree/a%2Fb",
          ].sort(),
        );
        const again = await applyLocalDelta(repository, `${FIXTURES}/${name}`);
        assert.ok(again.present);
        assert.equal(again.stats.delta, undefined);
      });
    }
    assert.equal(streams.size, 1);
  }
});

Deno.test("applyLocalDelta() refuses what is not what it says and links nothing", async (t) => {
  using dir = new TempDir();
  using repository = newRepository(dir);
  const refused = async (name: string, message: RegExp) => {
    const before = linked(dir);
    await assert.rejects(applyLocalDelta(repository, `${FIXTURES}/${name}`), (error) => {
      assert.ok(error instanceof ComposefsError, String((error as Error).stack));
      assert.match(messages(error), message);
      return true;
    });
    assert.deepEqual(linked(dir), before);
  };
  await t.step("no base", () => refused("std", /^base commit 07c2.* not found in repository/));
  await applyLocalDelta(repository, `${FIXTURES}/scratch`);
  await t.step("forged commit", () => refused("hostile", /^Corrupted commit object; checksum/));
  await t.step(
    "no such file",
    () => refused("nothing", /^opening delta at .*nothing\n.*No such file/),
  );
  const cases: Record<string, RegExp> = {
    "bad-object-type": /^Unknown object type 77/,
    "bad-opcode": /\nunknown delta opcode 0x71/,
    "bspatch-without-source": /\nBSPATCH without read source/,
    "content-exceeds-declared-size": /\ncontent of 12 bytes where 2 were declared/,
    "empty-part": /\nempty delta part/,
    "file-mode-is-directory": /\nInvalid file metadata mode 16877; not a valid file type/,
    "mode-index-oob": /\nmode index 5 out of range/,
    "more-ops-than-objects": /\nobject index 0 out of range/,
    "objects-not-multiple-of-33": /^objects array length 40 not a multiple of 33/,
    "payload-offset-overflow": /\npayload offset overflow/,
    "payload-oob": /\npayload slice 0..100 out of range \(len=12\)/,
    "read-source-not-in-base": /\nSET_READ_SOURCE object (07){32} not found in base commit/,
    "truncated-xz": /\nDecompressing xz failed/,
    "unknown-compression": /\nunknown delta part compression type 0x9/,
    "varint-too-long": /\nvarint too long/,
    "varint-truncated": /\nvarint extends past end of data/,
    "write-without-open": /\ncontent without an open object/,
    "wrong-object-checksum": /\nCorrupted file object; checksum expected='(01){32}'/,
    "xattr-index-oob": /\nxattr index 9 out of range/,
  };
  const names = [...Deno.readDirSync(`${FIXTURES}/hostile-parts`)].map(({ name }) => name);
  assert.deepEqual(names.sort(), Object.keys(cases).sort());
  for (const [name, message] of Object.entries(cases)) {
    await t.step(name, () => refused(`hostile-parts/${name}`, message));
  }
});

Deno.test("applyLocalDelta() wants the commit that was asked for", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir);
  const asked = applyLocalDelta(repository, `${FIXTURES}/scratch`, { commit: B as Checksum });
  await assert.rejects(asked, { message: `Delta leads to ${A}, not ${B}` });
  await applyLocalDelta(repository, `${FIXTURES}/scratch`, { commit: A as Checksum });
});

Deno.test("applyLocalDelta() shows signatures before anything is stored", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir);
  await applyLocalDelta(repository, `${FIXTURES}/scratch`);
  const before = linked(dir);
  const seen: unknown[] = [];
  const verify = (_commit: unknown, signed: { signatures: unknown }) => {
    seen.push(signed.signatures === undefined);
    throw new ComposefsError("CFS_POLICY", "no");
  };
  for (const name of ["inline", "signed-inline.superblock"]) {
    await assert.rejects(applyLocalDelta(repository, `${FIXTURES}/${name}`, { verify }), {
      message: "no",
    });
  }
  assert.deepEqual(seen, [true, false]);
  assert.deepEqual(linked(dir), before);
});

Deno.test("applyLocalDelta() notices parts that are longer than announced, or not there", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir);
  await applyLocalDelta(repository, `${FIXTURES}/scratch`);
  dir.write("delta/superblock", Deno.readFileSync(`${FIXTURES}/std/superblock`));
  await assert.rejects(
    applyLocalDelta(repository, dir.join("delta")),
    (error) => /^opening delta part .*\/0\n.*No such file/.test(messages(error)),
  );
  const part = Deno.readFileSync(`${FIXTURES}/std/0`);
  dir.write("delta/0", new Uint8Array([...part, 0]));
  await assert.rejects(applyLocalDelta(repository, dir.join("delta")), {
    message: /has 30738 bytes, at most 30737 expected/,
  });
  part[5]! ^= 1;
  dir.write("delta/0", part);
  await assert.rejects(
    applyLocalDelta(repository, dir.join("delta")),
    (error) => /delta part 0 checksum mismatch: expected cc523d53/.test(messages(error)),
  );
  dir.write("delta/0", Deno.readFileSync(`${FIXTURES}/std/0`));
  assert.equal((await applyLocalDelta(repository, dir.join("delta"))).commit, B);
});

Deno.test("applyLocalDelta() and generateDelta() tell how far they are", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir);
  const events: ProgressEvent[] = [];
  const progress = (event: ProgressEvent) => void events.push(event);
  await applyLocalDelta(repository, `${FIXTURES}/scratch`, { progress });
  const superblock = Deno.readFileSync(`${FIXTURES}/scratch/superblock`);
  const { size } = parseDeltaSuperblock(superblock).parts[0]!;
  const id = `delta to ${A}`;
  assert.deepEqual(events.filter((event) => "id" in event && event.id === id), [
    { type: "started", id, unit: "bytes", total: size },
    { type: "progress", id, done: size },
    { type: "done", id, transferred: size },
  ]);
  events.length = 0;
  await generateDelta(repository, { to: A as Checksum, progress });
  const first = events[0]!;
  assert.ok(first.type === "started" && first.unit === "bytes" && first.total! > 100_000);
  assert.deepEqual(events.at(-1), { type: "done", id: first.id, transferred: first.total! });
});
