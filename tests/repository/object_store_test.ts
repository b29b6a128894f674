import assert from "node:assert/strict";
import { ALGORITHMS, DigestMismatchError, NotFoundError } from "../../lib/base/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { MemoryObjectStore } from "../helpers/memory_store.ts";
import { TempDir } from "../helpers/temp.ts";
import { makeDiskStore } from "../suites/disk_store.ts";
import { testObjectStore } from "../suites/object_store.ts";

for (const algorithm of Object.values(ALGORITHMS)) {
  Deno.test(`object store on a disk, ${algorithm.hash}`, async (t) => {
    await testObjectStore(t, { algorithm, make: (algorithm) => makeDiskStore(algorithm) });
  });
  Deno.test(`object store in memory, ${algorithm.hash}`, async (t) => {
    await testObjectStore(t, {
      algorithm,
      make(algorithm) {
        const store = new MemoryObjectStore(algorithm);
        return {
          store,
          damage: (id, bytes) => store.damage(id, bytes),
          leftovers: () => [],
          [Symbol.dispose]() {},
        };
      },
    });
  });
}

Deno.test("no descriptor stays open, whatever happens to objects", () => {
  const open = () => [...Deno.readDirSync("/proc/self/fd")].length;
  const before = open();
  {
    using dir = new TempDir();
    initRepository(dir.join("r"), { insecure: true });
    using repository = Repository.open(dir.join("r"));
    const { objects } = repository;
    const { id } = objects.write(new Uint8Array(5000));
    for (let i = 0; i < 20; i++) {
      objects.read(id);
      using sink = objects.begin();
      sink.write(new Uint8Array(100 + i));
      if (i % 2 === 0) sink.finish();
      for (const _ of objects.pieces(id)) break;
      assert.throws(() => objects.read("ab".repeat(64) as typeof id), NotFoundError);
    }
    Deno.writeFileSync(dir.join("r/objects", id.slice(0, 2), id.slice(2)), new Uint8Array(1));
    assert.throws(() => objects.read(id), DigestMismatchError);
    assert.throws(() => Repository.open(dir.join("nowhere")));
    assert.throws(() => Repository.open(dir.join("r"), { hash: "sha256" }));
  }
  assert.equal(open(), before);
});

Deno.test("small arrays in small buffers are hashed right", () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true, algorithm: ALGORITHMS.sha256 });
  using repository = Repository.open(dir.join("r"));
  const { id } = repository.objects.write(
    Uint8Array.from([..."hello world"], (c) => c.charCodeAt(0)),
  );
  assert.equal(id, "1e2eaa4202d750a41174ee454970b92c1bc2f925b1e35076d8c7d5f56362ba64");
  const empty = repository.objects.write(new Uint8Array(0));
  assert.equal(empty.id, "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95");
});

Deno.test("a repair is told about where streams and images are written", () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true });
  const notices: string[] = [];
  using repository = Repository.open(dir.join("r"), { notice: (text) => notices.push(text) });
  using writer = repository.newStream(1n);
  const bytes = writer.finish();
  const id = repository.writeStream("s", bytes);
  const file = dir.join("r/objects", id.slice(0, 2), id.slice(2));
  for (
    const write of [
      () => repository.writeStream("s", bytes),
      () => repository.writeImage(bytes, { force: true }),
    ]
  ) {
    Deno.writeFileSync(file, new Uint8Array(bytes.length));
    assert.equal(write(), id);
  }
  assert.deepEqual(notices, Array(2).fill(`repaired damaged object ${id}`));
  assert.equal(repository.openStream("s").id, id);
});

Deno.test("openVerified() gives what the name says or nothing, and leaves nothing open", () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true, algorithm: ALGORITHMS.sha256 });
  using repository = Repository.open(dir.join("r"));
  const { id } = repository.objects.write(new Uint8Array(5000));
  const file = dir.join("r", "objects", id.slice(0, 2), id.slice(2));
  repository.objects.openVerified(id).close();
  const before = [...Deno.readDirSync("/proc/self/fd")].length;
  Deno.writeFileSync(file, new Uint8Array(5000).fill(1));
  assert.throws(() => repository.objects.openVerified(id), DigestMismatchError);
  // Something that cannot even be read.
  Deno.removeSync(file);
  Deno.mkdirSync(file);
  assert.throws(() => repository.objects.openVerified(id), /Is a directory/);
  assert.equal([...Deno.readDirSync("/proc/self/fd")].length, before);
});
