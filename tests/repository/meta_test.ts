import assert from "node:assert/strict";
import { ALGORITHMS, FormatError, PolicyError } from "../../lib/base/mod.ts";
import {
  checkDuplicateKeys,
  effectiveFormats,
  formatMetadata,
  initRepository,
  newMetadata,
  parseMetadata,
  Repository,
} from "../../lib/repository/mod.ts";
import { TempDir } from "../helpers/temp.ts";
import { callCfs, innermost, listTree, readFixture } from "./_fixtures.ts";

interface Case {
  meta_json: string;
  open: "ok" | "error";
  reference_error?: string;
  write?: string;
  effective_formats?: number[];
}

const CASES: Case[] = JSON.parse(readFixture("meta/cases.json"));

/** Where our words for the fault differ from those of the reference's JSON parser. */
const OWN_WORDS = [
  /^invalid type/,
  /^invalid value: integer/,
  /^trailing characters/,
  /^expected ident/,
  /^EOF/,
  /^invalid length/,
];

Deno.test("meta.json: each of the reference's cases opens, writes or fails as it should", async (t) => {
  assert.equal(CASES.length, 28);
  for (const row of CASES) {
    await t.step(JSON.stringify(row.meta_json), async () => {
      using dir = new TempDir();
      dir.write("r/meta.json", row.meta_json);
      const listed = await callCfs(["--repo", dir.join("r"), "images"]);
      assert.equal(listed.code, row.open === "ok" ? 0 : 1, listed.stderr);
      if (row.open === "error") {
        assert.throws(() => Repository.open(dir.join("r")), FormatError);
        assert.throws(() => parseMetadata(new TextEncoder().encode(row.meta_json)), FormatError);
        const reason = innermost(row.reference_error!).replace(/ at line \d+ column \d+$/, "");
        if (!OWN_WORDS.some((words) => words.test(reason))) {
          assert.ok(listed.stderr.includes(reason), `${listed.stderr} lacks ${reason}`);
        }
        return;
      }
      using repository = Repository.open(dir.join("r"));
      assert.deepEqual(repository.formats, row.effective_formats);
      assert.equal(listed.stdout, "No images found\n");
      checkWriting(repository, { dir, allowed: row.write === "ok" });
    });
  }
});

function checkWriting(
  repository: Repository,
  { dir, allowed }: { dir: TempDir; allowed: boolean },
): void {
  using writer = repository.newStream(1n);
  const stream = writer.finish();
  if (allowed) {
    repository.writeStream("s", stream, { ref: "s" });
    repository.setRef("streams", "t", { entry: "s" });
    assert.equal(repository.removeRef("streams", "s"), true);
    assert.equal(repository.gc().objectsRemoved, 0);
    assert.deepEqual(repository.listStreams(), ["s"]);
    return;
  }
  const refused = (write: () => unknown) =>
    assert.throws(write, (error) => {
      assert.ok(error instanceof PolicyError);
      assert.equal(
        error.message,
        'repository has unknown read-only-compatible features: ["future_ro"]; refusing to write',
      );
      return true;
    });
  refused(() => repository.writeStream("s", stream));
  refused(() => repository.writeImage(new Uint8Array(1), { force: true }));
  refused(() => repository.linkImage(repository.idOf(stream)));
  refused(() => repository.linkStream("s", repository.idOf(stream)));
  refused(() => repository.setRef("streams", "t", { entry: "s" }));
  refused(() => repository.removeRef("streams", "t"));
  refused(() => repository.gc());
  assert.equal(repository.gc({ dryRun: true }).objectsRemoved, 0);
  assert.deepEqual(listTree(dir.join("r")), ["meta.json"]);
}

const META_SHA512 = `{
  "version": 1,
  "algorithm": "fsverity-sha512-12",
  "features": {
    "compatible": [],
    "read-only-compatible": [
      "v1_erofs"
    ],
    "incompatible": []
  },
  "erofs_formats": {
    "default": 1
  }
}
`;

Deno.test("formatMetadata() writes the reference's bytes", () => {
  assert.equal(formatMetadata(newMetadata(ALGORITHMS.sha512, 1)), META_SHA512);
  assert.equal(META_SHA512.length, 219);
  for (const version of [0, 2] as const) {
    const text = formatMetadata(newMetadata(ALGORITHMS.sha256, version));
    assert.match(text, /"read-only-compatible": \[\],\n/);
    assert.ok(text.endsWith(`"default": ${version}\n  }\n}\n`));
    assert.match(text, /"algorithm": "fsverity-sha256-12"/);
  }
  const extra = { ...newMetadata(ALGORITHMS.sha512, 1), erofsFormats: { default: 1, extra: [2] } };
  assert.ok(
    formatMetadata(extra as Parameters<typeof formatMetadata>[0])
      .endsWith('    "default": 1,\n    "extra": [\n      2\n    ]\n  }\n}\n'),
  );
});

Deno.test("meta.json: further faults", async (t) => {
  const base = '{"version":1,"algorithm":"fsverity-sha512-12"';
  const faults: [string, RegExp][] = [
    [`\ufeff${base}}`, /invalid JSON/],
    [`${base},"erofs_formats":{"default":1,"extra":null}}`, /erofs_formats.extra/],
    [`${base},"erofs_formats":null}`, /erofs_formats/],
    [`${base},"erofs_formats":{"default":1,"extra":[7]}}`, /expected one of: 0, 1, 2/],
    [`${base},"features":{"compatible":null}}`, /features.compatible/],
    [`${base},"features":{"compatible":[1]}}`, /features.compatible/],
    [`${base},"features":{"compatible":[],"compatible":[]}}`, /duplicate field `compatible`/],
    [`${base},"x":${"[".repeat(200_000)}`, /invalid JSON/],
    [`{"version":4294967296,"algorithm":"fsverity-sha512-12"}`, /expected u32/],
    [`{"version":1.5,"algorithm":"fsverity-sha512-12"}`, /expected u32/],
    [`{"version":1,"algorithm":7}`, /expected a string/],
  ];
  for (const [text, message] of faults) {
    await t.step(text.slice(0, 90), () => {
      assert.throws(() => parseMetadata(new TextEncoder().encode(text)), (error) => {
        assert.ok(error instanceof FormatError);
        assert.match(error.message, message);
        return true;
      });
    });
  }
  await t.step("not UTF-8", () => {
    assert.throws(() => parseMetadata(Uint8Array.of(0x22, 0xff, 0x22)), FormatError);
  });
  await t.step("duplicate formats count once; __proto__ is a key like any other", () => {
    const text = `${base},"erofs_formats":{"default":1,"extra":[1,2,1]},"__proto__":{"version":9}}`;
    const meta = parseMetadata(new TextEncoder().encode(text));
    assert.deepEqual(effectiveFormats(meta), [1, 2]);
    assert.equal(meta.version, 1);
  });
});

Deno.test("meta.json that is no ordinary file, or too big, is refused", () => {
  using dir = new TempDir();
  Deno.mkdirSync(dir.join("d/meta.json"), { recursive: true });
  assert.throws(() => Repository.open(dir.join("d")), FormatError);
  Deno.mkdirSync(dir.join("f"));
  new Deno.Command("mkfifo", { args: [dir.join("f/meta.json")] }).outputSync();
  assert.throws(() => Repository.open(dir.join("f")), FormatError);
  dir.write("big/meta.json", META_SHA512 + " ".repeat(2 ** 20));
  assert.throws(() => Repository.open(dir.join("big")), FormatError);
  dir.write("target", META_SHA512);
  Deno.mkdirSync(dir.join("l"));
  Deno.symlinkSync("../target", dir.join("l/meta.json"));
  assert.throws(() => Repository.open(dir.join("l")), /Too many levels of symbolic links/);
});

Deno.test("checkDuplicateKeys() sees keys, not what looks like them, in long documents too", () => {
  const accept = [
    '{"a":"a","b":{"a":1},"c":["a","a"]}',
    '{"\\"a":1,"a":2}',
    '{"a":"\\\\","b":"a"}',
  ];
  for (const text of accept) checkDuplicateKeys(text, "x");
  const refuse = ['{"a":1,"\\u0061":2}', '[{"b":[{"a":1,"b":{},"a":2}]}]', '{"":1,"":1}'];
  for (const text of refuse) assert.throws(() => checkDuplicateKeys(text, "x"), FormatError);
  checkDuplicateKeys(JSON.stringify({ long: 'x\\n"'.repeat(1_000_000) }), "x");
});

Deno.test("erofsVersion overrides the stored formats for this run only", () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true });
  using repository = Repository.open(dir.join("r"), { erofsVersion: 2 });
  assert.deepEqual(repository.formats, [2]);
  assert.equal(Deno.readTextFileSync(dir.join("r/meta.json")), META_SHA512);
});
