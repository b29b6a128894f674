/** The list of objects that were found damaged. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { ALGORITHMS, type HashName, type ObjectId } from "../../lib/base/mod.ts";
import { initRepository, type KnownDamage, Repository } from "../../lib/repository/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { ROOT, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

loadNative();

const MOST_OBJECTS = 1024;

function newRepository(path: string, hash: HashName = "sha256"): Repository {
  initRepository(path, { insecure: true, algorithm: ALGORITHMS[hash] });
  return Repository.open(path);
}

function listPath(repository: Repository): string {
  return `${repository.path}/cfs-damage`;
}

function list(repository: Repository): string | undefined {
  const path = listPath(repository);
  return existsSync(path) ? Deno.readTextFileSync(path) : undefined;
}

function store(repository: Repository, text: string): ObjectId {
  return repository.objects.write(new TextEncoder().encode(text)).id;
}

function flip(repository: Repository, id: ObjectId): void {
  const path = `${repository.path}/objects/${id.slice(0, 2)}/${id.slice(2)}`;
  const bytes = Deno.readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  Deno.writeFileSync(path, bytes);
}

function known(damage: KnownDamage | undefined): string[] | "all" | undefined {
  return damage?.all ? "all" : damage && [...damage.ids].sort();
}

Deno.test("noteDamage() keeps a list, which goes with its last object", () => {
  for (const hash of ["sha256", "sha512"] as const) {
    using dir = new TempDir();
    using repository = newRepository(dir.join("r"), hash);
    const [a, b, c] = ["a", "b", "c"].map((text) => store(repository, text)).sort();
    assert.equal(repository.knownDamage(), undefined);
    repository.noteDamage({ sound: [a!] });
    assert.equal(list(repository), undefined);
    repository.noteDamage({ damaged: [b!, a!] });
    assert.equal(list(repository), `cfs-damage 1\n${a}\n${b}\n`);
    repository.noteDamage({ damaged: [c!, a!], sound: [b!] });
    assert.deepEqual(known(repository.knownDamage()), [a, c]);
    repository.noteDamage({ sound: [a!, b!, c!] });
    assert.equal(list(repository), undefined);
    assert.equal(existsSync(`${repository.path}/cfs-damage.tmp`), false);
  }
});

Deno.test("knownDamage() takes everything for damaged when the list cannot be read", async (t) => {
  const id = "0123456789abcdef".repeat(4);
  const lines = (count: number) =>
    Array.from({ length: count }, (_, i) => String(i).padStart(64, "0") + "\n").join("");
  const rows: { name: string; text: string | Uint8Array; expected: string[] | "all" }[] = [
    { name: "a list", text: `cfs-damage 1\n${id}\n`, expected: [id] },
    { name: "the same twice", text: `cfs-damage 1\n${id}\n${id}\n`, expected: [id] },
    { name: "nothing", text: "", expected: "all" },
    { name: "another head", text: `cfs-damage 2\n${id}\n`, expected: "all" },
    { name: "too many to tell", text: "cfs-damage 1\n*\n", expected: "all" },
    { name: "an id cut off", text: `cfs-damage 1\n${id.slice(1)}\n`, expected: "all" },
    { name: "an id with nothing after it", text: `cfs-damage 1\n${id}`, expected: "all" },
    { name: "an id of the other kind", text: `cfs-damage 1\n${id}${id}\n`, expected: "all" },
    { name: "a path", text: `cfs-damage 1\n../../../etc/passwd\n`, expected: "all" },
    { name: "NULs", text: new Uint8Array(5000), expected: "all" },
    { name: "no text", text: Uint8Array.of(0xff, 0xfe, 0x80), expected: "all" },
    {
      name: "as many as there can be",
      text: `cfs-damage 1\n${lines(MOST_OBJECTS)}`,
      expected: lines(MOST_OBJECTS).trim().split("\n"),
    },
    { name: "one more", text: `cfs-damage 1\n${lines(MOST_OBJECTS + 1)}`, expected: "all" },
    { name: "a megabyte", text: `cfs-damage 1\n${lines(16_000)}`, expected: "all" },
  ];
  using dir = new TempDir();
  using repository = newRepository(dir.join("r"));
  for (const { name, text, expected } of rows) {
    await t.step(name, () => {
      const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
      Deno.writeFileSync(listPath(repository), bytes);
      assert.deepEqual(known(repository.knownDamage()), expected);
    });
  }
  Deno.removeSync(listPath(repository));
  const others: Record<string, (path: string) => void> = {
    "a directory": (path) => Deno.mkdirSync(path),
    "a link": (path) => Deno.symlinkSync("meta.json", path),
    "a link to nowhere": (path) => Deno.symlinkSync("nowhere", path),
    "a fifo": (path) => new Deno.Command("mkfifo", { args: [path] }).outputSync(),
  };
  for (const [name, make] of Object.entries(others)) {
    await t.step(name, () => {
      make(listPath(repository));
      assert.deepEqual(known(repository.knownDamage()), "all");
      Deno.removeSync(listPath(repository));
    });
  }
});

Deno.test("fsck writes down what is damaged, and takes off what is not any more", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("r"));
  const [a, b] = [store(repository, "a".repeat(100)), store(repository, "b".repeat(100))];
  assert.equal((await repository.fsck({ jobs: 1 })).ok, true);
  assert.equal(list(repository), undefined);
  flip(repository, a);
  flip(repository, b);
  await repository.fsck({ metadataOnly: true, jobs: 1 });
  assert.equal(list(repository), undefined);
  await repository.fsck({ jobs: 1, remember: false });
  assert.equal(list(repository), undefined);
  assert.equal((await repository.fsck({ jobs: 2 })).objects_corrupted, 2);
  assert.deepEqual(known(repository.knownDamage()), [a, b].sort());
  flip(repository, a);
  await repository.fsck({ jobs: 1 });
  assert.deepEqual(known(repository.knownDamage()), [b]);
  repository.objects.remove(b);
  assert.equal((await repository.fsck({ jobs: 1 })).ok, true);
  assert.equal(list(repository), undefined);
});

Deno.test("fsck replaces a list that cannot be read, and one of what is not there", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("r"));
  const a = store(repository, "a".repeat(100));
  flip(repository, a);
  for (const text of ["nonsense", "cfs-damage 1\n*\n", `cfs-damage 1\n${"0".repeat(64)}\n`]) {
    Deno.writeTextFileSync(listPath(repository), text);
    await repository.fsck({ jobs: 1 });
    assert.equal(list(repository), `cfs-damage 1\n${a}\n`);
  }
  flip(repository, a);
  Deno.writeTextFileSync(listPath(repository), "nonsense");
  await repository.fsck({ jobs: 1 });
  assert.equal(list(repository), undefined);
});

Deno.test("gc takes off the list what it has removed, and nothing else", () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("r"));
  const gone = store(repository, "gone".repeat(100));
  const stream = repository.newStream(1n).finish();
  const kept = repository.writeStream("s", stream, { ref: "kept" });
  repository.noteDamage({ damaged: [gone, kept] });
  repository.gc({ dryRun: true });
  assert.deepEqual(known(repository.knownDamage()), [gone, kept].sort());
  repository.gc();
  assert.deepEqual(known(repository.knownDamage()), [kept]);
  repository.noteDamage({ damaged: [gone], sound: [kept] });
  repository.gc();
  assert.equal(list(repository), undefined);
  // Of a list that cannot be read nobody knows what is on it.
  Deno.writeTextFileSync(listPath(repository), "nonsense");
  assert.deepEqual(repository.gc().warnings, []);
  assert.equal(list(repository), "nonsense");
});

Deno.test("a check that finds more than a list takes says so, until one finds less", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("r"));
  const ids: ObjectId[] = [];
  for (let i = 0; i <= MOST_OBJECTS; i++) ids.push(store(repository, `object ${i}`));
  for (const id of ids) flip(repository, id);
  await repository.fsck({ jobs: 1 });
  assert.equal(list(repository), "cfs-damage 1\n*\n");
  // Nobody can tell whether what one has healed was all that there was.
  repository.noteDamage({ sound: ids });
  assert.equal(list(repository), "cfs-damage 1\n*\n");
  for (const id of ids.slice(1)) repository.objects.remove(id);
  await repository.fsck({ jobs: 1 });
  assert.equal(list(repository), `cfs-damage 1\n${ids[0]}\n`);
});

Deno.test("what is found while a check runs stays on the list", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("r"));
  const a = store(repository, "a".repeat(100));
  const before = "0".repeat(64) as ObjectId;
  repository.noteDamage({ damaged: [before] });
  // Checked already when somebody else finds it damaged: progress comes after objects were looked at.
  let noted = false;
  await repository.fsck({
    jobs: 1,
    progress(event) {
      if (noted || event.type !== "progress") return;
      noted = true;
      repository.noteDamage({ damaged: [a] });
    },
  });
  assert.ok(noted);
  assert.deepEqual(known(repository.knownDamage()), [a]);
});

Deno.test("a check of a repository that must not be written to finds the same, and says so", async () => {
  using dir = new TempDir();
  const path = dir.join("r");
  let id: ObjectId;
  {
    using repository = newRepository(path);
    id = store(repository, "a".repeat(100));
    flip(repository, id);
    const meta = JSON.parse(Deno.readTextFileSync(`${path}/meta.json`));
    meta.features = { ...meta.features, "read-only-compatible": ["future"] };
    Deno.writeTextFileSync(`${path}/meta.json`, JSON.stringify(meta));
  }
  using repository = Repository.open(path);
  const report = await repository.fsck({ jobs: 1 });
  assert.equal(report.objects_corrupted, 1);
  assert.equal(report.errors.length, 1);
  assert.match(
    report.warnings.join("\n"),
    /pulls are not told which objects are damaged: .*future/,
  );
  assert.equal(list(repository), undefined);
});

Deno.test("a list that cannot be written is no failure of the check", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("r"));
  flip(repository, store(repository, "a".repeat(100)));
  Deno.mkdirSync(`${listPath(repository)}/full`, { recursive: true });
  const report = await repository.fsck({ jobs: 1 });
  assert.deepEqual([report.objects_corrupted, report.errors.length], [1, 1]);
  assert.match(report.warnings.join("\n"), /pulls are not told/);
});

Deno.test("what a killed writer has left is written over", () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("r"));
  const id = store(repository, "a");
  Deno.writeTextFileSync(`${listPath(repository)}.tmp`, "half a li");
  assert.equal(repository.knownDamage(), undefined);
  repository.noteDamage({ damaged: [id] });
  assert.equal(list(repository), `cfs-damage 1\n${id}\n`);
  assert.equal(existsSync(`${listPath(repository)}.tmp`), false);
});

Deno.test("writers at the same time lose nothing of each other's", async () => {
  using dir = new TempDir();
  const path = dir.join("r");
  const ids: ObjectId[] = [];
  {
    using repository = newRepository(path);
    for (let i = 0; i < 120; i++) ids.push(store(repository, `object ${i}`));
  }
  const writers = [0, 1, 2].map(async (writer) => {
    const own = ids.filter((_, i) => i % 3 === writer);
    await runOk([
      Deno.execPath(),
      "run",
      "-A",
      `${ROOT}tests/repository/_damage_child.ts`,
      path,
      ...own,
    ]);
  });
  await Promise.all(writers);
  using repository = Repository.open(path);
  // Each has put all of its own on the list, and taken every second one off again.
  const expected = ids.filter((_, i) => Math.floor(i / 3) % 2 === 1);
  assert.deepEqual(known(repository.knownDamage()), expected.sort());
});
