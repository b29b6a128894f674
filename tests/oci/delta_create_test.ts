import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  type Digest,
  DigestMismatchError,
  NotFoundError,
  UnsupportedError,
} from "../../lib/base/mod.ts";
import {
  createDelta,
  type DeltaCreateOptions,
  type DeltaCreateResult,
  pushImage,
  readDeltaInfo,
} from "../../lib/oci/mod.ts";
import { O, openPath } from "../../ffi/mod.ts";
import { scanLayer } from "../../lib/oci/delta_scan.ts";
import { Arrival } from "../../lib/transport/arrival.ts";
import { applied, expectedDeltas, newImage, oldImage, sourceTables } from "../delta/_delta.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { FaultServer, plainReply } from "../helpers/fault_server.ts";
import { content, END, header } from "../helpers/make_tar.ts";
import "../helpers/libraries.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TestRegistry } from "../helpers/registry.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { readJson } from "./_delta_layout.ts";
import {
  AMD64,
  chain,
  fixtureLayout,
  LayoutMaker,
  makeImage,
  newRepository,
  pull,
  sha256,
  TYPE,
} from "./_oci.ts";

const TAR_DIFF = "application/vnd.tar-diff";
const CONTENT = "io.github.containers.delta.content";

interface JsonManifest {
  artifactType: string;
  subject: { digest: string };
  annotations: Record<string, string>;
  layers: {
    mediaType: string;
    digest: string;
    size: number;
    annotations: Record<string, string>;
  }[];
}

function create(
  old: string,
  fresh: string,
  options: DeltaCreateOptions,
): Promise<DeltaCreateResult> {
  return createDelta({ old, fresh }, { platform: AMD64, jobs: 2, ...options });
}

/** Blobs that come over a network, which are tiny; waiting for more would be for ever. */
Deno.test("scanLayer() reads blobs that arrive and have next to nothing in them", async (t) => {
  for (const size of [1, 3]) {
    await t.step(`${size} bytes`, async () => {
      using dir = new TempDir();
      Deno.writeFileSync(dir.join("blob"), new Uint8Array(size));
      using fd = openPath(dir.join("blob"), { flags: O.RDONLY });
      const arrival = new Arrival(size);
      arrival.advance(size);
      const blob = { fd: fd.number, offset: 0, size };
      const diffId = sha256(new Uint8Array(size));
      const task = { blob, arrived: arrival.memory, digest: undefined, diffId, spool: -1 };
      const context = { signal: new AbortController().signal, emit() {}, transfer() {} };
      await assert.rejects(
        scanLayer(task, context),
        /unexpected EOF in tar stream/,
      );
    });
  }
});

Deno.test("scanLayer() holds no more than the entries of a layer", async (t) => {
  using dir = new TempDir();
  const size = 200 * 2 ** 20;
  const entry = header({ name: "x", type: "V", size: size - 512 });
  for (
    const [name, head] of [["behind the end", new Uint8Array(1024)], ["in one", entry]] as const
  ) {
    await t.step(name, async () => {
      Deno.writeFileSync(dir.join("blob"), head);
      Deno.truncateSync(dir.join("blob"), size);
      const hash = createHash("sha256").update(head);
      for (let at = head.length; at < size; at += 2 ** 20) {
        hash.update(new Uint8Array(Math.min(2 ** 20, size - at)));
      }
      using fd = openPath(dir.join("blob"), { flags: O.RDONLY });
      const blob = { fd: fd.number, offset: 0, size };
      const diffId = `sha256:${hash.digest("hex")}`;
      const task = { blob, digest: undefined, diffId, spool: -1, limit: 32 * 2 ** 20 };
      const before = Deno.memoryUsage().external;
      let most = 0;
      const { signal } = new AbortController();
      signal.throwIfAborted = () => most = Math.max(most, Deno.memoryUsage().external - before);
      const scanned = scanLayer(task, { signal, emit() {}, transfer() {} });
      if (head === entry) await assert.rejects(scanned, /More than 33554432 bytes/);
      else assert.deepEqual((await scanned).entries, []);
      assert.ok(most > 0 && most < 100 * 2 ** 20, `${most} bytes were held`);
    });
  }
});

/** Reads a blob of a layout and checks its digest. */
function blob(layout: string, digest: string | Digest): Uint8Array<ArrayBuffer> {
  const bytes = Deno.readFileSync(`${layout}/blobs/${`${digest}`.replace(":", "/")}`);
  assert.equal(sha256(bytes), `${digest}`);
  return bytes;
}

function manifestOf(layout: string, result: DeltaCreateResult): JsonManifest {
  return JSON.parse(new TextDecoder().decode(blob(layout, result.manifestDigest)));
}

/** Files of a layout and what they hold. */
function everything(layout: string): string[] {
  const blobs = [...Deno.readDirSync(`${layout}/blobs/sha256`)].map(({ name }) => name).sort();
  for (const name of blobs) blob(layout, `sha256:${name}`);
  return [...blobs, Deno.readTextFileSync(`${layout}/index.json`)];
}

/** The deltas that the Go tool makes and that can be applied to the old image as it is. */
const SOUND = ["main", "gen-opaque", "gen-wh_hardlink_other_name"];

Deno.test("createDelta makes deltas no larger than the generator's, and they give the layers", async (t) => {
  using dir = new TempDir();
  for (const [name, row] of Object.entries(expectedDeltas())) {
    if (row.tar_diffs === undefined || name === "main-redhat-type") continue;
    await t.step(name, async () => {
      const old = await fixtureLayout("delta", oldImage(name), dir);
      const fresh = await fixtureLayout("delta", newImage(name), dir);
      const out = dir.join(`${name}.out`);
      const compat = name === "run" ? "oci-delta" : "any";
      const result = await create(`oci:${old}`, `oci:${fresh}`, {
        destination: `oci:${out}`,
        compat,
      });
      assert.equal(`${result.target}`, row.target_manifest);
      const theirs = row.tar_diffs!.reduce((sum, { size }) => sum + size, 0);
      if (SOUND.includes(name) || name === "run") {
        assert.ok(result.size <= theirs, `${result.size} bytes, theirs has ${theirs}`);
      } else assert.ok(result.size <= result.layerSize);
      const tables = sourceTables(oldImage(name));
      for (const layer of result.layers) {
        const bytes = blob(out, layer.blob);
        if (layer.mediaType !== TAR_DIFF) continue;
        assert.equal(sha256(await applied(bytes, tables.true)), `${layer.diffId}`);
      }
    });
  }
});

Deno.test("createDelta writes the artifact as the generator does", async (t) => {
  using dir = new TempDir();
  const old = await fixtureLayout("delta", "main-old", dir);
  const fresh = await fixtureLayout("delta", "main-new", dir);
  const row = expectedDeltas()["main"]!;
  const theirs: JsonManifest = JSON.parse(new TextDecoder().decode(
    await delta(await fixtureLayout("delta", "main.delta", dir)),
  ));
  const out = dir.join("out");
  const result = await create(`oci:${old}`, `oci:${fresh}`, { destination: `oci:${out}:tag` });
  const ours = manifestOf(out, result);
  await t.step("with the same fields in the same order", () => {
    const neutral = (manifest: JsonManifest) => {
      const copy = structuredClone(manifest);
      for (const layer of copy.layers) {
        if (layer.mediaType !== TAR_DIFF) continue;
        layer.digest = "";
        layer.size = 0;
      }
      return JSON.stringify(copy);
    };
    assert.equal(neutral(ours), neutral(theirs));
  });
  await t.step("with the target's documents", () => {
    const documents = ours.layers.filter(({ mediaType }) => mediaType !== TAR_DIFF);
    assert.deepEqual(documents.map(({ digest }) => digest), [
      row.target_manifest,
      row.target_config,
    ]);
    for (const { digest } of documents) blob(out, digest);
    const index = JSON.parse(Deno.readTextFileSync(`${out}/index.json`));
    assert.equal(index.manifests.length, 1);
    assert.equal(index.manifests[0].annotations["org.opencontainers.image.ref.name"], "tag");
  });
  await t.step("with the other type when asked for", async () => {
    const artifactType = "application/vnd.redhat.oci-delta.v1";
    const path = dir.join("redhat");
    const made = await create(`oci:${old}`, `oci:${fresh}`, {
      destination: `oci:${path}`,
      artifactType,
    });
    assert.equal(manifestOf(path, made).artifactType, artifactType);
  });
  await t.step("the same on any number of threads, each time", async () => {
    const expected = everything(out);
    for (const jobs of [1, 3]) {
      const path = dir.join(`jobs-${jobs}`);
      await create(`oci:${old}`, `oci:${fresh}`, { destination: `oci:${path}:tag`, jobs });
      assert.deepEqual(everything(path), expected);
    }
  });
  await t.step("the same as an archive, byte by byte", async () => {
    const digests = [1, 2].map(async (number) => {
      const path = dir.join(`${number}.tar`);
      await create(`oci:${old}`, `oci:${fresh}`, { destination: `oci-archive:${path}` });
      return createHash("sha256").update(Deno.readFileSync(path)).digest("hex");
    });
    const [first, second] = await Promise.all(digests);
    assert.equal(first, second);
  });
});

/** The manifest of the only image of a layout. */
function delta(layout: string): Uint8Array {
  const index = JSON.parse(Deno.readTextFileSync(`${layout}/index.json`));
  return blob(layout, index.manifests[0].digest);
}

function file(name: string, bytes: Uint8Array | string, mode = 0o644): Buffer {
  return Buffer.concat([header({ name, size: bytes.length, mode }), content(bytes)]);
}

function random(rng: Rng, length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, () => rng.below(256)));
}

Deno.test("createDelta decides which layers go how", async (t) => {
  using dir = new TempDir();
  const rng = new Rng(seed());
  const app = random(rng, 40_000);
  const base = Buffer.concat([file("usr/app", app), file("usr/secret", random(rng, 900)), END]);
  const old = makeImage(dir.join("old"), { layers: [base] });
  const noise = Buffer.concat([file("usr/noise", random(rng, 5000)), END]);
  const patched = Buffer.concat([file("usr/app", Buffer.concat([app, app])), END]);
  const layout = (name: string) => `oci:${dir.join(name)}`;

  await t.step("layers that the old image has are named only", async () => {
    const fresh = makeImage(dir.join("same"), { layers: [base, base], packing: "zstd" });
    const result = await create(old, fresh, { destination: layout("same-out") });
    assert.equal(result.layers.length, 0);
    assert.equal(result.reused, 1, "two equal layers of the new image are one blob");
    const manifest = manifestOf(dir.join("same-out"), result);
    assert.equal(manifest.layers.length, 2);
    assert.equal(JSON.parse(manifest.annotations["io.github.containers.delta.reused"]!).length, 1);
  });

  await t.step("equal layers are made once", async () => {
    const fresh = makeImage(dir.join("twice"), { layers: [patched, base, patched] });
    const result = await create(old, fresh, { destination: layout("twice-out") });
    assert.equal(result.layers.length, 1);
    assert.equal(result.layers[0]!.mediaType, TAR_DIFF);
    assert.ok(result.size < 500);
    const content = manifestOf(dir.join("twice-out"), result).layers.map((layer) =>
      layer.annotations[CONTENT]
    );
    assert.deepEqual(content, ["image-manifest", "image-config", "image-layer"]);
  });

  await t.step("what is not smaller as a tar-diff goes as it is", async () => {
    for (const packing of ["zstd", "gzip"] as const) {
      // Packed as well as it can be: a tar of nothing has nothing to copy either.
      const fresh = makeImage(dir.join(`original-${packing}`), {
        layers: [Buffer.alloc(10240)],
        packing,
      });
      const result = await create(old, fresh, { destination: layout(`${packing}-out`) });
      const [layer] = result.layers;
      if (packing === "zstd") assert.equal(layer!.mediaType, `${TYPE.layer}+zstd`);
      if (layer!.mediaType !== TAR_DIFF) assert.ok(layer!.blob.equals(layer!.layer));
      blob(dir.join(`${packing}-out`), layer!.blob);
    }
  });

  await t.step("a wrong media type is put right, since appliers go by it", async () => {
    const maker = new LayoutMaker(dir.join("mislabelled"));
    const tar = Buffer.alloc(10240);
    const parts = { layers: [tar], packing: "zstd" } as const;
    const honest = maker.image(parts);
    const document = JSON.parse(new TextDecoder().decode(blob(maker.path, honest.digest)));
    document.layers[0].mediaType = `${TYPE.layer}+gzip`;
    const fresh = maker.index([maker.json(document, TYPE.manifest)]);
    const result = await create(old, fresh, { destination: layout("mislabelled-out") });
    assert.equal(result.layers[0]!.mediaType, `${TYPE.layer}+zstd`);
  });

  await t.step("noise of a new layer is not blown up", async () => {
    const fresh = makeImage(dir.join("noise"), { layers: [base, noise] });
    const result = await create(old, fresh, { destination: layout("noise-out") });
    assert.ok(result.size <= result.layerSize);
  });
});

Deno.test("createDelta takes images of the repository", async () => {
  using dir = new TempDir();
  const rng = new Rng(seed());
  const app = random(rng, 50_000);
  const layers = [Buffer.concat([file("usr/app", app), END])];
  const old = makeImage(dir.join("old"), { layers });
  const fresh = makeImage(dir.join("new"), {
    layers: [...layers, Buffer.concat([file("usr/app", edited(app)), END])],
  });
  using repository = newRepository(dir.join("repository"));
  await pull(repository, old, { name: "old" });
  await pull(repository, fresh, { name: "new" });
  const expected = await create(old, fresh, { destination: `oci:${dir.join("a")}` });
  const openRepository = () => repository;
  const pairs = [["old", "new"], [old, "new"], ["old", fresh]] as const;
  for (const [i, [from, to]] of pairs.entries()) {
    const destination = `oci:${dir.join(`out-${i}`)}`;
    const result = await create(from, to, { destination, openRepository });
    assert.ok(result.manifestDigest.equals(expected.manifestDigest));
  }
  await assert.rejects(
    create("old", fresh, { destination: `oci:${dir.join("none")}` }),
    (error) => /old has no transport, and there is no repository/.test(chain(error)),
  );
});

function edited(bytes: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, 30_000), Buffer.from("new"), bytes.subarray(30_100)]);
}

/** An error and what it was caused by. */
function causes(error: unknown): unknown[] {
  return error instanceof Error ? [error, ...causes(error.cause)] : [];
}

Deno.test("createDelta refuses what it cannot make a delta of", async (t) => {
  using dir = new TempDir();
  const good = makeImage(dir.join("good"), {
    layers: [Buffer.concat([file("usr/a", "x".repeat(100)), END])],
  });
  const lying = new LayoutMaker(dir.join("lying"));
  const config = lying.json({
    ...AMD64,
    rootfs: { type: "layers", diff_ids: [sha256("another")] },
  }, TYPE.config);
  const layer = lying.blob(Buffer.concat([file("usr/b", "y"), END]), TYPE.layer);
  const image = { schemaVersion: 2, mediaType: TYPE.manifest, config, layers: [layer] };
  const liar = lying.index([lying.json(image, TYPE.manifest)]);
  const counting = new LayoutMaker(dir.join("counting"));
  counting.json({}, TYPE.empty);
  const both = counting.image({ layers: [END] });
  const document = JSON.parse(new TextDecoder().decode(blob(counting.path, both.digest)));
  document.layers.push(document.layers[0]);
  const miscounted = counting.index([counting.json(document, TYPE.manifest)]);
  const torn = makeImage(dir.join("torn"), { layers: [Buffer.alloc(512, 7)] });
  const artifact = new LayoutMaker(dir.join("artifact"));
  const empty = artifact.blob("{}", TYPE.empty);
  const thing = artifact.index([
    artifact.json({
      schemaVersion: 2,
      mediaType: TYPE.manifest,
      artifactType: "a/b",
      config: empty,
      layers: [empty],
    }, TYPE.manifest),
  ]);
  const cases: [string, string, string, RegExp, { new (...args: never[]): Error }?][] = [
    ["a layer that is not what it says", good, liar, /sha256:/, DigestMismatchError],
    ["the same in the old image", liar, good, /sha256:/, DigestMismatchError],
    ["layers and diff_ids that do not fit", good, miscounted, /diff_id count \(1\)/],
    ["a layer that is no tar", good, torn, /Reading layer sha256:/],
    ["an artifact", thing, good, /is an artifact/, UnsupportedError],
    ["an image that is not there", good, `oci:${dir.join("none")}`, /none/],
    ["a tag that is not there", `${good}:x`, good, /Tag 'x' not found/, NotFoundError],
  ];
  for (const [name, from, to, message, kind] of cases) {
    await t.step(name, async () => {
      const out = dir.join("out");
      await assert.rejects(create(from, to, { destination: `oci:${out}` }), (error: Error) => {
        assert.match(chain(error), message);
        if (kind !== undefined) {
          assert.ok(causes(error).some((one) => one instanceof kind), `not a ${kind.name}`);
        }
        return true;
      });
      assert.throws(() => Deno.statSync(`${out}/index.json`), Deno.errors.NotFound);
    });
  }
  await t.step("when it is given up", async () => {
    const stop = new AbortController();
    stop.abort(new Error("enough"));
    const destination = `oci:${dir.join("out")}`;
    await assert.rejects(create(good, good, { destination, signal: stop.signal }), /enough/);
  });
});

/** A layer that adds, changes, links and removes files. */
function randomChanges(rng: Rng, files: Map<string, Buffer>): Buffer {
  const dirs = ["usr/", "usr/a/", "usr/b/", "usr/b/c/"];
  const parts = dirs.map((name) => header({ name, type: "5", mode: 0o755 }));
  for (let i = 0; i < 12; i++) {
    const known = [...files.keys()];
    const path = known.length > 0 && rng.oneIn(2)
      ? rng.pick(known)
      : `${rng.pick(dirs)}f${rng.below(30)}`;
    const before = files.get(path) ?? files.get(rng.pick(known));
    if (files.has(path) && rng.oneIn(4)) {
      const slash = path.lastIndexOf("/") + 1;
      parts.push(file(`${path.slice(0, slash)}.wh.${path.slice(slash)}`, ""));
      files.delete(path);
      continue;
    }
    const bytes = before === undefined || rng.oneIn(3)
      ? random(rng, rng.below(30_000))
      : Buffer.concat([before.subarray(rng.below(100)), before.subarray(0, rng.below(3000))]);
    files.set(path, bytes);
    parts.push(file(path, bytes));
    if (rng.oneIn(4)) {
      parts.push(header({ name: `usr/link${rng.below(5)}`, type: "1", link: path }));
    }
  }
  return Buffer.concat([...parts, END]);
}

testWith({
  name: "createDelta makes what cfsctl applies",
  needs: [needTool("cfsctl")],
  async fn(t) {
    using dir = new TempDir();
    const rng = new Rng(seed());
    const repo = dir.join("repository");
    const cfsctl = (...args: string[]) => runOk([tool("cfsctl"), "--repo", repo, ...args]);
    await cfsctl("init", "--insecure", "--erofs-version", "2");
    const check = async (name: string, old: string, fresh: string) => {
      const out = dir.join(`${name}.delta`);
      const result = await create(old, fresh, { destination: `oci:${out}` });
      await cfsctl("oci", "pull", old, `${name}-old`);
      const { stdout } = await cfsctl("oci", "pull", `oci:${out}`, `${name}-new`);
      assert.match(stdout, new RegExp(`^manifest ${result.target}$`, "m"));
      return result;
    };
    for (const name of ["main", "gen-whdir", "gen-replaced_by_empty", "gen-parent_replaced"]) {
      await t.step(name, async () => {
        await check(
          name,
          `oci:${await fixtureLayout("delta", oldImage(name), dir)}`,
          `oci:${await fixtureLayout("delta", newImage(name), dir)}`,
        );
      });
    }
    await t.step("files below /run are left alone", async () => {
      const old = `oci:${await fixtureLayout("delta", "main-old", dir)}`;
      const fresh = `oci:${await fixtureLayout("delta", "run-new", dir)}`;
      await check("run", old, fresh);
    });
    await t.step("random images", async () => {
      for (let i = 0; i < 4; i++) {
        const files = new Map<string, Buffer>();
        const layers = [1, 2, 3, 4].map(() => randomChanges(rng, files));
        const old = makeImage(dir.join(`r${i}-old`), { layers: layers.slice(0, 2) });
        const kept = layers.slice(0, rng.below(3));
        const fresh = makeImage(dir.join(`r${i}-new`), {
          layers: [...kept, randomChanges(rng, files), ...layers.slice(2)],
        });
        const result = await check(`r${i}`, old, fresh);
        assert.ok(result.size <= result.layerSize);
      }
    });
  },
});

testWith({
  name: "createDelta goes from registry to registry",
  needs: [needTool("docker-registry")],
  async fn() {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    const access = { tlsVerify: false } as const;
    const at = (tag: string) => `docker://${registry.host}/os:${tag}`;
    using repository = newRepository(dir.join("repository"));
    const layouts: string[] = [];
    for (const name of ["main-old", "main-new"]) {
      layouts.push(`oci:${await fixtureLayout("delta", name, dir)}`);
      await pull(repository, layouts.at(-1)!, { name });
      await pushImage(repository, name, { destination: at(name), access });
    }
    const [old, fresh] = layouts;
    const result = await create(at("main-old"), at("main-new"), {
      destination: at("delta"),
      access,
    });
    const expected = await create(old!, fresh!, { destination: `oci:${dir.join("out")}` });
    // The pushed images are packed in another way, but hold the same.
    const blobs = ({ layers }: DeltaCreateResult) => layers.map((layer) => layer.blob.toString());
    assert.deepEqual(blobs(result), blobs(expected));
    const info = await readDeltaInfo(at("delta"), { ...access, platform: AMD64 });
    assert.ok(info.digest.equals(result.manifestDigest));
    assert.equal(info.size, result.size);
    using other = newRepository(dir.join("other"));
    await pull(other, old!, { name: "old" });
    const pulled = await pull(other, at("delta"), {
      name: "new",
      registry: access,
      delta: "require",
    });
    assert.ok(pulled.manifestDigest.equals(result.target));
  },
});

Deno.test("createDelta waits for no layer that is of no use any more", async () => {
  using dir = new TempDir();
  const maker = new LayoutMaker(dir.join("layout"));
  const image = maker.image({
    layers: [new Uint8Array(2048), new Uint8Array(300_000)],
    packing: "plain",
  });
  const fresh = maker.image({ layers: [new Uint8Array(1024)] });
  const [damaged, stalled] = readJson<JsonManifest>(maker, image).layers;
  await using server = new FaultServer((request) => {
    const { path } = request;
    const name = path.split("/").at(-1)!;
    if (path === "/v2/") return { status: 200, body: new Uint8Array(0) };
    const digest = name.startsWith("sha256:") ? name : image.digest;
    const reply = plainReply(request, Deno.readFileSync(maker.blobPath(digest)));
    if (path.includes("/manifests/")) {
      return { ...reply, headers: { ...reply.headers, "content-type": TYPE.manifest } };
    }
    if (digest === stalled!.digest) return { ...reply, halt: 1000 };
    if (digest === damaged!.digest) return { ...reply, body: new Uint8Array(2048).fill(1, 2047) };
    return reply;
  });
  const started = performance.now();
  await assert.rejects(
    create(`docker://${server.host}/x:old`, maker.index([fresh]), {
      destination: `oci:${dir.join("delta")}`,
      access: {
        tlsVerify: false,
        surroundings: { variable: () => undefined, uid: 0, root: "/nonexistent" },
        http: { retries: 0, backoff: 1 },
      },
    }),
    (error) => {
      assert.match(chain(error), /digest mismatch/);
      return true;
    },
  );
  const seconds = (performance.now() - started) / 1000;
  assert.ok(seconds < 30, `it took ${seconds} s`);
});
