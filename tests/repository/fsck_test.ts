import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { ALGORITHMS, type ObjectId } from "../../lib/base/mod.ts";
import { SUPERBLOCK, SUPERBLOCK_OFFSET } from "../../lib/erofs/layout.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { TempDir } from "../helpers/temp.ts";
import { callCfs, listTree, readTranscript, unpackRepository } from "./_fixtures.ts";

const IMAGE = "072778749ca1f91d0f315ef4763bcae886b098abc67aa875507b8c017f271d76";
const OBJECT = "objects/22/43118a8ac9d842da6ee4377d94cbe26b1c53331e3f7ee1c262e724b3fce69b";
const IMAGE_OBJECT = `objects/${IMAGE.slice(0, 2)}/${IMAGE.slice(2)}`;

function append(path: string, text: string): void {
  Deno.writeTextFileSync(path, text, { append: true });
}

/** The damage by its name in the transcript. */
const DAMAGE: Record<string, (repo: string) => void> = {
  "object appended": (repo) => append(`${repo}/${OBJECT}`, "x"),
  "object missing": (repo) => Deno.removeSync(`${repo}/${OBJECT}`),
  "object is directory": (repo) => {
    Deno.removeSync(`${repo}/${OBJECT}`);
    Deno.mkdirSync(`${repo}/${OBJECT}`);
  },
  "bad object name": (repo) => {
    append(`${repo}/objects/22/short`, "");
    append(`${repo}/objects/22/${"z".repeat(62)}`, "");
  },
  "broken ref": (repo) => Deno.symlinkSync("../nothing", `${repo}/images/refs/broken`),
  "dangling entry": (repo) =>
    Deno.symlinkSync(`../objects/aa/${"0".repeat(62)}`, `${repo}/images/aa${"0".repeat(62)}`),
  "regular file in images": (repo) => append(`${repo}/images/stray`, "x"),
  "file below refs": (repo) => {
    Deno.mkdirSync(`${repo}/streams/refs/d`, { recursive: true });
    append(`${repo}/streams/refs/d/file`, "");
  },
  "garbage image": (repo) => {
    using repository = Repository.open(repo);
    repository.writeImage(new TextEncoder().encode("garbage\n"), { force: true });
  },
  "truncated image": (repo) => Deno.truncateSync(`${repo}/${IMAGE_OBJECT}`, 1000),
  "symlink loop": (repo) => Deno.symlinkSync("loop", `${repo}/images/loop`),
  "fifo in refs": (repo) => {
    new Deno.Command("mkfifo", { args: [`${repo}/images/refs/p`] }).outputSync();
  },
};

/** Damage that is an object's. */
const DAMAGED = new Set(["object appended", "object is directory", "truncated image"]);

/** Makes the transcript's own content unimportant where it is not known. */
function withoutUnknown(text: string): string {
  return text
    // What was appended, and what garbage was imported, is not written down.
    .replace(/measured [0-9a-f]{64}/g, "measured HEX")
    .replace(/images\/(?!0727|aa00)[0-9a-f]{64}/g, "images/HEX")
    // The reference prints the outermost context only; ours has the reason too.
    .replace(/(Computing verity digest in userspace)[^\n"]*/g, "$1");
}

Deno.test("fsck finds the damage that the reference finds, in its words", async (t) => {
  const rows = readTranscript("fsck-damage.txt");
  assert.equal(new Set(rows.map((row) => row.title)).size, Object.keys(DAMAGE).length);
  for (const { title, args, stdout, code } of rows) {
    await t.step(`${title}: ${args.slice(2).join(" ")}`, async () => {
      using dir = new TempDir();
      const repo = await unpackRepository("img256", dir);
      DAMAGE[title]!(repo);
      const before = listTree(dir.path);
      const called = await callCfs(["--repo", repo, ...args.slice(2)]);
      assert.equal(called.code, code, called.stderr);
      let actual = called.stdout;
      if (args.includes("--json")) {
        const { affected: _, warnings: __, ...document } = JSON.parse(actual);
        actual = JSON.stringify(document, null, 2) + "\n";
      }
      // The transcript of the imported garbage begins with what the import printed.
      const expected = stdout.replace(/^sha256:.*\n/, "");
      assert.equal(withoutUnknown(actual), withoutUnknown(expected));
      // All that a check may write is which objects it has found damaged.
      const list = `${repo}/cfs-damage`;
      const found = DAMAGED.has(title) && !args.includes("--metadata-only");
      assert.equal(existsSync(list), found);
      if (found) Deno.removeSync(list);
      assert.deepEqual(listTree(dir.path), before);
    });
  }
});

Deno.test("--metadata-only looks at no object, but still at images and streams", async () => {
  using dir = new TempDir();
  const repo = await unpackRepository("oci256", dir);
  append(`${repo}/objects/27/bfee4e3000ae7c9f844c5b8ae171de597d9bf3f61b1ddf175d56ad761381d6`, "x");
  const { stdout } = await callCfs(["--repo", repo, "fsck", "--metadata-only"]);
  assert.match(stdout, /^objects: 0\/0 ok\nstreams: \d\/3 ok\nimages: \d\/1 ok\n/m);
  using repository = Repository.open(repo);
  const report = await repository.fsck({ metadataOnly: true });
  assert.deepEqual([report.objects_checked, report.objects_corrupted], [0, 0]);
});

Deno.test("fsck names who needs a damaged object: image with path, streams, references", async () => {
  using dir = new TempDir();
  const repo = await unpackRepository("img256", dir);
  append(`${repo}/${OBJECT}`, "x");
  using repository = Repository.open(repo);
  assert.deepEqual((await repository.fsck()).affected, [{
    object: OBJECT.slice("objects/".length).replace("/", ""),
    user: `images/${IMAGE}`,
    path: "/etc/med",
    refs: ["images/refs/flat", "images/refs/my/nested/name"],
  }]);
});

Deno.test("an object of an OCI image is traced to the layer, the image and the tag", async () => {
  using dir = new TempDir();
  using repository = Repository.open(await unpackRepository("oci256", dir));
  const image = [...Deno.readDirSync(`${repository.path}/images`)][0]!.name;
  const [object] = repository.imageObjects(image);
  append(`${repository.path}/objects/${object!.slice(0, 2)}/${object!.slice(2)}`, "x");
  const { affected } = await repository.fsck();
  const refs = ["streams/refs/oci/foo%2Fbar:1%252 x"];
  const layer = "oci-layer-sha256:2cec4b252ba859b41621a93fa686cd5f55ce2f9d9da1bf282bed13d9f2f153f8";
  assert.equal(affected.length, 2);
  const { path, ...user } = affected[0]!;
  assert.match(path!, /^\/./);
  assert.deepEqual(user, { object, user: `images/${image}`, refs });
  assert.deepEqual(affected[1], { object, user: `streams/${layer}`, refs });
});

Deno.test("fsck reports what the reference has no words for", async (t) => {
  const cases: [string, (repo: string) => void, RegExp][] = [
    [
      "an image under another name",
      (repo) =>
        Deno.symlinkSync(
          Deno.readLinkSync(`${repo}/images/${IMAGE}`),
          `${repo}/images/${"ab".repeat(32)}`,
        ),
      new RegExp(
        `^fsck: image-name-mismatch: images/${"ab".repeat(32)}: leads to object ${IMAGE}$`,
      ),
    ],
    [
      "a reference that leads elsewhere",
      (repo) => Deno.symlinkSync("../../meta.json", `${repo}/images/refs/out`),
      /^fsck: ref-target-invalid: images\/refs\/out: ..\/..\/meta.json$/,
    ],
    [
      "an entry that leads to no object",
      (repo) => Deno.symlinkSync("../meta.json", `${repo}/images/${"cd".repeat(32)}`),
      /^fsck: image-open-failed: images\/(cd){32}: invalid object pathname: ..\/meta.json$/,
    ],
    [
      "a stream with a wrong prefix",
      (repo) => {
        Deno.mkdirSync(`${repo}/streams`);
        Deno.symlinkSync(`${repo}/${OBJECT}`, `${repo}/streams/s`);
      },
      /^fsck: stream-open-failed: streams\/s: Opening stream 's': stream symlink has incorrect/,
    ],
    [
      "a file in the place of a directory of objects",
      (repo) => {
        Deno.removeSync(`${repo}/objects/22`, { recursive: true });
        append(`${repo}/objects/22`, "");
      },
      /^fsck: object-check-failed: images\/\w+: 2243\w+: Not a directory \(os error 20\)$/,
    ],
    [
      "refs that are a file",
      (repo) => {
        Deno.removeSync(`${repo}/images/refs`, { recursive: true });
        append(`${repo}/images/refs`, "");
      },
      /^fsck: unexpected-file-type: images\/refs: RegularFile$/,
    ],
    [
      "a fifo in the place of an object",
      (repo) => {
        Deno.removeSync(`${repo}/${OBJECT}`);
        new Deno.Command("mkfifo", { args: [`${repo}/${OBJECT}`] }).outputSync();
      },
      /^fsck: object-verity-failed: objects\/22\/\w+: Computing verity digest in userspace: pread/,
    ],
    [
      "a link in the place of an object",
      (repo) => {
        Deno.renameSync(`${repo}/${OBJECT}`, `${repo}/elsewhere`);
        Deno.symlinkSync("../../elsewhere", `${repo}/${OBJECT}`);
      },
      /^fsck: object-open-failed: objects\/22\/\w+: Too many levels of symbolic links/,
    ],
  ];
  for (const [name, damage, line] of cases) {
    await t.step(name, async () => {
      using dir = new TempDir();
      const repo = await unpackRepository("img256", dir);
      damage(repo);
      using repository = Repository.open(repo);
      const report = await repository.fsck();
      assert.equal(report.ok, false);
      assert.equal(report.errors.length, 1, report.errors.join("\n"));
      assert.match(report.errors[0]!, line);
      // The same as text and with its exit code.
      const { code, stdout } = await callCfs(["--repo", repo, "fsck"]);
      assert.equal(code, 1);
      assert.ok(stdout.includes(`  - ${report.errors[0]}\n`));
    });
  }
});

Deno.test("left-overs are warnings, not errors", async () => {
  using dir = new TempDir();
  const repo = await unpackRepository("img256", dir);
  append(`${repo}/objects/.tmp-object-abcdefghijkl`, "x");
  append(`${repo}/objects/stray`, "x");
  Deno.symlinkSync("nowhere", `${repo}/.symlink-abcdefghijkl`);
  using repository = Repository.open(repo);
  const report = await repository.fsck();
  assert.ok(report.ok, report.errors.join("\n"));
  assert.deepEqual(report.warnings, [
    "objects/.tmp-object-abcdefghijkl is a left-over temporary file",
    "objects/stray is not a directory of objects",
    ".symlink-abcdefghijkl is a left-over temporary link",
  ]);
});

Deno.test("errors are sorted by phase and path, with any number of workers", async () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true, algorithm: ALGORITHMS.sha256 });
  using repository = Repository.open(dir.join("r"));
  const bytes = new Uint8Array(100);
  for (let i = 0; i < 300; i++) {
    bytes[0] = i;
    bytes[1] = i >> 8;
    const { id } = repository.objects.write(bytes);
    append(`${repository.path}/objects/${id.slice(0, 2)}/${id.slice(2)}`, "x");
  }
  const one = await repository.fsck({ jobs: 1 });
  assert.deepEqual([one.objects_checked, one.objects_corrupted], [300, 300]);
  assert.deepEqual(one.errors, [...one.errors].sort());
  assert.deepEqual((await repository.fsck({ jobs: 3 })).errors, one.errors);
});

Deno.test("a fresh repository, and one without metadata, are sound", async () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true });
  const fresh = await callCfs(["--repo", dir.join("r"), "fsck"]);
  assert.equal(
    fresh.stdout,
    "meta.json: ok\nobjects: 0/0 ok\nstreams: 0/0 ok\nimages: 0/0 ok\nstatus: ok\n",
  );
  assert.deepEqual(listTree(dir.join("r")), ["meta.json"]);
});

Deno.test("fsck stops when it is told to", async () => {
  using dir = new TempDir();
  using repository = Repository.open(await unpackRepository("img256", dir));
  await assert.rejects(
    repository.fsck({ signal: AbortSignal.abort(new Error("enough")) }),
    /enough/,
  );
});

Deno.test("an image whose superblock miscounts is no sound image", async () => {
  using dir = new TempDir();
  using repository = Repository.open(await unpackRepository("img256", dir));
  const bytes = repository.objects.read(IMAGE as ObjectId);
  const INODES = SUPERBLOCK_OFFSET + SUPERBLOCK.inos[0];
  bytes[INODES] = bytes[INODES]! ^ 1;
  const id = repository.writeImage(bytes);
  const report = await repository.fsck();
  assert.equal(report.errors.length, 1);
  assert.match(
    report.errors[0]!,
    new RegExp(`^fsck: image-invalid: images/${id}: Invalid image: superblock claims \\d+ inodes`),
  );
  assert.equal(report.images_corrupted, 1);
});
