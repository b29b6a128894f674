import assert from "node:assert/strict";
import { ComposefsError, objectPath } from "../../lib/base/mod.ts";
import { type FsckReport, Repository } from "../../lib/repository/mod.ts";
import { TempDir } from "../helpers/temp.ts";
import { unpackRepository } from "../repository/_fixtures.ts";

const TAG = "streams/refs/oci/foo%2Fbar:1%252 x";
const SPLITSTREAM_MAGIC = "SplitStream";

/** Writes a copy of the bytes with one bit changed. */
function flip(path: string, bytes: Uint8Array, position: number): void {
  const damaged = bytes.slice();
  damaged[position]! ^= 1;
  Deno.writeFileSync(path, damaged);
}

/** What an object is, by its content. */
function kindOf(bytes: Uint8Array): "splitstream" | "image" | "json" | "file" {
  if (new TextDecoder("latin1").decode(bytes.subarray(0, 11)) === SPLITSTREAM_MAGIC) {
    return "splitstream";
  }
  // The magic number of EROFS's super block, after composefs's own header of 1024 bytes.
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length >= 4096 && view.getUint32(1024, true) === 0xe0f5e1e2) return "image";
  return bytes[0] === 0x7b ? "json" : "file";
}

/** Positions to change: both ends, the borders of headers and sections, and some between. */
function positions(size: number): number[] {
  const fixed = [0, 10, 11, 14, 16, 31, 32, 96, 111, 112, 113, 144, 1024, 1100, size - 1];
  const spread = Array.from({ length: 12 }, (_, i) => Math.floor(size * i / 12));
  return [...new Set([...fixed, ...spread])].filter((at) => at < size);
}

Deno.test("a changed byte in any object is found, and its users are named", async (t) => {
  using dir = new TempDir();
  const path = await unpackRepository("oci256", dir);
  using repository = Repository.open(path);
  const image = [...Deno.readDirSync(`${path}/images`)][0]!.name;
  const contents = new Set(repository.imageObjects(image));
  const live = new Set<string>();
  for (const { object, user } of await usersOfAll(repository)) if (user) live.add(object);
  const seen: Record<string, number> = { splitstream: 0, image: 0, json: 0, file: 0 };
  for (const id of [...repository.objects.list()]) {
    const file = `${path}/objects/${objectPath(id)}`;
    const bytes = Deno.readFileSync(file);
    const kind = kindOf(bytes);
    seen[kind]!++;
    await t.step(`${kind} ${id.slice(0, 8)}`, async () => {
      for (const position of positions(bytes.length)) {
        flip(file, bytes, position);
        checkFound(await repository.fsck({ jobs: 1 }), { id, used: live.has(id) });
        if (contents.has(id)) {
          const { affected } = await repository.fsck({ jobs: 1 });
          const user = affected.find((one) => one.user === `images/${image}`)!;
          assert.match(user.path!, /^\/.+/);
          assert.deepEqual(user.refs, [TAG]);
        }
      }
      Deno.writeFileSync(file, bytes);
    });
  }
  assert.deepEqual(Object.entries(seen).filter(([, count]) => count === 0), []);
  assert.ok((await repository.fsck()).ok);
});

/** Which objects are used at all, found by removing each of them. */
async function usersOfAll(repository: Repository): Promise<FsckReport["affected"]> {
  const out: FsckReport["affected"] = [];
  for (const id of [...repository.objects.list()]) {
    const file = `${repository.path}/objects/${objectPath(id)}`;
    Deno.renameSync(file, `${file}.away`);
    const { affected, errors } = await repository.fsck({ metadataOnly: true });
    // An entry that dangles is named itself.
    if (errors.length > 0) out.push(...affected, { object: id, user: "entry", refs: [] });
    Deno.renameSync(`${file}.away`, file);
  }
  return out;
}

function checkFound(report: FsckReport, expected: { id: string; used: boolean }): void {
  const { id, used } = expected;
  assert.equal(report.ok, false);
  assert.equal(report.objects_corrupted, 1);
  const path = `objects/${id.slice(0, 2)}/${id.slice(2)}`;
  assert.ok(report.errors[0]!.startsWith(`fsck: object-digest-mismatch: ${path}: measured `));
  const users = report.affected.filter((one) => one.object === id);
  assert.equal(users.length > 0, used);
}

Deno.test("a changed byte in any link is found", async (t) => {
  using dir = new TempDir();
  const path = await unpackRepository("oci256", dir);
  using repository = Repository.open(path);
  const links = [TAG];
  for (const category of ["images", "streams"]) {
    for (const entry of Deno.readDirSync(`${path}/${category}`)) {
      if (entry.isSymlink) links.push(`${category}/${entry.name}`);
    }
  }
  assert.equal(links.length, 5);
  for (const link of links) {
    await t.step(link, async () => {
      const file = `${path}/${link}`;
      const text = Deno.readLinkSync(file);
      for (let at = 0; at < text.length; at++) {
        const changed = text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ 1) +
          text.slice(at + 1);
        Deno.removeSync(file);
        Deno.symlinkSync(changed, file);
        const report = await repository.fsck({ metadataOnly: true });
        assert.ok(report.errors.some((line) => line.includes(link)), `${changed} was not found`);
      }
      Deno.removeSync(file);
      Deno.symlinkSync(text, file);
    });
  }
  assert.ok((await repository.fsck()).ok);
});

Deno.test("a changed byte in meta.json is found, at the latest by fsck", async () => {
  using dir = new TempDir();
  const path = await unpackRepository("img256", dir);
  const file = `${path}/meta.json`;
  const bytes = Deno.readFileSync(file);
  let refused = 0;
  for (let at = 0; at < bytes.length; at++) {
    flip(file, bytes, at);
    let repository: Repository;
    try {
      repository = Repository.open(path);
    } catch (error) {
      assert.ok(error instanceof ComposefsError, String((error as Error).stack));
      refused++;
      continue;
    }
    using open = repository;
    const { errors, warnings } = await open.fsck({ metadataOnly: true });
    const found = [...errors, ...warnings].some((line) => line.includes("meta.json"));
    assert.ok(found, `byte ${at}: ${Deno.readTextFileSync(file)}`);
  }
  assert.ok(refused > bytes.length / 2);
});
