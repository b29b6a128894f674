import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { gzipSync, zstdCompressSync } from "node:zlib";
import type { Platform } from "../../lib/transport/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { content, END, header, pax } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import {
  chain,
  isFault,
  type JsonDescriptor,
  LayoutMaker,
  names,
  newRepository,
  pull,
  sha256,
  TYPE,
} from "./_oci.ts";

loadNative();

const DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";

/** A layer that makes images different from each other. */
function layer(text: string): Uint8Array {
  return Buffer.concat([
    header({ name: "usr/", type: "5", mode: 0o755 }),
    header({ name: "usr/name", size: text.length }),
    content(text),
    END,
  ]);
}

/** Open files of sources: layouts, archives, and unnamed temporary files. */
function openFiles(): string[] {
  return [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`);
    } catch (error) {
      // The descriptor that listed the directory, or one of a worker that has just ended.
      if (error instanceof Deno.errors.NotFound) return "";
      throw error;
    }
  }).filter((path) => /\/layout|\.ociar$|\(deleted\)$/.test(path));
}

/** Asserts that a pull fails in the way faults do, soon, and leaves nothing behind. */
async function assertFails(repository: Repository, source: string, message: RegExp): Promise<void> {
  const started = performance.now();
  const files = openFiles();
  await assert.rejects(pull(repository, source), (error) => {
    assert.ok(isFault(error), String(error));
    assert.match(chain(error), message);
    return true;
  });
  assert.ok(performance.now() - started < 5000);
  assert.deepEqual(openFiles(), files);
  assert.deepEqual(names(repository), []);
}

/** An image for a platform, in the layout. */
function imageFor(maker: LayoutMaker, name: string, platform?: Platform): JsonDescriptor {
  const [os, architecture, variant] = name.split("/") as [string, string, string | undefined];
  const config = { os, architecture, ...(variant === undefined ? {} : { variant }) };
  const descriptor = maker.image({ layers: [layer(name)], platform: config });
  if (platform === undefined) return descriptor;
  return { ...descriptor, platform: config };
}

Deno.test("pullImage() chooses by platform", async (t) => {
  const wanted = (text: string): Platform => {
    const [os, architecture, variant] = text.split("/") as [string, string, string | undefined];
    return { os, architecture, ...(variant === undefined ? {} : { variant }) };
  };
  const cases: { platform: string; of: string[]; takes?: number; fault?: RegExp }[] = [
    { platform: "linux/amd64", of: ["linux/arm64", "linux/amd64"], takes: 1 },
    { platform: "linux/amd64", of: ["linux/amd64", "linux/amd64/v2"], takes: 1 },
    { platform: "linux/amd64", of: ["linux/amd64/v2", "linux/amd64/v3", "linux/amd64"], takes: 1 },
    { platform: "linux/amd64", of: ["linux/amd64/v9", "linux/amd64/v1"], takes: 1 },
    { platform: "linux/arm", of: ["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], takes: 1 },
    { platform: "linux/arm/v6", of: ["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], takes: 2 },
    { platform: "linux/arm64", of: ["linux/arm", "linux/arm64/v8"], takes: 1 },
    { platform: "linux/arm64/v8", of: ["linux/arm64"], takes: 0 },
    { platform: "linux/riscv64", of: ["linux/riscv64"], takes: 0 },
    {
      platform: "linux/s390x",
      of: Array.from({ length: 12 }, (_, i) => `linux/a${i}`),
      fault: /platform linux\/s390x; available: (linux\/a\d, ){10}\.\.\.$/,
    },
    {
      platform: "linux/arm/v7",
      of: ["linux/arm/v6", "linux/amd64"],
      fault: /platform linux\/arm\/v7; available: linux\/arm\/v6, linux\/amd64$/,
    },
    { platform: "windows/amd64", of: ["linux/amd64"], fault: /available: linux\/amd64$/ },
  ];
  using dir = new TempDir();
  for (const [i, { platform, of, takes, fault }] of cases.entries()) {
    // Once with the platform in the index, once with it only in the configs.
    for (const listed of [true, false]) {
      await t.step(
        `${platform} of ${of.length} (${listed ? "index" : "config"}) ${i}`,
        async () => {
          const maker = new LayoutMaker(dir.join(`${i}-${listed}`));
          const images = of.map((name) => imageFor(maker, name, listed ? wanted(name) : undefined));
          using repository = newRepository(dir.join(`${i}-${listed}.repo`));
          const options = { platform: wanted(platform) };
          if (takes !== undefined) {
            const result = await pull(repository, maker.index(images), options);
            assert.equal(result.manifestDigest.toString(), images[takes]!.digest);
            return;
          }
          await assert.rejects(pull(repository, maker.index(images), options), (error) => {
            const expected = listed ? fault! : /available: \(no platform info\)$/;
            assert.match(chain(error), expected);
            return true;
          });
        },
      );
    }
  }
});

Deno.test("pullImage() finds images by tag, digest and position, in indexes too", async () => {
  using dir = new TempDir();
  const maker = new LayoutMaker(dir.join("layout"));
  const tagged = (descriptor: JsonDescriptor, name: string) => ({
    ...descriptor,
    annotations: { "org.opencontainers.image.ref.name": name },
  });
  const first = maker.image({ layers: [layer("first")] });
  const second = maker.image({ layers: [layer("second")] });
  const nested = maker.image({ layers: [layer("nested")] });
  const platform = { os: "linux", architecture: "amd64" };
  const attestation = { ...first, mediaType: "application/vnd.in-toto+json" };
  const list = maker.json({
    schemaVersion: 2,
    manifests: [attestation, { ...nested, platform }],
  }, DOCKER_LIST);
  const twice = maker.json({ schemaVersion: 2, manifests: [list] }, TYPE.index);
  const art = maker.json({
    schemaVersion: 2,
    config: maker.blob("{}", TYPE.empty),
    layers: [maker.blob("hello", "text/plain")],
  }, TYPE.manifest);
  const source = maker.index([
    tagged(first, "a"),
    tagged(second, "b"),
    tagged(twice, "deep"),
    tagged(art, "art"),
  ]);
  const cases: [string, JsonDescriptor][] = [
    [source, first],
    [`${source}:b`, second],
    [`${source}@${second.digest}`, second],
    [`${source}@${twice.digest}`, nested],
    [`${source}:deep`, nested],
    [`${source}:@2`, nested],
    [`${source}:art`, art],
    [`${source}@${art.digest}`, art],
  ];
  using repository = newRepository(dir.join("repo"));
  for (const [reference, expected] of cases) {
    const result = await pull(repository, reference);
    assert.equal(result.manifestDigest.toString(), expected.digest, reference);
  }
});

/** Layouts whose documents cannot be right. */
const BAD_DOCUMENTS: {
  name: string;
  make: (maker: LayoutMaker) => string;
  message: RegExp;
}[] = [
  {
    name: "an index that is no JSON",
    make: (maker) => raw(maker, "{"),
    message: /image index is not valid JSON/,
  },
  {
    name: "an index that is no UTF-8",
    make: (maker) => raw(maker, new Uint8Array([0x22, 0xff, 0x22])),
    message: /image index is not valid JSON/,
  },
  {
    name: "an index that is nested brackets",
    make: (maker) => raw(maker, "[".repeat(1_000_000)),
    message: /image index is not valid JSON|Invalid type/,
  },
  {
    name: "an index of more than 4 MiB",
    make: (maker) => raw(maker, " ".repeat(5_000_000)),
    message: /too big$/,
  },
  {
    name: "an index without manifests",
    make: (maker) => raw(maker, '{"schemaVersion":2}'),
    message: /image index: field manifests/,
  },
  {
    name: "a nested index without entries",
    make: (maker) => maker.index([maker.json({ schemaVersion: 2, manifests: [] }, TYPE.index)]),
    message: /No manifest found .*\(no platform info\)$/,
  },
  {
    name: "an unknown media type",
    make: (maker) => maker.index([{ ...maker.blob("x", "text/plain") }]),
    message: /Unexpected media type text\/plain$/,
  },
  {
    name: "a manifest that says it is an index",
    make: (maker) =>
      maker.index([maker.image({ layers: [], manifest: { mediaType: TYPE.index } })]),
    message: /Unexpected media type application\/vnd\.oci\.image\.index\.v1\+json$/,
  },
  {
    name: "indexes in indexes in indexes",
    make: (maker) => {
      let inner = maker.image({ layers: [] });
      for (let i = 0; i < 3; i++) {
        inner = maker.json({ schemaVersion: 2, manifests: [inner] }, TYPE.index);
      }
      return maker.index([inner]);
    },
    message: /Image indices are nested too deeply$/,
  },
  {
    name: "too many entries",
    make: (maker) => {
      const entry = { mediaType: "a", digest: `sha256:${"0".repeat(64)}`, size: 1 };
      return maker.index(Array.from({ length: 20_001 }, () => entry));
    },
    message: /more than 20000 entries$/,
  },
  {
    name: "thousands of big manifests",
    make: (maker) => {
      const padding = " ".repeat(4_000_000);
      const config = { mediaType: TYPE.config, digest: sha256(""), size: 0 };
      const manifests = Array.from({ length: 3 }, (_, i) => {
        const document = { schemaVersion: 2, config, layers: [], annotations: { i: `${i}` } };
        return maker.blob(padding + JSON.stringify(document), TYPE.manifest);
      });
      // What leads to the same document is read once, however often it is listed.
      return maker.index(Array.from({ length: 5000 }, (_, i) => manifests[i % 3]!));
    },
    message: /Blob sha256:e3b0c442\w+ is not in/,
  },
  {
    name: "a manifest of more than 4 MiB",
    make: (maker) => maker.index([maker.blob(" ".repeat(5_000_000), TYPE.manifest)]),
    message: /more than 4194304$/,
  },
  {
    name: "a manifest without config",
    make: (maker) => maker.index([maker.json({ schemaVersion: 2, layers: [] }, TYPE.manifest)]),
    message: /image manifest: field config/,
  },
  {
    name: "schema 1",
    make: (maker) => maker.index([maker.json({ schemaVersion: 1 }, TYPE.manifest)]),
    message: /image manifest: field schemaVersion/,
  },
  {
    name: "a config without rootfs",
    make: (maker) => {
      const config = maker.json({ os: "linux", architecture: "amd64" }, TYPE.config);
      return maker.index([maker.json({ schemaVersion: 2, config, layers: [] }, TYPE.manifest)]);
    },
    message: /image config: field rootfs/,
  },
  ...[-1, 0.5, 2 ** 60, "1", null].map((size) => ({
    name: `a size of ${JSON.stringify(size)}`,
    make: (maker: LayoutMaker) => {
      const good = maker.image({ layers: [] });
      return maker.index([{ ...good, size: size as number }]);
    },
    message: /image index: field manifests\.0\.size/,
  })),
  ...[
    ["../../../etc/passwd", /field manifests\.0\.digest/],
    ["sha256:../../../../../../../etc/passwd", /field manifests\.0\.digest/],
    [`sha256:${"A".repeat(64)}`, /field manifests\.0\.digest/],
    ["sha256:00", /field manifests\.0\.digest/],
    ["", /field manifests\.0\.digest/],
    ["md5:d41d8cd98f00b204e9800998ecf8427e", /unknown algorithm$/],
    [`sha384:${"0".repeat(96)}`, /unknown algorithm$/],
    ["..:x", /field manifests\.0\.digest/],
    [`x:${"y".repeat(199)}`, /field manifests\.0\.digest/],
    ["x:..", /field manifests\.0\.digest/],
  ].map(([digest, message]) => ({
    name: `digest ${digest}`,
    make: (maker: LayoutMaker) =>
      maker.index([{ mediaType: TYPE.manifest, digest: digest as string, size: 1 }]),
    message: message as RegExp,
  })),
];

function raw(maker: LayoutMaker, index: string | Uint8Array): string {
  const bytes = typeof index === "string" ? new TextEncoder().encode(index) : index;
  Deno.writeFileSync(`${maker.path}/index.json`, bytes);
  return `oci:${maker.path}`;
}

Deno.test("pullImage() refuses documents that cannot be right", async (t) => {
  for (const { name, make, message } of BAD_DOCUMENTS) {
    await t.step(name, async () => {
      using dir = new TempDir();
      using repository = newRepository(dir.join("repo"));
      await assertFails(repository, make(new LayoutMaker(dir.join("layout"))), message);
    });
  }
});

Deno.test("pullImage() stays inside of the layout", async (t) => {
  const cases: { name: string; spoil: (path: string, outside: string) => void; fails: RegExp }[] = [
    {
      name: "blobs/ is a link to somewhere else",
      spoil: (path, outside) => {
        Deno.renameSync(`${path}/blobs`, `${outside}/blobs`);
        Deno.symlinkSync(`${outside}/blobs`, `${path}/blobs`);
      },
      fails: /Opening blob sha256:\w+ in .*\(os error 18\)$/,
    },
    {
      name: "blobs/ is a relative link upwards",
      spoil: (path, outside) => {
        Deno.renameSync(`${path}/blobs`, `${outside}/blobs`);
        Deno.symlinkSync("../outside/blobs", `${path}/blobs`);
      },
      fails: /Opening blob sha256:\w+ in .*\(os error 18\)$/,
    },
    {
      name: "a blob is a link to somewhere else",
      spoil: (path, outside) => {
        for (const { name } of [...Deno.readDirSync(`${path}/blobs/sha256`)]) {
          Deno.renameSync(`${path}/blobs/sha256/${name}`, `${outside}/${name}`);
          Deno.symlinkSync(`${outside}/${name}`, `${path}/blobs/sha256/${name}`);
        }
      },
      fails: /Opening blob sha256:\w+ in .*\(os error 18\)$/,
    },
    {
      name: "index.json is a link to somewhere else",
      spoil: (path, outside) => {
        Deno.renameSync(`${path}/index.json`, `${outside}/index.json`);
        Deno.symlinkSync(`${outside}/index.json`, `${path}/index.json`);
      },
      fails: /Opening index\.json in .*\(os error 18\)$/,
    },
    {
      name: "index.json is a directory",
      spoil: (path) => {
        Deno.removeSync(`${path}/index.json`);
        Deno.mkdirSync(`${path}/index.json`);
      },
      fails: /is no file or too big$/,
    },
    {
      name: "index.json is a pipe",
      spoil: (path) => {
        Deno.removeSync(`${path}/index.json`);
        new Deno.Command("mkfifo", { args: [`${path}/index.json`] }).outputSync();
      },
      fails: /is no file or too big$/,
    },
    {
      name: "blobs are pipes",
      spoil: (path) => {
        for (const { name } of [...Deno.readDirSync(`${path}/blobs/sha256`)]) {
          Deno.removeSync(`${path}/blobs/sha256/${name}`);
          new Deno.Command("mkfifo", { args: [`${path}/blobs/sha256/${name}`] }).outputSync();
        }
      },
      fails: /is no regular file$/,
    },
    {
      name: "no index.json",
      spoil: (path) => Deno.removeSync(`${path}/index.json`),
      fails: /Cannot find the Image Index \(index\.json\) in .*No such file/,
    },
    {
      name: "no directory at all",
      spoil: (path) => Deno.removeSync(path, { recursive: true }),
      fails: /Opening OCI layout .*No such file/,
    },
  ];
  for (const { name, spoil, fails } of cases) {
    await t.step(name, async () => {
      using dir = new TempDir();
      using repository = newRepository(dir.join("repo"));
      const maker = new LayoutMaker(dir.join("layout"));
      const source = maker.index([maker.image({ layers: [layer("x")] })]);
      Deno.mkdirSync(dir.join("outside"));
      spoil(maker.path, dir.join("outside"));
      await assertFails(repository, source, fails);
    });
  }
  await t.step("a link inside of the layout is fine", async () => {
    using dir = new TempDir();
    using repository = newRepository(dir.join("repo"));
    const maker = new LayoutMaker(dir.join("layout"));
    const image = maker.image({ layers: [layer("x")] });
    Deno.renameSync(maker.blobPath(image.digest), `${maker.path}/kept`);
    Deno.symlinkSync("../../kept", maker.blobPath(image.digest));
    const result = await pull(repository, maker.index([image]));
    assert.equal(result.manifestDigest.toString(), image.digest);
  });
});

Deno.test("pullImage() takes sha512 digests", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const maker = new LayoutMaker(dir.join("layout"));
  const image = maker.image({ layers: [layer("x")] });
  const bytes = Deno.readFileSync(maker.blobPath(image.digest));
  const hash = Buffer.from(await crypto.subtle.digest("SHA-512", bytes)).toString("hex");
  Deno.mkdirSync(`${maker.path}/blobs/sha512`);
  Deno.writeFileSync(`${maker.path}/blobs/sha512/${hash}`, bytes);
  const result = await pull(repository, maker.index([{ ...image, digest: `sha512:${hash}` }]));
  assert.equal(result.manifestDigest.toString(), `sha512:${hash}`);
});

Deno.test("pullImage() takes Docker's media types", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  const maker = new LayoutMaker(dir.join("layout"));
  const image = maker.image({ layers: [layer("x")] });
  const list = maker.json({
    schemaVersion: 2,
    manifests: [{ ...image, mediaType: DOCKER_MANIFEST }],
  }, DOCKER_LIST);
  const result = await pull(repository, maker.index([list]));
  assert.equal(result.manifestDigest.toString(), image.digest);
});

/** The members of a layout as a tar. */
function archive(path: string, options: { prefix?: string; pax?: boolean } = {}): Buffer {
  const parts: Buffer[] = [];
  const add = (name: string, below: string): void => {
    for (const entry of [...Deno.readDirSync(below)].sort((a, b) => a.name < b.name ? -1 : 1)) {
      const member = `${name}${entry.name}`;
      if (entry.isDirectory) {
        parts.push(header({ name: `${member}/`, type: "5" }));
        add(`${member}/`, `${below}/${entry.name}`);
        continue;
      }
      const bytes = Deno.readFileSync(`${below}/${entry.name}`);
      if (options.pax) {
        parts.push(pax({ path: member, size: `${bytes.length}` }));
        parts.push(header({ name: "short", size: 0 }), content(bytes));
      } else parts.push(header({ name: member, size: bytes.length }), content(bytes));
    }
  };
  add(options.prefix ?? "", path);
  return Buffer.concat([...parts, END]);
}

Deno.test("pullImage() reads archives in place", async (t) => {
  using dir = new TempDir();
  const maker = new LayoutMaker(dir.join("layout"));
  const image = maker.image({ layers: [layer("one"), layer("two".repeat(1000))] });
  maker.index([image]);
  const plain = archive(maker.path);
  const blob = maker.blobPath(image.digest);
  const linked = Buffer.concat([
    header({ name: "elsewhere", size: image.size }),
    content(Deno.readFileSync(blob)),
    header({ name: `./blobs/sha256/${image.digest.slice(7)}`, type: "1", link: "elsewhere" }),
  ]);
  const manifest = header({
    name: `blobs/sha256/${image.digest.slice(7)}`,
    size: image.size,
  });
  const cases: [string, Uint8Array][] = [
    ["plain", plain],
    ["names that start with ./", archive(maker.path, { prefix: "./" })],
    ["PAX headers", archive(maker.path, { pax: true })],
    ["no end", plain.subarray(0, -1024)],
    ["gzip", gzipSync(plain)],
    [
      "gzip in two members",
      Buffer.concat([
        gzipSync(plain.subarray(0, 700)),
        gzipSync(plain.subarray(700)),
      ]),
    ],
    ["zstd", zstdCompressSync(plain)],
    [
      "a later member of the same name wins",
      Buffer.concat([
        manifest,
        content("x".repeat(
          image.size,
        )),
        plain,
      ]),
    ],
    ["a hardlink to a blob", Buffer.concat([archive(maker.path).subarray(0, -1024), linked, END])],
  ];
  for (const [name, bytes] of cases) {
    await t.step(name, async () => {
      using repository = newRepository(dir.join(`${name.replace(/\W/g, "_")}.repo`));
      const path = dir.write(`${name.replace(/\W/g, "_")}.ociar`, bytes);
      const files = openFiles();
      const result = await pull(repository, `oci-archive:${path}`);
      assert.equal(result.manifestDigest.toString(), image.digest);
      assert.deepEqual(openFiles(), files);
    });
  }
});

Deno.test("pullImage() refuses damaged archives", async (t) => {
  using dir = new TempDir();
  const maker = new LayoutMaker(dir.join("layout"));
  const image = maker.image({ layers: [layer("one")] });
  maker.index([image]);
  const plain = archive(maker.path);
  const huge = (size: number | Uint8Array) => {
    const block = header({ name: "index.json", size: typeof size === "number" ? size : 0 });
    return Buffer.concat([block, END]);
  };
  const cases: [string, Uint8Array, RegExp][] = [
    ["nothing at all", new Uint8Array(0), /Cannot find the Image Index/],
    ["only the end", END, /Cannot find the Image Index/],
    ["no archive", Buffer.from("x".repeat(1024)), /checksum mismatch|invalid octal/],
    ["cut in a header", plain.subarray(0, 700), /unexpected EOF/],
    ["cut in a member", plain.subarray(0, plain.length - 1500), /unexpected EOF|is not in/],
    ["a member that is longer than the archive", huge(2 ** 32), /unexpected EOF reading tar entry/],
    ["a member of 2^56 bytes", huge(2 ** 56), /out of range|unexpected EOF|invalid/i],
    ["gzip that is cut", gzipSync(plain).subarray(0, -20), /: Invalid gzip data: unexpected/],
    [
      "gzip with a wrong checksum",
      flip(gzipSync(plain), -6),
      /: Invalid gzip data: incorrect data check/,
    ],
    ["zstd that is cut", zstdCompressSync(plain).subarray(0, -20), /zstd|frame/],
    ["packed with xz", Buffer.from("\xfd7zXZ\0\0\x04", "latin1"), /is packed with xz: unpack/],
    ["packed with bzip2", Buffer.from("BZh91AY&SY"), /is packed with bzip2: unpack it first/],
    ["garbage behind gzip's header", Buffer.from([0x1f, 0x8b, 1, 2, 3]), /: Invalid gzip data: /],
  ];
  for (const [name, bytes, message] of cases) {
    await t.step(name, async () => {
      using repository = newRepository(dir.join(`${name.replace(/\W/g, "_")}.repo`));
      const path = dir.write(`${name.replace(/\W/g, "_")}.ociar`, bytes);
      await assertFails(repository, `oci-archive:${path}`, message);
    });
  }
  await t.step("a directory", async () => {
    using repository = newRepository(dir.join("directory.repo"));
    await assertFails(repository, `oci-archive:${maker.path}`, /is not a regular file$/);
  });
  await t.step("nothing there", async () => {
    using repository = newRepository(dir.join("nothing.repo"));
    await assertFails(repository, `oci-archive:${dir.join("no")}`, /Opening OCI archive .*No such/);
  });
});

function flip(bytes: Uint8Array, at: number): Uint8Array {
  const out = Uint8Array.from(bytes);
  out[out.length + at]! ^= 0x10;
  return out;
}

Deno.test("pullImage() says which transports are not there", async () => {
  using dir = new TempDir();
  using repository = newRepository(dir.join("repo"));
  await assertFails(repository, "containers-storage:x", /containers-storage: is not supported/);
});
