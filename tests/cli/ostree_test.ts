/** The commands on commits, against the outputs of the reference and what is ours. */
import assert from "node:assert/strict";
import { TempDir } from "../helpers/temp.ts";
import { COMMITS, expected, unpackRepository } from "../ostree/_local.ts";
import { call } from "./_call.ts";

const { commitA, commitB } = COMMITS;

Deno.test("ostree commands print what the reference prints", async (t) => {
  for (const hash of ["sha256", "sha512"] as const) {
    using dir = new TempDir();
    // Each commit in a repository of its own, since any stored commit is a base.
    let repo: string[] = [];
    const ostree = (...args: string[]) => call([...repo, "ostree", ...args]);
    const cases = [
      ["buo", "buo-archive", "buo"],
      ["fb", "fallback", "fb"],
      ["signed", "signed", "signed"],
      ["commitA", "archive", commitA!],
    ] as const;
    for (const [name, source, reference] of cases) {
      await t.step(`${name}, ${hash}`, async () => {
        const path = await unpackRepository(dir, source);
        repo = ["--repo", dir.join(name)];
        const algorithm = `--algorithm=fsverity-${hash}-12`;
        assert.equal((await call([...repo, "init", "--insecure", algorithm])).code, 0);
        const pulled = await ostree("pull-local", path, reference);
        assert.equal(pulled.code, 0, pulled.stderr);
        const text = expected(`${name}.${hash}.pull.txt`);
        // The image may be the right one, and the stream is the one that is linked.
        const stable = (lines: string) => lines.replace(/^(verity|image) .*\n/gm, "");
        assert.equal(stable(pulled.stdout), stable(text));
        const target = expected(`${name}.${hash}.stream-link.txt`);
        const link = target.replaceAll(/\.\.\/objects|\/|\n/g, "");
        if (["buo", "fb"].includes(name)) {
          assert.match(pulled.stdout, new RegExp(`verity  ${link}`));
        }
        const inspect = await ostree("inspect", reference);
        assert.equal(inspect.stdout, expected(`${name}.${hash}.inspect.txt`));
        const metadata = await ostree("inspect", "--metadata", reference);
        assert.equal(metadata.stdout, expected(`${name}.${hash}.inspect-metadata.txt`));
        const dump = await ostree("dump", reference);
        assert.equal(dump.stdout, expected(`${name}.${hash}.dump.corrected.txt`));
        const id = (await ostree("compute-id", reference)).stdout;
        assert.match(pulled.stdout, new RegExp(`^image   ${id.trim()}$`, "m"));
        const again = await ostree("pull-local", path, reference);
        assert.match(again.stdout, /^objects 0 metadata \+ 0 files fetched$/m);
        const note = reference === commitA ? "note: not tagged; gc will remove it\n" : "";
        assert.equal(pulled.stderr, note);
      });
    }
    await t.step(`a second commit, ${hash}`, async () => {
      const path = await unpackRepository(dir, "archive");
      const { stdout } = await ostree("pull-local", path, "test/stable");
      assert.match(stdout, /^objects 6 metadata \+ 6 files fetched$/m);
      assert.match(stdout, /^tagged {2}test\/stable$/m);
      const inspect = await ostree("inspect", "927c");
      assert.equal(inspect.stdout, expected(`commitB.${hash}.inspect.txt`));
      const metadata = await ostree("inspect", "--metadata", "test/stable");
      assert.equal(metadata.stdout, expected(`commitB.${hash}.inspect-metadata.txt`));
    });
  }
});

Deno.test("ostree commands work together", async (t) => {
  using dir = new TempDir();
  const repo = ["--repo", dir.join("r")];
  await call([...repo, "init", "--insecure"]);
  const ostree = (...args: string[]) => call([...repo, "ostree", ...args]);
  const archive = await unpackRepository(dir, "archive");

  await t.step("nothing there yet", async () => {
    assert.equal((await ostree("images")).stdout, "No ostree commits found\n");
    const { code, stderr } = await ostree("inspect", "ffff");
    assert.equal(code, 1);
    assert.match(stderr, /^Error: ostree commit prefix 'ffff' not found in repository$/m);
  });
  await t.step("pull-local --ref-as, --no-tag and --json", async () => {
    const one = await ostree("pull-local", "--ref-as", "one", archive, commitA!);
    assert.match(one.stdout, /^tagged {2}one$/m);
    const { stdout } = await ostree("pull-local", "--no-tag", "--json", archive, "test/stable");
    const result = JSON.parse(stdout);
    assert.equal(result.commit, commitB);
    assert.equal(result.tag, null);
    assert.equal(result.stats.metadata_fetched, 6);
    assert.equal(result.stats.objects_inherited, 29);
  });
  await t.step("tag, images, untag", async () => {
    const tagged = await ostree("tag", "927c", "a/b");
    assert.equal(tagged.stdout, "Tagged 927c as a/b\n");
    const rows = ["a/b  ┆ " + commitB, "one  ┆ " + commitA];
    const { stdout } = await ostree("images");
    for (const row of rows) assert.ok(stdout.includes(`│ ${row} │\n`), stdout);
    const json = JSON.parse((await ostree("images", "--json")).stdout);
    assert.deepEqual(json.commits.map(({ name }: { name: string }) => name), ["a/b", "one"]);
    assert.equal((await ostree("untag", "one")).code, 0);
    const { code, stderr } = await ostree("untag", "one");
    assert.equal(code, 1);
    assert.match(stderr, /Failed to remove tag one\n\nCaused by:\n.*No such file or directory/);
  });
  await t.step("log goes as far as there is something", async () => {
    const { stdout } = await ostree("log", "a/b");
    assert.match(stdout, new RegExp(`^commit ${commitB}\nParent:  ${commitA}\nDate:  2024-02-03`));
    assert.match(stdout, new RegExp(`\n\ncommit ${commitA}\nDate:  2024-01-02 03:04:05 UTC`));
    const json = JSON.parse((await ostree("log", "--json", "a/b")).stdout);
    assert.equal(json.commits.length, 2);
  });
  await t.step("diff", async () => {
    const { stdout } = await ostree("diff", commitA!, "a/b");
    assert.match(stdout, /^M {4}\/link\n(M.*\n)+D {4}\/one\nA {4}\/new\nA {4}\/new\/file\n/);
    assert.equal((await ostree("diff", "a/b", "a/b")).stdout, "");
  });
  await t.step("create-image names the image, commit makes a commit of it", async () => {
    const made = await ostree("create-image", "a/b", "--image-name", "named");
    assert.match(made.stdout, /^sha512:[0-9a-f]{128}\n$/);
    const args = ["refs/named", "--reference", "new", "--subject", "S", "--timestamp", "1"];
    const first = await ostree("commit", ...args, "--add-metadata-string", "k=v");
    assert.match(
      first.stdout,
      /^commit {2}[0-9a-f]{64}\nverity {2}[0-9a-f]{128}\ntagged {2}new\n$/,
    );
    assert.equal((await ostree("diff", "a/b", "new")).stdout, "");
    const metadata = (await ostree("inspect", "--metadata", "new")).stdout;
    assert.equal(metadata, "ostree.ref-binding=[new]\nk=v\n");
    const bad = await ostree("commit", "refs/named", "--add-metadata-string", "kv");
    assert.equal(bad.code, 1);
  });
  await t.step("fsck, and gc keeps what has a tag", async () => {
    assert.equal((await call([...repo, "gc"])).code, 0);
    const { code, stdout } = await ostree("fsck");
    assert.equal(code, 0, stdout);
    assert.match(stdout, new RegExp(`^${commitB} 41 objects: ok$`, "m"));
    assert.equal(stdout.trim().split("\n").length, 2);
    const object = [...Deno.readDirSync(dir.join("r", "images"))].find((e) => e.isSymlink)!;
    Deno.removeSync(dir.join("r", "images", object.name));
    const damaged = await ostree("fsck", "--json");
    assert.equal(damaged.code, 1);
    assert.equal(JSON.parse(damaged.stdout).ok, false);
  });
});
