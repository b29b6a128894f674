import assert from "node:assert/strict";
import { FormatError, NotFoundError } from "../../lib/base/mod.ts";
import { listTags, planPull, pullImage, type PullOptions } from "../../lib/oci/mod.ts";
import { REF_NAME_ANNOTATION } from "../../lib/transport/mod.ts";
import { content, header } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import { operations, tarDiff, writeDelta } from "./_delta_layout.ts";
import { AMD64, LayoutMaker, names, newRepository } from "./_oci.ts";

loadNative();

function layer(text: string): Uint8Array {
  const file = Buffer.concat([header({ name: "file", size: text.length }), content(text)]);
  return Buffer.concat([file, new Uint8Array(1024)]);
}

const OLD = layer("old");
const NEW = layer("new");

/** References of an old image, a new one whose manifest says `name`, and the delta between them. */
function layouts(dir: string, name: string | undefined) {
  const make = (which: "old" | "fresh" | "delta") => {
    const maker = new LayoutMaker(`${dir}/${which}`);
    const old = maker.image({ layers: [OLD] });
    const annotations = name === undefined ? undefined : { [REF_NAME_ANNOTATION]: name };
    const fresh = maker.image({ layers: [NEW], manifest: { annotations } });
    const layers = [tarDiff(operations(NEW))];
    const delta = writeDelta(maker, { old, fresh, layers });
    return maker.index([{ old, fresh, delta }[which]]);
  };
  return { old: make("old"), fresh: make("fresh"), delta: make("delta") };
}

const FROM_TARGET: PullOptions = { platform: AMD64, jobs: 1, nameFromTarget: true };

Deno.test("pullImage() names an image as its manifest says, when asked to", async (t) => {
  using dir = new TempDir();
  const { old, fresh, delta } = layouts(dir.path, "os:new");
  using repository = newRepository(dir.join("repo"));
  await pullImage(repository, old, { platform: AMD64, name: "old" });
  const rows: { of: string; options: PullOptions; tag: string; fromDelta: boolean }[] = [
    { of: delta, options: FROM_TARGET, tag: "os:new", fromDelta: true },
    { of: fresh, options: FROM_TARGET, tag: "os:new", fromDelta: false },
    { of: delta, options: { ...FROM_TARGET, name: "mine" }, tag: "mine", fromDelta: true },
    { of: delta, options: { platform: AMD64 }, tag: delta, fromDelta: true },
  ];
  for (const { of, options, tag, fromDelta } of rows) {
    await t.step(`${fromDelta ? "delta" : "image"} ${JSON.stringify(options)}`, async () => {
      const result = await pullImage(repository, of, options);
      assert.deepEqual([result.tag, result.fromDelta], [tag, fromDelta]);
    });
  }
  assert.deepEqual(
    listTags(repository).map(({ name }) => name).sort(),
    [
      "mine",
      delta,
      "old",
      "os:new",
    ].sort(),
  );
});

Deno.test("a manifest that says no name, or one that cannot be, names nothing", async (t) => {
  const rows: [string | undefined, typeof FormatError | typeof NotFoundError][] = [
    [undefined, NotFoundError],
    ["", FormatError],
    ["@sha256:0", FormatError],
    ["..", FormatError],
    ["x".repeat(300), FormatError],
  ];
  for (const [name, kind] of rows) {
    await t.step(name === undefined ? "none" : JSON.stringify(name.slice(0, 10)), async () => {
      using dir = new TempDir();
      const { old, delta } = layouts(dir.path, name);
      using repository = newRepository(dir.join("repo"));
      await pullImage(repository, old, { platform: AMD64, name: "old" });
      const before = names(repository);
      await assert.rejects(
        pullImage(repository, delta, FROM_TARGET),
        (error: Error) => error.cause instanceof kind,
      );
      await assert.rejects(planPull(repository, delta, FROM_TARGET), kind);
      assert.deepEqual(names(repository), before);
    });
  }
});
