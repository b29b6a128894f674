import assert from "node:assert/strict";
import { unpack } from "../helpers/tar.ts";
import { TempDir } from "../helpers/temp.ts";
import { call } from "./_call.ts";

/** Cells of a drawn table, without its rules. */
function cells(text: string): string[][] {
  return text.split("\n").filter((line) => line.startsWith("│"))
    .map((line) => line.slice(1, -1).split("┆").map((cell) => cell.trim()));
}

async function both(args: string[]): Promise<{ text: string; json: Record<string, unknown> }> {
  const text = await call(args);
  const json = await call([...args, "--json"]);
  assert.equal(text.code, json.code, text.stderr + json.stderr);
  return { text: text.stdout, json: JSON.parse(json.stdout) };
}

Deno.test("--json says the same as the text", async (t) => {
  using dir = new TempDir();
  for (const name of ["img256", "oci256"]) {
    await unpack(`fixtures/repository/repos/${name}.tar`, dir.path);
  }
  const image = ["--repo", dir.join("img256")];
  const oci = ["--repo", dir.join("oci256")];
  await t.step("images", async () => {
    const { text, json } = await both([...image, "images", "--no-trunc"]);
    const rows = json.images as { name: string; digest: string }[];
    assert.deepEqual(cells(text).slice(1), rows.map(({ name, digest }) => [name, digest]));
  });
  await t.step("image-objects", async () => {
    const { text, json } = await both([...image, "image-objects", "flat"]);
    assert.deepEqual(text.trimEnd().split("\n"), json.objects);
  });
  await t.step("oci images", async () => {
    const { text, json } = await both([...oci, "oci", "images"]);
    const rows = json.images as Record<string, string | number>[];
    assert.deepEqual(
      cells(text).slice(1),
      rows.map((row) => [
        row.name,
        String(row.manifest_digest).slice("sha256:".length, "sha256:".length + 12),
        row.architecture,
        String(row.layer_count),
        String(row.referrer_count),
      ]),
    );
  });
  await t.step("gc", async () => {
    const { text, json } = await both([...oci, "gc", "--dry-run"]);
    assert.equal(json.dry_run, true);
    assert.ok(
      text.includes(`Objects: ${json.objects_removed} removed (${json.objects_bytes} bytes)`),
    );
    assert.equal(json.objects_removed, 2);
  });
  await t.step("fsck and oci fsck", async () => {
    const { text, json } = await both([...oci, "oci", "fsck"]);
    const repo = json.repo as Record<string, number>;
    for (const kind of ["objects", "streams", "images"]) {
      assert.ok(
        text.includes(`${kind}: ${repo[`${kind}_checked`]}/${repo[`${kind}_checked`]} ok\n`),
      );
    }
    assert.ok(text.endsWith(`oci images: ${json.images_checked}/${json.images_checked} ok\n`));
    const plain = await both([...oci, "fsck"]);
    assert.deepEqual(plain.json, json.repo);
    assert.ok(text.startsWith(plain.text));
  });
});
