import assert from "node:assert/strict";
import { ALGORITHMS, ConflictError, InvalidNameError, NotFoundError } from "../../lib/base/mod.ts";
import {
  checkRefName,
  decodeRefComponent,
  encodeRefComponent,
  initRepository,
  Repository,
} from "../../lib/repository/mod.ts";
import { relativeLink } from "../../lib/repository/links.ts";
import { TempDir } from "../helpers/temp.ts";
import { listTree, readFixture, unpackRepository } from "./_fixtures.ts";

Deno.test("relativeLink() makes the reference's link texts", async (t) => {
  const cases = [
    ["images/HEX", "objects/07/27", "../objects/07/27"],
    ["images/refs/flat", "images/HEX", "../HEX"],
    ["images/refs/my/nested/name", "images/HEX", "../../../HEX"],
    ["streams/refs/mylayer", "streams/oci-layer-sha256:00", "../oci-layer-sha256:00"],
    [
      "streams/refs/oci/foo%2Fbar:1",
      "streams/oci-manifest-sha256:00",
      "../../oci-manifest-sha256:00",
    ],
    ["images/refs/images", "images/HEX", "../HEX"],
  ] as const;
  for (const [link, target, text] of cases) {
    await t.step(link, () => assert.equal(relativeLink(link, target), text));
  }
});

Deno.test("checkRefName() refuses what could escape or confuse", async (t) => {
  const bad: [string, RegExp][] = [
    ["", /empty name/],
    [".", /component '\.'/],
    ["..", /component '\.\.'/],
    ["../esc", /component '\.\.'/],
    ["../../../x", /component '\.\.'/],
    ["a/../b", /component '\.\.'/],
    ["a/./b", /component '\.'/],
    ["a//b", /empty component/],
    ["/abs", /leading or trailing/],
    ["tr/", /leading or trailing/],
    ["/", /leading or trailing/],
    ["a\0b", /control character/],
    ["a\nb", /control character/],
    ["a\x7fb", /control character/],
    ["x".repeat(256), /more than 255 bytes/],
    ["ü".repeat(128), /more than 255 bytes/],
    [".symlink-abc", /temporary/],
    ["a/.tmp-object-x", /temporary/],
    ["a\ud800", /not Unicode/],
  ];
  for (const [name, message] of bad) {
    await t.step(JSON.stringify(name.slice(0, 20)), () => {
      assert.throws(() => checkRefName(name), (error) => {
        assert.ok(error instanceof InvalidNameError);
        assert.match(error.message, message);
        return true;
      });
    });
  }
  const good = [
    "@x",
    "sp ace",
    "-x",
    "a/b/c",
    "...",
    ".hidden",
    "x".repeat(255),
    "foo%2Fbar:1",
    "ü",
  ];
  for (const name of good) await t.step(name.slice(0, 20), () => checkRefName(name));
});

/** What ours does with the names of the reference's transcript. */
const ODD_NAMES: Record<string, "stored" | "refused" | "conflict"> = {
  "": "refused",
  "/abs": "refused",
  "../esc": "refused",
  "a/../b": "refused",
  "a//b": "refused",
  "tr/": "refused",
  ".": "refused",
  "..": "refused",
  "@x": "stored",
  "sp ace": "stored",
  "flat/sub": "conflict",
  "-x": "stored",
};

Deno.test("odd names that the reference takes are stored as they are, or refused", async (t) => {
  const transcript = readFixture("cli/ref-names-reference-behaviour.txt");
  const names = [...transcript.matchAll(/^# name=\[(.*)\]$/gm)].map((match) => match[1]!);
  assert.deepEqual(names, Object.keys(ODD_NAMES));
  using dir = new TempDir();
  using repository = Repository.open(await unpackRepository("img256", dir));
  const entry = repository.findImage("flat");
  for (const name of names) {
    await t.step(`[${name}]`, () => {
      const before = listTree(dir.path);
      const set = () => repository.setRef("images", name, { entry });
      if (ODD_NAMES[name] !== "stored") {
        assert.throws(set, ODD_NAMES[name] === "refused" ? InvalidNameError : ConflictError);
        assert.deepEqual(listTree(dir.path), before);
        return;
      }
      set();
      // The same link as the reference's.
      const line = `./images/refs/${name} -> ${
        Deno.readLinkSync(`${repository.path}/images/refs/${name}`)
      }`;
      assert.ok(transcript.includes(`\n${line}\n`), line);
    });
  }
});

Deno.test("every way to a reference checks its name", () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true });
  using repository = Repository.open(dir.join("r"));
  using writer = repository.newStream(1n);
  const stream = writer.finish();
  const id = repository.writeStream("s", stream);
  const before = listTree(dir.path);
  for (const name of ["../esc", "a/../b", "", "a//b", "/abs"]) {
    const calls = [
      () => repository.writeStream("s", stream, { ref: name }),
      () => repository.linkStream("s", id, { ref: name }),
      () => repository.writeStream(name, stream),
      () => repository.linkStream(name, id),
      () => repository.writeImage(stream, { name, force: true }),
      () => repository.setRef("streams", name, { entry: "s" }),
      () => repository.setRef("streams", "ok", { entry: name }),
      () => repository.removeRef("streams", name),
      () => repository.resolveRef("streams", name),
      () => repository.streamObject(name),
      () => repository.findImage(name),
    ];
    for (const call of calls) assert.throws(call, InvalidNameError);
  }
  for (const entry of ["refs", "refs/x", "a/b"]) {
    assert.throws(() => repository.linkStream(entry, id), InvalidNameError);
    assert.throws(() => repository.setRef("streams", "ok", { entry }), InvalidNameError);
  }
  assert.deepEqual(listTree(dir.path), before);
});

Deno.test("tags are encoded into one component, and back in one pass", () => {
  const pairs = [
    ["foo/bar:1%2 x", "foo%2Fbar:1%252 x"],
    ["%2F", "%252F"],
    ["a%b", "a%25b"],
    ["/", "%2F"],
  ] as const;
  for (const [name, encoded] of pairs) {
    assert.equal(encodeRefComponent(name), encoded);
    assert.equal(decodeRefComponent(encoded), name);
  }
  assert.equal(decodeRefComponent("%41%2f%25%2F%"), "%41%2f%/%");
});

Deno.test("a reference cannot be a directory of others, nor the other way round", () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true });
  using repository = Repository.open(dir.join("r"));
  using writer = repository.newStream(1n);
  repository.writeStream("s", writer.finish(), { ref: "flat" });
  const set = (name: string) => () => repository.setRef("streams", name, { entry: "s" });
  assert.throws(set("flat/sub"), (error) => {
    assert.ok(error instanceof ConflictError);
    assert.match(error.message, /streams\/refs\/flat\/sub: streams\/refs\/flat is a reference/);
    return true;
  });
  assert.throws(set("flat/sub/deeper"), ConflictError);
  set("a/b/c")();
  assert.throws(set("a/b"), ConflictError);
  Deno.writeTextFileSync(dir.join("r/streams/refs/file"), "");
  assert.throws(set("file"), ConflictError);
  assert.deepEqual(listTree(dir.join("r/streams/refs")), [
    "a",
    "a/b",
    "a/b/c -> ../../../s",
    "file",
    "flat -> ../s",
  ]);
});

Deno.test("references are replaced in one step, and not written when they are right", () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true });
  using repository = Repository.open(dir.join("r"));
  for (const name of ["s", "t"]) {
    using writer = repository.newStream(1n);
    writer.addInline(new TextEncoder().encode(name));
    repository.writeStream(name, writer.finish(), { ref: "x/y" });
    assert.equal(repository.resolveRef("streams", "x/y"), name);
  }
  const inode = () => Deno.lstatSync(dir.join("r/streams/refs/x/y")).ino;
  const before = inode();
  repository.setRef("streams", "x/y", { entry: "t" });
  assert.equal(inode(), before);
  repository.setRef("streams", "x/y", { entry: "s" });
  assert.notEqual(inode(), before);
  assert.deepEqual([...Deno.readDirSync(dir.join("r"))].map(({ name }) => name).sort(), [
    "meta.json",
    "objects",
    "streams",
  ]);
  assert.throws(() => repository.setRef("streams", "x/y", { entry: "nope" }), NotFoundError);
  assert.equal(repository.removeRef("streams", "x/y"), true);
  assert.equal(repository.removeRef("streams", "x/y"), false);
  assert.equal(repository.resolveRef("streams", "x/y"), undefined);
});

Deno.test("images and streams are found by the reference's rules", async () => {
  using dir = new TempDir();
  using repository = Repository.open(await unpackRepository("img256", dir));
  const id = "072778749ca1f91d0f315ef4763bcae886b098abc67aa875507b8c017f271d76";
  const good = [id, "flat", "refs/flat", "refs/my/nested/name", `sha256:${id}`, `@sha256:${id}`];
  for (const name of good) assert.equal(repository.findImage(name), id);
  for (const name of ["my/nested/name", "nope", "refs/nope", "refs", "flat/x", "refs/flat/x"]) {
    assert.throws(() => repository.findImage(name), (error) => {
      assert.ok(error instanceof NotFoundError);
      assert.equal(error.message, `image not found: ${name}`);
      return true;
    });
  }
  assert.throws(() => repository.findImage(`sha512:${id}`), InvalidNameError);
  // An entry must be named by what it leads to.
  const path = `${dir.path}/img256/images`;
  const other = "ab".repeat(32);
  Deno.symlinkSync(Deno.readLinkSync(`${path}/${id}`), `${path}/${other}`);
  assert.throws(() => repository.findImage(other), /digest mismatch/);

  using oci = Repository.open(await unpackRepository("oci256", dir));
  const manifest =
    "oci-manifest-sha256:7e748a6db7f48677397aaac4ea386f823ca4d5729ccff77b027bd44f87f979ae";
  const object = oci.streamObject(manifest);
  assert.notEqual(object, undefined);
  assert.equal(oci.streamObject("refs/oci/foo%2Fbar:1%252 x"), object);
  for (const name of ["oci/foo%2Fbar:1%252 x", "refs/oci", "refs/nope", "nope"]) {
    assert.equal(oci.streamObject(name), undefined);
  }
  assert.throws(() => oci.openStream("nope"), NotFoundError);
  assert.equal(oci.openStream(manifest, { contentType: 0x66696e616d69636fn }).id, object);
  assert.throws(() => oci.openStream(manifest, { contentType: 1n }), (error) => {
    assert.match(String((error as Error).cause), /Invalid splitstream content type/);
    return true;
  });
  assert.equal(oci.algorithm, ALGORITHMS.sha256);
});

Deno.test("listRefs() below a directory of references", () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true });
  using repository = Repository.open(dir.join("r"));
  using writer = repository.newStream(1n);
  repository.writeStream("s", writer.finish());
  for (const name of ["a", "b/c", "b/d/e", "bb/c"]) {
    repository.setRef("streams", name, { entry: "s" });
  }
  const names = (below?: string) => repository.listRefs("streams", below).map(({ name }) => name);
  assert.deepEqual(names(), ["a", "b/c", "b/d/e", "bb/c"]);
  assert.deepEqual(names("b"), ["b/c", "b/d/e"]);
  for (const nothing of ["a", "c", "b/c"]) assert.deepEqual(names(nothing), []);
  assert.throws(() => names("../../objects"), InvalidNameError);
});
