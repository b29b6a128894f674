import assert from "node:assert/strict";
import { preadFull } from "../../ffi/mod.ts";
import {
  ComposefsError,
  type HashName,
  nodeHash,
  type ObjectId,
  objectPath,
  type ProgressEvent,
} from "../../lib/base/mod.ts";
import { ContentIndexBuilder } from "../../lib/chunked/mod.ts";
import type { Blob } from "../../lib/transport/blob.ts";
import type { Descriptor } from "../../lib/transport/documents.ts";
import type { ByteRange, ImageSource, RangeSink } from "../../lib/transport/source.ts";
import { importImage } from "../../lib/oci/image_import.ts";
import { type LayerReport, partialLayers, type PartialMode } from "../../lib/oci/chunked_supply.ts";
import { wholeBlobs } from "../../lib/oci/layer_supply.ts";
import { openSource } from "../../lib/transport/open_source.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { pullImage } from "../../lib/oci/pull.ts";
import {
  type Expected,
  expected,
  FIXTURES,
  NEW,
  OLD,
  openFixture,
  sha256,
} from "../chunked/_chunked.ts";
import { chunkedLayer } from "../helpers/chunked_layer.ts";
import { loadNative } from "../helpers/native.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { tool } from "../helpers/tool.ts";
import { unpack } from "../helpers/tar.ts";
import { TempDir } from "../helpers/temp.ts";
import { AMD64, chain, LayoutMaker, listing, names, newRepository, TYPE } from "./_oci.ts";

loadNative();

/** Unpacks a fixture's layout; returns its reference. */
async function layout(name: string, dir: TempDir): Promise<string> {
  const path = dir.join(name);
  Deno.mkdirSync(path, { recursive: true });
  await unpack(`${FIXTURES}${name}.tar`, path);
  return `oci:${path}`;
}

interface Pulled {
  reports: LayerReport[];
  warnings: string[];
}

/** Imports an image with its layers in parts. */
async function pull(
  repository: Repository,
  reference: string,
  options: {
    mode?: PartialMode;
    tag?: string;
    jobs?: number;
    source?: ImageSource;
    signal?: AbortSignal;
  } = {},
): Promise<Pulled> {
  const reports: LayerReport[] = [];
  const warnings: string[] = [];
  const progress = (event: ProgressEvent) => {
    if (event.type === "warning") warnings.push(event.text);
  };
  await using opened = options.source ? undefined : await openSource(reference, { repository });
  const source = options.source ?? opened!;
  const selected = await source.resolve({ platform: AMD64 });
  const configBytes = await source.document(selected.manifest.config, "config");
  const supply = partialLayers(source, wholeBlobs(source), {
    mode: options.mode ?? "require",
    repository,
    progress,
    report: (report) => reports.push(report),
  });
  await importImage(repository, { selected, configBytes }, {
    tag: options.tag ?? "t",
    supply,
    progress,
    jobs: options.jobs ?? 2,
    remote: source.remote,
    signal: options.signal,
  });
  return { reports, warnings };
}

/** What the repository has for a fixture's layer must be what a full pull by the reference gives. */
function assertLayer(repository: Repository, facts: Expected): void {
  assert.equal(
    repository.streamObject(`oci-layer-${facts.diffIdInConfig}`),
    facts.layerSplitstreamObject,
  );
  for (const id of facts.contentObjects!) {
    const hex = id.replace("/", "");
    assert.ok(repository.objects.size(hex as never) !== undefined, id);
  }
}

const hash: HashName = "sha512";

/** Open files that have no name any more, which a pull must not leave behind. */
function openFiles(): string[] {
  return [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return ""; // the one that listed the directory
      throw error;
    }
  }).filter((path) => path.endsWith("(deleted)"));
}

Deno.test("Layers in parts come to what a full pull comes to", async (t) => {
  using dir = new TempDir();
  for (const name of NEW) {
    await t.step(name, async () => {
      using repository = newRepository(dir.join(`r-${name}`), { hash });
      const { reports, warnings } = await pull(repository, await layout(name, dir));
      assertLayer(repository, expected(name));
      assert.deepEqual(warnings, []);
      assert.equal(reports.length, 1);
      assert.equal(reports[0]!.partial.used, true);
      assert.equal((await repository.fsck()).ok, true);
    });
  }
});

interface Update {
  bytesExact: number;
  tocRange: [number, number];
  tarSplitRange: [number, number];
}

Deno.test("An update takes what is there from the layers before it", async (t) => {
  const facts: Update = JSON.parse(Deno.readTextFileSync(`${FIXTURES}update-ranges.json`));
  using dir = new TempDir();
  const [v1, v2] = [await layout("update-v1-new", dir), await layout("update-v2-new", dir)];
  const tables = facts.tarSplitRange[1] - facts.tocRange[0];
  await t.step("with the index that pulling in parts left", async () => {
    using repository = newRepository(dir.join("indexed"), { hash });
    await pull(repository, v1);
    const { reports: [report] } = await pull(repository, v2);
    assert.ok(report!.partial.used);
    assert.equal(report!.partial.fetchedBytes, facts.bytesExact + tables);
    assertLayer(repository, expected("update-v2-new"));
  });
  await t.step("without one, by looking at what has the right size", async () => {
    using repository = newRepository(dir.join("plain"), { hash });
    await pull(repository, v1, { mode: "never" });
    assert.throws(() => Deno.statSync(`${repository.path}/cfs-index`), Deno.errors.NotFound);
    const { reports: [report] } = await pull(repository, v2);
    assert.ok(report!.partial.used && report!.partial.reusedBytes > 0);
    // Large files are cut again to find what has not changed in them; smaller ones are not.
    assert.ok(report!.partial.fetchedBytes <= facts.bytesExact + tables + 2000);
    assertLayer(repository, expected("update-v2-new"));
  });
});

/** A local source that looks like one over a network, and may be a bad one. */
class Remote implements ImageSource {
  readonly remote = true;
  /** Bytes of ranges that were given. */
  given = 0;
  /** Blobs that were opened from the outside. */
  opened = 0;
  /** Whether nobody gave up what did not come. */
  abandoned = false;
  /** Bytes of each blob that an interrupted pull is said to have left. */
  left = 0;
  readonly #source: ImageSource;
  readonly #fault: Fault | undefined;

  constructor(source: ImageSource, fault?: Fault) {
    this.#source = source;
    this.#fault = fault;
  }

  get name(): string {
    return this.#source.name;
  }

  get transport(): ImageSource["transport"] {
    return this.#source.transport;
  }

  resolve(options: Parameters<ImageSource["resolve"]>[0]): ReturnType<ImageSource["resolve"]> {
    return this.#source.resolve(options);
  }

  document(descriptor: Descriptor, what: string): Promise<Uint8Array<ArrayBuffer>> {
    return this.#source.document(descriptor, what);
  }

  held(): number {
    return this.left;
  }

  blob(descriptor: Descriptor): Promise<Blob> {
    this.opened++;
    return this.#source.blob(descriptor);
  }

  async ranges(
    descriptor: Descriptor,
    ranges: readonly ByteRange[],
    options: { sink: RangeSink; signal?: AbortSignal | undefined },
  ): Promise<boolean> {
    const fault = this.#fault;
    // The tables come first: what is to be tested is mostly behind them.
    const late = this.given > 0;
    if (fault === "whole" || (fault === "whole later" && late)) return false;
    using blob = await this.#source.blob(descriptor);
    for (const [i, range] of ranges.entries()) {
      if (late && fault === "breaks") throw new ComposefsError("CFS_FAILED", "connection lost");
      if (late && fault === "short" && i === ranges.length - 1) break;
      const bytes = new Uint8Array(new ArrayBuffer(range.size + 4096), 0, range.size);
      assert.equal(preadFull(blob.fd, bytes, blob.offset + range.offset), range.size);
      if (late && fault === "damaged") bytes[range.size >> 1]! ^= 1;
      if (late && fault === "stalls" && i > 0) {
        this.abandoned ||= !await givenUp(options.signal!);
        throw new ComposefsError("CFS_FAILED", "given up");
      }
      if (late && fault === "stalls") bytes[4]! ^= 0xff;
      this.given += range.size;
      for (let at = 0; at < range.size; at += 1000) {
        options.sink(range, bytes.subarray(at, at + 1000));
        await null;
      }
    }
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]();
  }
}

type Fault = "whole" | "whole later" | "breaks" | "short" | "damaged" | "stalls";

/** Waits until somebody gives up, but not for ever; false when nobody did. */
async function givenUp(signal: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), 10_000);
  signal.addEventListener("abort", () => resolve(true), { once: true });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

Deno.test("Sources that fail cost a warning and the whole blob", async (t) => {
  using dir = new TempDir();
  const [v1, v2] = [await layout("update-v1-new", dir), await layout("update-v2-new", dir)];
  const cases: { fault: Fault | undefined; used: boolean; warning?: RegExp; failure?: RegExp }[] = [
    { fault: undefined, used: true },
    { fault: "whole", used: false, failure: /required: the source gives only whole blobs/ },
    { fault: "whole later", used: false, warning: /only whole blobs/ },
    { fault: "breaks", used: false, warning: /connection lost/ },
    { fault: "short", used: false, warning: /Not all parts of the blob came/ },
    { fault: "damaged", used: false, warning: /mismatch|Restored data|frame/ },
    // The rest does not come, but what did come is no good anyway.
    { fault: "stalls", used: false, warning: /mismatch|Restored data|frame|zstd/ },
  ];
  for (const { fault, used, warning, failure } of cases) {
    await t.step(fault ?? "none", async () => {
      using repository = newRepository(dir.join(`f-${fault}`), { hash });
      await pull(repository, v1);
      await using source = new Remote(await openSource(v2, { repository }), fault);
      const files = openFiles();
      if (!used) {
        await assert.rejects(
          pull(repository, v2, { source, mode: "require", tag: "no" }),
          (error) => {
            assert.match(chain(error), failure ?? warning!);
            return true;
          },
        );
        assert.deepEqual(names(repository).filter((name) => name.includes("/no ")), []);
        source.given = 0;
      }
      const { reports: [report], warnings } = await pull(repository, v2, { source, mode: "auto" });
      assert.equal(source.abandoned, false);
      assert.equal(report!.partial.used, used);
      assert.equal(warnings.length, warning === undefined ? 0 : 1);
      if (warning !== undefined) assert.match(warnings[0]!, warning);
      assertLayer(repository, expected("update-v2-new"));
      assert.deepEqual(openFiles(), files);
    });
  }
});

interface Hostile {
  diffId: string;
  tags: Record<string, string>;
}

Deno.test("Hostile layers: never another content, never a failure that a full pull has not", async (t) => {
  const facts: Hostile = JSON.parse(Deno.readTextFileSync(`${FIXTURES}hostile.expected.json`));
  using dir = new TempDir();
  const hostile = await layout("hostile", dir);
  for (const [tag, wanted] of Object.entries(facts.tags)) {
    await t.step(tag, async () => {
      using repository = newRepository(dir.join(`h-${tag}`), { hash });
      await using source = new Remote(await openSource(`${hostile}:${tag}`, { repository }));
      const attempt = pull(repository, hostile, { source, mode: "auto" });
      if (wanted.startsWith("error")) {
        await assert.rejects(attempt, (error) => {
          assert.match(chain(error), /layer digest mismatch/);
          return true;
        });
        assert.deepEqual(names(repository), []);
        return;
      }
      const { reports: [report] } = await attempt;
      if (wanted === "partial pull succeeds") assert.equal(report!.partial.used, true);
      else if (!wanted.includes("partial pull")) assert.equal(report!.partial.used, false);
      // The same tar whatever the way, so the same modes and names.
      assert.equal(
        repository.streamObject(`oci-layer-${facts.diffId}`),
        expected("utf8names-new").layerSplitstreamObject,
      );
      assert.equal((await repository.fsck()).ok, true);
    });
  }
});

Deno.test("Zeros that a faulty encoder dropped are named, and put back on demand", async (t) => {
  using dir = new TempDir();
  for (const name of OLD) {
    await t.step(name, async () => {
      const facts = expected(name);
      const reference = await layout(name, dir);
      using repository = newRepository(dir.join(`r-${name}`), { hash });
      const options = { platform: AMD64, name: "t", jobs: 2 };
      await assert.rejects(pullImage(repository, reference, options), (error) => {
        assert.match(
          chain(error),
          /layer digest mismatch: expected sha256:\w+, got sha256:\w+ \(the blob lacks \d+ bytes of trailing zero padding: written by a faulty zstd:chunked encoder\)/,
        );
        assert.ok(chain(error).includes(`expected ${facts.diffIdInConfig}`));
        assert.ok(chain(error).includes(`got ${facts.sha256OfFullDecode}`));
        return true;
      });
      assert.deepEqual(names(repository), []);
      const warnings: string[] = [];
      const { layers } = await pullImage(repository, reference, {
        ...options,
        repairPadding: true,
        progress: (event) => event.type === "warning" && warnings.push(event.text),
      });
      assert.equal(warnings.length, 1);
      assert.match(warnings[0]!, /zero padding were put back/);
      assert.equal(layers[0]!.partial.used, false);
      const stream = repository.openStream(`oci-layer-${facts.diffIdInConfig}`);
      const content = repository.streamContent(stream);
      assert.equal(sha256(content), facts.diffIdInConfig);
    });
  }
});

Deno.test("What is there and damaged is found, told, and replaced", async () => {
  using dir = new TempDir();
  const [v1, v2] = [await layout("update-v1-new", dir), await layout("update-v2-new", dir)];
  using repository = newRepository(dir.join("r"), { hash });
  await pull(repository, v1);
  const facts = expected("update-v2-new");
  const shared = facts.contentObjects!.map((id) => id.replace("/", "") as ObjectId)
    .filter((id) => repository.objects.size(id) !== undefined);
  assert.ok(shared.length > 10);
  const victim = shared.find((id) => repository.objects.size(id)! < 1000)!;
  const path = `${repository.path}/objects/${objectPath(victim)}`;
  const bytes = Deno.readFileSync(path);
  bytes[1]! ^= 1;
  Deno.writeFileSync(path, bytes);
  // Nobody has written it down: what is known to be damaged is not even tried.
  assert.equal((await repository.fsck({ remember: false })).ok, false);
  await using source = new Remote(await openSource(v2, { repository }));
  const { reports: [report], warnings } = await pull(repository, v2, { source, mode: "auto" });
  assert.equal(report!.partial.used, false);
  assert.ok(
    warnings.some((text) => text.includes(`Object ${victim} is corrupt`)),
    `${warnings[0]}`,
  );
  assertLayer(repository, facts);
  assert.equal((await repository.fsck()).ok, true);
});

Deno.test("An index that lies costs a warning and the whole blob", async () => {
  using dir = new TempDir();
  const [v1, v2] = [await layout("update-v1-new", dir), await layout("update-v2-new", dir)];
  using repository = newRepository(dir.join("r"), { hash });
  await pull(repository, v1);
  const { toc } = openFixture("update-v2-new");
  const sizes = new Map<number, ObjectId>();
  for (const id of repository.objects.list()) sizes.set(repository.objects.size(id)!, id);
  const builder = new ContentIndexBuilder(64);
  let lies = 0;
  for (let content = 0; content < toc.sizes.length; content++) {
    const digest = toc.digests.slice(content * 32, content * 32 + 32);
    const object = sizes.get(300_000);
    assert.ok(object);
    // Every chunk of a file of several is said to be at the start of some object.
    for (let i = toc.firstChunk[content]!; i < toc.firstChunk[content + 1]!; i++) {
      const size = toc.chunkSizes[i]!;
      const chunk = toc.chunkDigests.slice(i * 32, i * 32 + 32);
      if (size > 64) lies++;
      builder.chunk(chunk, { object, offset: 0, size });
    }
    builder.small(digest, new Uint8Array(Math.min(64, toc.sizes[content]!)));
  }
  assert.ok(lies > 10);
  const path = `${repository.path}/cfs-index`;
  for (const { name } of Deno.readDirSync(path)) Deno.removeSync(`${path}/${name}`);
  const lying = `${path}/l-${"0".repeat(64)}.v1`;
  const other = new ContentIndexBuilder(64);
  other.small(new Uint8Array(32), new Uint8Array(1));
  const honest = `${path}/l-${"1".repeat(64)}.v1`;
  Deno.writeFileSync(honest, other.finish(nodeHash));
  Deno.writeFileSync(lying, builder.finish(nodeHash));
  await using source = new Remote(await openSource(v2, { repository }));
  const { reports: [report], warnings } = await pull(repository, v2, { source, mode: "auto" });
  assert.equal(report!.partial.used, false);
  assert.equal(warnings.length, 1);
  assertLayer(repository, expected("update-v2-new"));
  assert.equal((await repository.fsck()).ok, true);
  // Nobody is lied to a second time.
  assert.throws(() => Deno.statSync(lying), Deno.errors.NotFound);
  Deno.statSync(honest);
});

Deno.test("Pulls in parts can be given up at any time", async () => {
  using dir = new TempDir();
  const [v1, v2] = [await layout("update-v1-new", dir), await layout("update-v2-new", dir)];
  using repository = newRepository(dir.join("r"), { hash });
  await pull(repository, v1);
  const before = names(repository);
  const files = openFiles();
  const stop = new AbortController();
  const opened = await openSource(v2, { repository });
  await using source = new Remote(opened);
  // The second time, after the tables: the ranges never come.
  const give = source.ranges.bind(source);
  source.ranges = async (descriptor, ranges, options) => {
    if (source.given === 0) return await give(descriptor, ranges, options);
    setTimeout(() => stop.abort(), 50);
    return await new Promise((_, reject) =>
      stop.signal.addEventListener("abort", () => reject(stop.signal.reason))
    );
  };
  const started = performance.now();
  await assert.rejects(pull(repository, v2, { source, tag: "t2", signal: stop.signal }));
  assert.ok(performance.now() - started < 5000);
  assert.deepEqual(names(repository), before);
  assert.deepEqual(openFiles(), files);
});

Deno.test("Of two instances for a platform the one with zstd layers is pulled", async (t) => {
  using dir = new TempDir();
  const annotations = { "io.github.containers.compression.zstd": "true" };
  const empty = new Uint8Array(1024);
  const cases: { name: string; order: ("gzip" | "zstd")[]; marked: boolean; taken: number }[] = [
    { name: "gzip first", order: ["gzip", "zstd"], marked: true, taken: 1 },
    { name: "zstd first", order: ["zstd", "gzip"], marked: true, taken: 0 },
    { name: "none is marked", order: ["gzip", "zstd"], marked: false, taken: 0 },
  ];
  for (const { name, order, marked, taken } of cases) {
    await t.step(name, async () => {
      const maker = new LayoutMaker(dir.join(name));
      const entries = order.map((packing) => ({
        ...maker.image({ layers: [empty], packing }),
        platform: AMD64,
        ...(marked && packing === "zstd" ? { annotations } : {}),
      }));
      using repository = newRepository(dir.join(`r ${name}`));
      const { manifestDigest } = await pullImage(repository, maker.index(entries), {
        platform: AMD64,
        name: "t",
      });
      assert.equal(manifestDigest.toString(), entries[taken]!.digest);
    });
  }
});

testWith({
  name: "cfsctl takes repositories with layers in parts, and leaves their indexes alone",
  needs: [needTool("cfsctl")],
  async fn() {
    using dir = new TempDir();
    const path = dir.join("r");
    const reference = await layout("update-v2-new", dir);
    {
      using repository = newRepository(path, { hash });
      await pull(repository, await layout("update-v1-new", dir));
      await pull(repository, reference);
    }
    const before = listing(`${path}/cfs-index`);
    assert.equal(before.length, 2);
    const cfsctl = (...args: string[]) => runOk([tool("cfsctl"), "--repo", path, ...args]);
    assert.match((await cfsctl("fsck")).stdout, /^status: ok$/m);
    await cfsctl("gc");
    assert.deepEqual(listing(`${path}/cfs-index`), before);
    // For the reference there is nothing left to do.
    assert.match((await cfsctl("oci", "pull", `${reference}:t`, "again")).stdout, /\b0 new\b/);
  },
});

Deno.test("Whole blobs are fetched where parts save nothing, and once", async (t) => {
  using dir = new TempDir();
  const noise = crypto.getRandomValues(new Uint8Array(50_000));
  const { blob, annotations, tar } = chunkedLayer([{ name: "noise", data: noise }]);
  const image = (name: string, diffId: string) => {
    const maker = new LayoutMaker(dir.join(name));
    const layer = { ...maker.blob(blob, `${TYPE.layer}+zstd`), annotations };
    const rootfs = { type: "layers", diff_ids: [diffId] };
    const config = maker.json({ ...AMD64, rootfs }, TYPE.config);
    const manifest = { schemaVersion: 2, mediaType: TYPE.manifest, config, layers: [layer] };
    return maker.index([maker.json(manifest, TYPE.manifest)]);
  };
  const good = image("good", sha256([tar]));
  const bad = image("bad", sha256([blob]));
  await t.step("all of it is missing", async () => {
    using repository = newRepository(dir.join("r1"));
    await using source = new Remote(await openSource(good, { repository }));
    const { reports: [report], warnings } = await pull(repository, good, { source, mode: "auto" });
    assert.ok(!report!.partial.used);
    assert.match(report!.partial.reason, /would be fetched in the place of/);
    assert.deepEqual(warnings, []);
    assert.equal(source.opened, 1);
    // Its table was read all the same, and serves the next pull.
    assert.equal([...Deno.readDirSync(`${repository.path}/cfs-index`)].length, 1);
  });
  await t.step("a layer that is wrong is not fetched again", async () => {
    using repository = newRepository(dir.join("r2"));
    await using source = new Remote(await openSource(bad, { repository }));
    await assert.rejects(pull(repository, bad, { source, mode: "auto" }), (error) => {
      assert.match(chain(error), /layer digest mismatch/);
      return true;
    });
    assert.equal(source.opened, 1);
  });
  await t.step("most of it is there from an interrupted pull", async () => {
    const [v1, v2] = [await layout("update-v1-new", dir), await layout("update-v2-new", dir)];
    using repository = newRepository(dir.join("r3"), { hash });
    await pull(repository, v1);
    await using source = new Remote(await openSource(v2, { repository }));
    source.left = expected("update-v2-new").layer.size - 100;
    const { reports: [report] } = await pull(repository, v2, { source, mode: "auto" });
    assert.equal(report!.partial.used, false);
    assert.equal(source.opened, 1);
  });
});
