import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { openPath } from "../../ffi/mod.ts";
import { unpackToTemporary } from "../../lib/transport/temporary.ts";
import { openImageRef } from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { content, END, header } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import { chain, isFault, makeImage, names, newRepository, pull, sha256, TYPE } from "./_oci.ts";

loadNative();

function layer(text: string): Buffer {
  return Buffer.concat([
    header({ name: "usr/", type: "5", mode: 0o755 }),
    header({ name: "usr/name", size: text.length }),
    content(text),
    END,
  ]);
}

interface Member {
  name: string;
  bytes?: Uint8Array | string;
  link?: string;
  type?: "1" | "2";
}

function tar(members: readonly Member[]): Buffer {
  const parts = members.flatMap(({ name, bytes = "", link, type = "2" }) => {
    if (link !== undefined) return [header({ name, type, link })];
    const data = typeof bytes === "string" ? Buffer.from(bytes) : Buffer.from(bytes);
    return [header({ name, size: data.length }), content(data)];
  });
  return Buffer.concat([...parts, END]);
}

function config(layers: readonly Uint8Array[]): string {
  const diff_ids = layers.map(sha256);
  return JSON.stringify({
    os: "linux",
    architecture: "amd64",
    rootfs: { type: "layers", diff_ids },
  });
}

const [A, B] = [layer("a"), layer("b")];

/** An archive of one image; `change` is what is odd about it. */
function dockerArchive(
  change: { members?: Member[]; images?: unknown; config?: string } = {},
): Buffer {
  const images = [{
    Config: "c.json",
    RepoTags: ["one:v1"],
    Layers: ["a/layer.tar", "b/layer.tar"],
  }];
  return tar([
    { name: "a/layer.tar", bytes: A },
    { name: "b/layer.tar", bytes: B },
    { name: "c.json", bytes: change.config ?? config([A, B]) },
    ...change.members ?? [],
    { name: "manifest.json", bytes: JSON.stringify(change.images ?? images) },
  ]);
}

const TWO = [
  {
    Config: "c.json",
    RepoTags: ["one:v1", "docker.io/library/other"],
    Layers: ["a/layer.tar", "b/layer.tar"],
  },
  { Config: "d.json", RepoTags: null, Layers: ["b/layer.tar"] },
];
const TWO_IMAGES = dockerArchive({
  images: TWO,
  members: [{ name: "d.json", bytes: config([B]) }],
});

const ARCHIVES: {
  name: string;
  archive: Uint8Array;
  of?: string;
  fails?: RegExp;
  layers?: number;
}[] = [
  { name: "plain", archive: dockerArchive() },
  { name: "gzip around", archive: gzipSync(dockerArchive()) },
  { name: "zstd around", archive: zstdCompressSync(dockerArchive()) },
  {
    name: "a packed layer",
    archive: dockerArchive({ members: [{ name: "b/layer.tar", bytes: gzipSync(B) }] }),
  },
  {
    name: "symbolic links to layers",
    archive: dockerArchive({
      members: [
        { name: "x/b.tar", bytes: B },
        { name: "y", link: "x/../x/b.tar" },
        { name: "b/layer.tar", link: "../y" },
      ],
    }),
  },
  {
    name: "a hard link to a layer",
    archive: dockerArchive({
      members: [{ name: "x/b.tar", bytes: B }, { name: "b/layer.tar", link: "x/b.tar", type: "1" }],
    }),
  },
  {
    name: "links in a circle",
    archive: dockerArchive({
      members: [{ name: "b/layer.tar", link: "../y" }, { name: "y", link: "b/layer.tar" }],
    }),
    fails: /digest mismatch|is not in the archive/,
  },
  {
    name: "a link out of the archive",
    archive: dockerArchive({
      members: [{ name: "b/layer.tar", link: "../../../../../../../etc/passwd" }],
    }),
    fails: /b\/layer\.tar is not in the archive/,
  },
  { name: "one of two by name", archive: TWO_IMAGES, of: "one:v1" },
  {
    name: "one of two by its full name",
    archive: TWO_IMAGES,
    of: "docker.io/library/other:latest",
  },
  { name: "one of two by position", archive: TWO_IMAGES, of: "@1", layers: 1 },
  { name: "two images", archive: TWO_IMAGES, fails: /The archive has 2 images/ },
  {
    name: "no such name",
    archive: TWO_IMAGES,
    of: "one:v2",
    fails: /No image docker.io\/library\/one:v2/,
  },
  { name: "no such position", archive: TWO_IMAGES, of: "@2", fails: /No image 2/ },
  { name: "no images", archive: dockerArchive({ images: [] }), fails: /No images in the archive/ },
  {
    name: "another layer than the config says",
    archive: dockerArchive({ members: [{ name: "a/layer.tar", bytes: layer("c") }] }),
    fails: /digest mismatch/,
  },
  {
    name: "fewer layers than the config says",
    archive: dockerArchive({ config: config([A]) }),
    fails: /expected 2 layer refs but got 1/,
  },
  {
    name: "no manifest",
    archive: tar([{ name: "c.json", bytes: "{}" }]),
    fails: /manifest\.json is not in the archive/,
  },
  {
    name: "a manifest that is something else",
    archive: dockerArchive({ images: { Config: 1 } }),
    fails: /manifest\.json: /,
  },
];

async function assertFails(
  repository: Repository,
  source: string,
  message: RegExp,
): Promise<void> {
  await assert.rejects(pull(repository, source), (error) => {
    assert.ok(isFault(error), String(error));
    assert.match(chain(error), message);
    return true;
  });
  assert.deepEqual(names(repository), []);
}

Deno.test("pullImage() takes what docker save writes", async (t) => {
  using dir = new TempDir();
  using layout = newRepository(dir.join("expected"));
  const expected = await pull(layout, makeImage(dir.join("layout"), { layers: [A, B] }));
  for (const { name, archive, of, fails, layers = 2 } of ARCHIVES) {
    await t.step(name, async () => {
      const path = dir.write(`${name.replaceAll(" ", "_")}.tar`, archive);
      using repository = newRepository(dir.join(`${name}.repo`));
      const source = `docker-archive:${path}${of === undefined ? "" : `:${of}`}`;
      if (fails !== undefined) return await assertFails(repository, source, fails);
      const result = await pull(repository, source);
      assert.equal(openImageRef(repository, "t").layerIds.length, layers);
      assert.equal(result.image, expected.image); // the last layer replaces everything
      assert.ok((await repository.fsck()).ok);
    });
  }
});

Deno.test("pullImage() takes directories with an index, and no more than is there", async (t) => {
  using dir = new TempDir();
  const files = new Map<string, Uint8Array>();
  const blob = (bytes: Uint8Array | string, mediaType: string, suffix = "") => {
    const data = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
    const digest = sha256(data);
    files.set(digest.slice("sha256:".length) + suffix, data);
    return { mediaType, digest, size: data.length };
  };
  const image = blob(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: TYPE.manifest,
      config: blob(config([A]), TYPE.config),
      layers: [blob(A, TYPE.layer)],
    }),
    TYPE.manifest,
    ".manifest.json",
  );
  const platform = { os: "linux", architecture: "amd64" };
  const index = { schemaVersion: 2, mediaType: TYPE.index, manifests: [{ ...image, platform }] };
  const cases: { name: string; change?: (path: string) => void; fails?: RegExp }[] = [
    { name: "whole" },
    {
      name: "without its layer",
      change: (path) => Deno.removeSync(`${path}/${sha256(A).slice(7)}`),
      fails: /Blob sha256:\w+ is not in /,
    },
    {
      name: "without a manifest",
      change: (path) => Deno.removeSync(`${path}/manifest.json`),
      fails: /image manifest is not in /,
    },
    {
      name: "of the first schema",
      change: (path) => Deno.writeTextFileSync(`${path}/manifest.json`, '{"schemaVersion":1}'),
      fails: /schema 1 are not supported/,
    },
    {
      name: "with links out of it",
      change: (path) => {
        Deno.removeSync(`${path}/manifest.json`);
        Deno.symlinkSync("/etc/hostname", `${path}/manifest.json`);
      },
      fails: /manifest\.json/,
    },
  ];
  for (const { name, change, fails } of cases) {
    await t.step(name, async () => {
      const path = dir.join(name.replaceAll(" ", "_"));
      Deno.mkdirSync(path);
      for (const [file, bytes] of files) Deno.writeFileSync(`${path}/${file}`, bytes);
      Deno.writeTextFileSync(`${path}/manifest.json`, JSON.stringify(index));
      change?.(path);
      using repository = newRepository(dir.join(`${name}.repo`));
      if (fails !== undefined) return await assertFails(repository, `dir:${path}`, fails);
      const result = await pull(repository, `dir:${path}`);
      assert.equal(result.manifestDigest.toString(), image.digest);
    });
  }
});

/** Runs with a variable set, or without it. */
async function withVariable<T>(
  name: string,
  value: string,
  work: () => Promise<T>,
): Promise<T> {
  const before = Deno.env.get(name);
  Deno.env.set(name, value);
  try {
    return await work();
  } finally {
    if (before === undefined) Deno.env.delete(name);
    else Deno.env.set(name, before);
  }
}

Deno.test("packed archives are unpacked where temporary files go, within limits", async () => {
  using dir = new TempDir();
  const archive = `docker-archive:${dir.write("a.tar.gz", gzipSync(dockerArchive()))}`;
  await withVariable("TMPDIR", "", async () => {
    using repository = newRepository(dir.join("empty"));
    await pull(repository, archive);
  });
  await withVariable("TMPDIR", dir.join("nowhere"), async () => {
    using repository = newRepository(dir.join("missing"));
    await assertFails(repository, archive, /Making a temporary file in .*nowhere: .*No such file/);
  });
  const path = dir.write("zeros.gz", gzipSync(Buffer.alloc(3_000_000)));
  using fd = openPath(path);
  const blob = { fd, offset: 0, size: Deno.statSync(path).size };
  await assert.rejects(
    unpackToTemporary(blob, "gzip", { maxSize: 2_000_000 }),
    /It unpacks to more than 2000000 bytes/,
  );
  using copy = await unpackToTemporary(blob, "gzip", { maxSize: 3_000_000 });
  assert.equal(Deno.statSync(copy.procPath).size, 3_000_000);
});

Deno.test("pullImage() says that the Docker daemon needs skopeo", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  await withVariable("PATH", dir.path, async () => {
    await assertFails(repository, "docker-daemon:a:b", /needs skopeo, which is not installed/);
  });
});
