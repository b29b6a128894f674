import assert from "node:assert/strict";
import { Digest, FormatError, InvalidNameError, NotFoundError } from "../../lib/base/mod.ts";
import {
  listTags,
  openImageRef,
  resolveReference,
  resolveTag,
  staleReferrers,
  tagImage,
  tagRef,
  untagImage,
} from "../../lib/oci/mod.ts";
import {
  formatPlatform,
  parseImageReference,
  parseLayoutReference,
  parsePlatform,
} from "../../lib/transport/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import { chain, expectations, makeImage, names, newRepository, pull } from "./_oci.ts";

loadNative();

const MISSING = `sha256:${"0".repeat(64)}`;

const BAD_TAGS: [string, string, RegExp][] = [
  ["reserved", "@foo", /^Invalid ref name "@foo": leading '@' is reserved for digest references$/],
  ["empty", "", /cannot be empty$/],
  ["dot", ".", /component '\.' is not allowed$/],
  ["dot dot", "..", /component '\.\.' is not allowed$/],
  ["NUL", "a\0b", /control character$/],
  ["newline", "a\nb", /control character$/],
  ["too long", "x".repeat(256), /longer than 255 bytes when encoded$/],
  ["too long when encoded", "/".repeat(86), /longer than 255 bytes when encoded$/],
  ["too long in UTF-8", "é".repeat(128), /longer than 255 bytes when encoded$/],
  ["half a character", "a\ud800", /not Unicode$/],
  ["name of a temporary link", ".symlink-x", /the name of a temporary file$/],
];

Deno.test("bad tags are refused before anything is read", async (t) => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  for (const [name, tag, message] of BAD_TAGS) {
    await t.step(name, async () => {
      const check = (error: unknown) => {
        assert.ok(error instanceof InvalidNameError);
        assert.match(error.message, message);
        return true;
      };
      assert.throws(() => tagRef(tag), check);
      assert.throws(() => tagImage(repository, Digest.parse(MISSING), tag), check);
      assert.throws(() => untagImage(repository, tag), check);
      // The layout is not there, but that is not what the error is about.
      await assert.rejects(pull(repository, `oci:${dir.join("nowhere")}`, { name: tag }), check);
    });
  }
  assert.deepEqual(names(repository), []);
});

Deno.test("tagRef() encodes what a file name cannot hold", async (t) => {
  const cases: [string, string][] = [
    ["img1", "oci/img1"],
    ["oci:w/basic:v1", "oci/oci:w%2Fbasic:v1"],
    ["docker://quay.io/foo/bar%2F:latest", "oci/docker:%2F%2Fquay.io%2Ffoo%2Fbar%252F:latest"],
    ["a@sha256:00", "oci/a@sha256:00"],
    ["50%", "oci/50%25"],
    ["../x", "oci/..%2Fx"],
    ["é ü", "oci/é ü"],
    ["x".repeat(255), `oci/${"x".repeat(255)}`],
  ];
  for (const [name, ref] of cases) await t.step(name, () => assert.equal(tagRef(name), ref));
});

Deno.test("tags are made, listed, followed and removed", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const source = makeImage(dir.join("layout"), { layers: [] });
  const { tag, manifestDigest } = await pull(repository, source, { name: source });
  assert.equal(tag, source);
  const listed = (expectations("basic").refs_dir_listing as unknown as string[])[0]!;
  const name = "docker://quay.io/foo/bar%2F:latest";
  tagImage(repository, manifestDigest, name);
  tagImage(repository, manifestDigest, name); // once more changes nothing
  const refs = `${repository.path}/streams/refs/oci`;
  assert.equal(Deno.readLinkSync(`${refs}/${listed}`), `../../oci-manifest-${manifestDigest}`);
  assert.deepEqual(
    listTags(repository),
    [name, source].sort().map((name) => ({
      name,
      manifest: manifestDigest,
    })),
  );
  assert.ok(resolveTag(repository, name).equals(manifestDigest));
  for (const reference of [name, `@${manifestDigest}`, `${manifestDigest}`]) {
    assert.ok(resolveReference(repository, reference).equals(manifestDigest));
    assert.ok(openImageRef(repository, reference).manifestDigest.equals(manifestDigest));
  }
  untagImage(repository, name);
  assert.throws(() => Deno.lstatSync(`${refs}/${listed}`), Deno.errors.NotFound);
  assert.throws(() => untagImage(repository, name), NotFoundError);
  assert.throws(() => resolveTag(repository, name), {
    message: `OCI reference not found: ${name}`,
  });
});

Deno.test("tagImage() refuses manifests that are not there", () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  assert.throws(() => tagImage(repository, Digest.parse(MISSING), "x"), (error) => {
    assert.ok(error instanceof NotFoundError);
    assert.equal(error.message, `manifest ${MISSING} not found`);
    return true;
  });
  assert.deepEqual(names(repository), []);
});

Deno.test("pullImage() moves a tag", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const platform = { os: "linux", architecture: "amd64", variant: "v2" };
  const first = makeImage(dir.join("first"), { layers: [] });
  const second = makeImage(dir.join("second"), { layers: [], platform });
  const one = await pull(repository, first);
  const two = await pull(repository, second);
  assert.ok(!one.manifestDigest.equals(two.manifestDigest));
  assert.deepEqual(listTags(repository).map(({ manifest }) => `${manifest}`), [
    `${two.manifestDigest}`,
  ]);
});

Deno.test("listTags() reports links that lead to no manifest", () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const refs = `${repository.path}/streams/refs/oci`;
  Deno.mkdirSync(refs, { recursive: true });
  Deno.symlinkSync("../../oci-layer-x", `${refs}/layer`);
  Deno.symlinkSync("../../oci-manifest-nonsense", `${refs}/nonsense`);
  const warnings: string[] = [];
  assert.deepEqual(listTags(repository, (text) => warnings.push(text)), []);
  assert.deepEqual(warnings, [
    "tag layer leads to oci-layer-x, which is no manifest",
    "tag nonsense leads to oci-manifest-nonsense, which is no manifest",
  ]);
  assert.throws(() => openImageRef(repository, "nonsense"), {
    message: "OCI reference not found: nonsense",
  });
});

Deno.test("pullImage() looks at the repository before the source", async () => {
  using dir = new TempDir();
  newRepository(dir.join("repo"))[Symbol.dispose]();
  const meta = JSON.parse(Deno.readTextFileSync(dir.join("repo", "meta.json")));
  meta.features["read-only-compatible"].push("future_ro");
  dir.write("repo/meta.json", JSON.stringify(meta));
  using repository = Repository.open(dir.join("repo"));
  await assert.rejects(
    pull(repository, `oci:${dir.join("nowhere")}`),
    /repository has unknown read-only-compatible features: \["future_ro"\]; refusing to write/,
  );
});

Deno.test("parseImageReference() speaks the reference's words", async (t) => {
  const cases: [string, string | RegExp][] = [
    ["oci:a:b", "oci a:b"],
    ["oci-archive:/x", "oci-archive /x"],
    ["docker://h/r:t@sha256:0", "docker h/r:t@sha256:0"],
    ["containers-storage:x", "containers-storage x"],
    ["foobar", /^Missing ':' in foobar$/],
    ["foo:x", /^Invalid transport: foo$/],
    ["toString:x", /^Invalid transport: toString$/],
    ["docker:foo", /^Missing \/\/ in docker:\/\/ in docker:foo$/],
    ["oci:", /^Invalid empty name in oci:$/],
    ["docker://", /^Invalid empty name in docker:\/\/$/],
  ];
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  for (const [text, expected] of cases) {
    await t.step(text, async () => {
      if (typeof expected === "string") {
        const { transport, rest } = parseImageReference(text);
        assert.equal(`${transport} ${rest}`, expected);
        return;
      }
      assert.throws(() => parseImageReference(text), (error) => {
        assert.ok(error instanceof InvalidNameError);
        assert.match(error.message, expected);
        return true;
      });
      await assert.rejects(pull(repository, text), (error) => {
        assert.ok(chain(error).startsWith("Parsing image reference transport: "));
        return true;
      });
    });
  }
});

Deno.test("parseLayoutReference() finds what is meant", async (t) => {
  const digest = Digest.parse(MISSING);
  const cases: [string, ReturnType<typeof parseLayoutReference>][] = [
    ["dir", { path: "dir", select: undefined }],
    ["dir:", { path: "dir", select: undefined }],
    ["dir:v1", { path: "dir", select: { by: "tag", tag: "v1" } }],
    ["/a:b/c", { path: "/a:b/c", select: undefined }],
    ["/a:b/c:d", { path: "/a:b/c", select: { by: "tag", tag: "d" } }],
    ["a:b:c", { path: "a:b", select: { by: "tag", tag: "c" } }],
    [`dir@${MISSING}`, { path: "dir", select: { by: "digest", digest } }],
    ["dir:@1", { path: "dir", select: { by: "position", position: 1 } }],
    ["dir:@x", { path: "dir", select: { by: "tag", tag: "@x" } }],
  ];
  for (const [text, expected] of cases) {
    await t.step(text, () => assert.deepEqual(parseLayoutReference(text), expected));
  }
  assert.throws(() => parseLayoutReference(":v1"), InvalidNameError);
  assert.throws(() => parseLayoutReference("dir@sha256:00"), FormatError);
});

Deno.test("parsePlatform() takes os/architecture[/variant]", () => {
  for (const text of ["linux/amd64", "linux/arm/v7"]) {
    assert.equal(formatPlatform(parsePlatform(text)), text);
  }
  for (const text of ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/am d64", "linux/arm/"]) {
    assert.throws(() => parsePlatform(text), InvalidNameError, text);
  }
});

Deno.test("referrers of what can have no name do not stop a collection", () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  using writer = repository.newStream(1n);
  const entry = `oci-manifest-sha256:${"a".repeat(64)}`;
  repository.writeStream(entry, writer.finish());
  for (const subject of [`x:${"y".repeat(250)}`, "no digest"]) {
    repository.setRef("streams", `oci-referrers/${subject}/sha256:${"a".repeat(64)}`, { entry });
  }
  const staleRefs = () => staleReferrers(repository);
  const preview = repository.gc({ staleRefs, dryRun: true });
  assert.equal(repository.listRefs("streams").length, 2);
  const { dryRun: _preview, ...foretold } = preview;
  const { dryRun: _real, ...done } = repository.gc({ staleRefs });
  assert.deepEqual(foretold, done);
  assert.equal(done.objectsRemoved, 1);
  assert.deepEqual(repository.listRefs("streams"), []);
});
