import assert from "node:assert/strict";
import { NotFoundError } from "../../lib/base/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";
import { TempDir } from "../helpers/temp.ts";
import { callCfs, innermost, readTranscript, unpackRepository } from "./_fixtures.ts";

/** Additions of ours at the end of the reference's JSON document. */
const ADDED = ["affected", "warnings"];

Deno.test("reading commands print what the reference printed", async (t) => {
  using dir = new TempDir();
  for (const name of ["img256", "img512", "img256v2", "oci256"]) await unpackRepository(name, dir);
  await unpackRepository("old256", dir, "o1");
  const rows = readTranscript("read-commands.txt");
  assert.equal(rows.length, 23);
  for (const { args, stdout, stderr, code, after } of rows) {
    await t.step(args.join(" "), async () => {
      const repo = args[1]!;
      const called = await callCfs(["--repo", dir.join(repo), ...args.slice(2)]);
      assert.equal(called.code, code, called.stderr);
      if (args[2] === "fsck" && args[3] === "--json") {
        const document = JSON.parse(called.stdout);
        for (const key of ADDED) assert.deepEqual(document[key], []);
        assert.deepEqual(Object.keys(document).slice(-ADDED.length), ADDED);
        for (const key of ADDED) delete document[key];
        assert.equal(JSON.stringify(document, null, 2) + "\n", stdout);
      } else if (args[2] === "image-objects") {
        // The reference's order is arbitrary, ours is sorted.
        assert.equal(
          called.stdout,
          stdout.split("\n").filter(Boolean).sort().join("\n") +
            (stdout === "" ? "" : "\n"),
        );
      } else assert.equal(called.stdout, stdout);
      if (stderr !== "") {
        const reason = innermost(stderr);
        assert.ok(called.stderr.replaceAll(dir.path + "/", "").includes(reason), called.stderr);
      }
      if (after !== "") assert.equal(Deno.readTextFileSync(dir.join(repo, "meta.json")), after);
    });
  }
});

Deno.test("imageObjects() is sorted and complete", async () => {
  using dir = new TempDir();
  using repository = Repository.open(await unpackRepository("img256", dir));
  assert.deepEqual(repository.imageObjects("flat"), [
    "2243118a8ac9d842da6ee4377d94cbe26b1c53331e3f7ee1c262e724b3fce69b",
    "838b2c37e0ad28bb545e3edbe665a04a8ef1b3d559fe568db29b546e4458e1d4",
  ]);
  assert.throws(() => repository.imageObjects("my/nested/name"), NotFoundError);
  assert.deepEqual(repository.listImages().map(({ name }) => name), ["flat", "my/nested/name"]);
});
