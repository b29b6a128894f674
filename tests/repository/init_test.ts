import assert from "node:assert/strict";
import { ALGORITHMS, ConflictError } from "../../lib/base/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { exists } from "../helpers/exists.ts";
import { TempDir } from "../helpers/temp.ts";
import { callCfs, innermost, listTree, readTranscript, unpackRepository } from "./_fixtures.ts";

/** What a path of the transcript was before its first use. */
const PREPARED: Record<string, (dir: TempDir, name: string) => unknown> = {
  rs: (dir, name) => unpackRepository("img256", dir, name),
  o2: (dir, name) => unpackRepository("old256", dir, name),
  o3: (dir, name) => unpackRepository("old256", dir, name),
  emptydir: (dir, name) => Deno.mkdirSync(dir.join(name)),
  eo: (dir, name) => Deno.mkdirSync(dir.join(name, "objects"), { recursive: true }),
};

Deno.test("cfs init does what the reference did in its transcript", async (t) => {
  using dir = new TempDir();
  const rows = readTranscript("init.txt");
  assert.equal(rows.length, 23);
  for (const { args, stdout, stderr, code, after } of rows) {
    await t.step(args.join(" "), async () => {
      const repo = args[0] === "init" ? args.at(-1)! : args[args.indexOf("--repo") + 1]!;
      if (repo in PREPARED && !exists(dir.join(repo))) await PREPARED[repo]!(dir, repo);
      const called = await callCfs(args.map((word) => word === repo ? dir.join(repo) : word));
      const plain = (text: string) => text.replaceAll(dir.path + "/", "");
      assert.equal(plain(called.stdout), stdout);
      assert.equal(called.code, code, called.stderr);
      if (stderr !== "") {
        const reason = innermost(stderr);
        assert.ok(plain(called.stderr).includes(reason), `${called.stderr}\nlacks\n${reason}`);
      }
      if (after.startsWith("{")) {
        assert.equal(Deno.readTextFileSync(dir.join(repo, "meta.json")), after);
      } else if (after !== "") {
        const names = [...Deno.readDirSync(dir.join(repo))].map(({ name }) => name).sort();
        assert.equal(names.join("\n") + "\n", after);
      }
    });
  }
});

Deno.test("a new repository has meta.json and nothing else, and the modes of the reference", () => {
  using dir = new TempDir();
  const path = dir.join("a/b/repo");
  const old = Deno.umask(0o022);
  try {
    const result = initRepository(path, { insecure: true });
    assert.equal(result.outcome, "created");
    assert.equal(result.secure, false);
    assert.deepEqual(listTree(path), ["meta.json"]);
    assert.equal(Deno.statSync(path).mode! & 0o7777, 0o700);
    assert.equal(Deno.statSync(dir.join("a/b")).mode! & 0o7777, 0o755);
    assert.equal(Deno.statSync(`${path}/meta.json`).mode! & 0o7777, 0o644);
    assert.equal(Deno.statSync(`${path}/meta.json`).size, 219);
    using repository = Repository.open(path);
    const { id } = repository.objects.write(new Uint8Array(100));
    repository.writeStream("s", emptyStream(repository), { ref: "a/b" });
    const mode = (name: string) => Deno.statSync(`${path}/${name}`).mode! & 0o7777;
    assert.equal(mode("objects"), 0o755);
    assert.equal(mode(`objects/${id.slice(0, 2)}`), 0o755);
    assert.equal(mode(`objects/${id.slice(0, 2)}/${id.slice(2)}`), 0o644);
    for (const name of ["streams", "streams/refs", "streams/refs/a"]) {
      assert.equal(mode(name), 0o755);
    }
  } finally {
    Deno.umask(old);
  }
});

Deno.test("slashes at the end of the path change nothing", () => {
  using dir = new TempDir();
  for (const [given, made] of [["plain/", "plain"], ["a//b///", "a/b"]] as const) {
    assert.equal(initRepository(`${dir.path}/${given}`, { insecure: true }).outcome, "created");
    assert.equal(Deno.statSync(dir.join(made)).mode! & 0o7777, 0o700);
  }
});

Deno.test("umask 0 makes neither files nor directories writable for others, umask 077 holds", () => {
  for (const [umask, file, directory] of [[0, 0o644, 0o755], [0o077, 0o600, 0o700]] as const) {
    using dir = new TempDir();
    const old = Deno.umask(umask);
    try {
      initRepository(dir.join("r"), { insecure: true });
      using repository = Repository.open(dir.join("r"));
      const { id } = repository.objects.write(new Uint8Array(5000));
      using sink = repository.objects.begin();
      sink.write(new Uint8Array(6000));
      const streamed = sink.finish().id;
      for (const object of [id, streamed]) {
        const place = dir.join("r/objects", object.slice(0, 2));
        assert.equal(Deno.statSync(`${place}/${object.slice(2)}`).mode! & 0o7777, file);
        assert.equal(Deno.statSync(place).mode! & 0o7777, directory);
      }
    } finally {
      Deno.umask(old);
    }
  }
});

function emptyStream(repository: Repository): Uint8Array {
  using writer = repository.newStream(1n);
  return writer.finish();
}

Deno.test("init in secure mode fails without fs-verity and leaves nothing behind", () => {
  using dir = new TempDir(); // on tmpfs, or wherever: no test machine's kernel has fs-verity there
  let error: unknown;
  try {
    initRepository(dir.join("repo"));
  } catch (caught) {
    error = caught;
  }
  if (error === undefined) {
    // fs-verity is there after all: then meta.json must have it.
    using repository = Repository.open(dir.join("repo"));
    assert.ok(repository.secure);
    return;
  }
  assert.match(String((error as Error).cause), /Filesystem does not support fs-verity/);
  assert.deepEqual(listTree(dir.path), []);
});

Deno.test("init in secure mode on an insecure repository is refused, with --ensure it says so", async () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true });
  assert.throws(() => initRepository(dir.join("r")), ConflictError);
  const result = initRepository(dir.join("r"), { ensure: true });
  assert.deepEqual([result.outcome, result.secure], ["existing", false]);
  const refused = await callCfs(["init", dir.join("r")]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /without fs-verity/);
  const ensured = await callCfs(["init", "--ensure", dir.join("r")]);
  assert.equal(ensured.code, 0);
  assert.match(ensured.stdout, /verity: {4}not required \(insecure\)/);
});

Deno.test("init --ensure expects sha512 unless told otherwise, as the reference does", () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true, algorithm: ALGORITHMS.sha256 });
  assert.throws(
    () => initRepository(dir.join("r"), { insecure: true, ensure: true }),
    /repository algorithm fsverity-sha256-12 does not match expected fsverity-sha512-12/,
  );
});

Deno.test("resetMetadata removes names and keeps objects, and works where there is nothing", async () => {
  using dir = new TempDir();
  const path = await unpackRepository("oci256", dir);
  Deno.mkdirSync(`${path}/streams/refs/deep/er`, { recursive: true });
  Deno.symlinkSync("/etc", `${path}/images/etc`);
  // A name that is no UTF-8, below a directory with such a name.
  const odd = `${path}/streams/refs/$(printf '\\377')`;
  assert.ok(
    new Deno.Command("sh", { args: ["-c", `mkdir "${odd}" && : > "${odd}/x"`] }).outputSync()
      .success,
  );
  const objects = listTree(`${path}/objects`);
  const result = initRepository(path, {
    insecure: true,
    resetMetadata: true,
    algorithm: ALGORITHMS.sha256,
    erofsVersion: 2,
  });
  assert.equal(result.outcome, "created");
  assert.deepEqual(listTree(`${path}/objects`), objects);
  assert.deepEqual([...Deno.readDirSync(path)].map(({ name }) => name).sort(), [
    "meta.json",
    "objects",
  ]);
  assert.ok(exists("/etc/passwd")); // links are removed, not followed
  const fresh = initRepository(dir.join("new"), { insecure: true, resetMetadata: true });
  assert.equal(fresh.outcome, "created");
});
