import assert from "node:assert/strict";
import type { ProgressEvent } from "../../lib/base/mod.ts";
import { DELTA_TYPE } from "../../lib/delta/mod.ts";
import { checkImages, planPull, type PullOptions, type PullResult } from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { FaultProxy } from "../helpers/fault_proxy.ts";
import { content, header } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TestRegistry } from "../helpers/registry.ts";
import { TempDir } from "../helpers/temp.ts";
import { operations, readJson, tarDiff, writeDelta } from "./_delta_layout.ts";
import {
  chain,
  type JsonDescriptor,
  LayoutMaker,
  names,
  newRepository,
  pull as pullHere,
  TYPE,
} from "./_oci.ts";

loadNative();

const NEEDS = [needTool("docker-registry")];

/** Nothing of this machine's settings, no patience. */
const REGISTRY = {
  tlsVerify: false,
  surroundings: { variable: () => undefined, uid: 0, root: "/nonexistent" },
  http: { retries: 0, backoff: 1 },
} as const;

const LAYERS = 5;
const SIZE = 300_000;
const END = new Uint8Array(1024);

interface ManifestJson {
  config: JsonDescriptor;
  layers: JsonDescriptor[];
}

/** Puts blobs and manifests into a registry, as they are in a layout. */
class Uploader {
  readonly #base: string;
  readonly #maker: LayoutMaker;

  constructor(host: string, maker: LayoutMaker, name = "x") {
    this.#base = `http://${host}/v2/${name}`;
    this.#maker = maker;
  }

  async blob({ digest }: { digest: string }): Promise<void> {
    const begun = await fetch(`${this.#base}/blobs/uploads/`, { method: "POST" });
    await begun.body?.cancel();
    const location = new URL(begun.headers.get("location")!, this.#base);
    location.searchParams.set("digest", digest);
    const body = Deno.readFileSync(this.#maker.blobPath(digest));
    const put = await fetch(location, { method: "PUT", body });
    assert.equal(put.status, 201, await put.text());
  }

  async manifest({ digest }: { digest: string }, tag = digest): Promise<void> {
    const { layers, config } = readJson<ManifestJson>(this.#maker, { digest });
    for (const each of [config, ...layers]) await this.blob(each);
    await this.put(Deno.readFileSync(this.#maker.blobPath(digest)), { tag, type: TYPE.manifest });
  }

  async put(body: Uint8Array<ArrayBuffer>, to: { tag: string; type: string }): Promise<void> {
    const put = await fetch(`${this.#base}/manifests/${to.tag}`, {
      method: "PUT",
      headers: { "content-type": to.type },
      body,
    });
    assert.equal(put.status, 201, await put.text());
  }

  /** Makes deltas known to their target, in the way of registries that know no referrers. */
  async referrers(target: JsonDescriptor, deltas: readonly JsonDescriptor[]): Promise<void> {
    const manifests = deltas.map((delta) => ({ ...delta, artifactType: DELTA_TYPE }));
    const index = { schemaVersion: 2, mediaType: TYPE.index, manifests };
    const bytes = new TextEncoder().encode(JSON.stringify(index));
    await this.put(bytes, { tag: target.digest.replace(":", "-"), type: TYPE.index });
  }
}

/** Two images in a registry; in each layer of the new one is a file of the old one. */
class Images {
  readonly maker: LayoutMaker;
  readonly old: JsonDescriptor;
  readonly fresh: JsonDescriptor;
  readonly patches: Uint8Array[];

  constructor(path: string) {
    this.maker = new LayoutMaker(path);
    const rng = new Rng(seed());
    const files = Array.from(
      { length: LAYERS },
      () => Uint8Array.from({ length: SIZE }, () => rng.next()),
    );
    const layer = (dir: string, name: string, data: Uint8Array) =>
      Buffer.concat([
        header({ name: `${dir}/`, type: "5", mode: 0o755 }),
        header({ name: `${dir}/${name}`, size: data.length }),
        content(data),
        END,
      ]);
    this.old = this.maker.image({ layers: files.map((data, i) => layer("usr", `o${i}`, data)) });
    const fresh = files.map((data, i) => layer("usr", `n${i}`, data));
    this.fresh = this.maker.image({ layers: fresh });
    const at = fresh[0]!.length - END.length - files[0]!.length - (512 - SIZE % 512) % 512;
    this.patches = fresh.map((tar, i) =>
      tarDiff(operations(tar.subarray(0, at), `usr/o${i}`, SIZE, tar.subarray(at + SIZE)))
    );
  }

  /** Writes a delta; its tar-diffs may be other ones. */
  delta(patches: readonly (Uint8Array | undefined)[] = this.patches): JsonDescriptor {
    return writeDelta(this.maker, { old: this.old, fresh: this.fresh, layers: patches });
  }
}

/** Pulls from a registry; tells the result, warnings, and the bytes of the blobs that were sent. */
async function pull(
  repository: Repository,
  reference: string,
  options: PullOptions = {},
): Promise<{ result: PullResult; warnings: string[] }> {
  const warnings: string[] = [];
  const progress = (event: ProgressEvent) => {
    if (event.type === "warning") warnings.push(event.text);
  };
  const result = await pullHere(repository, reference, {
    registry: REGISTRY,
    progress,
    ...options,
  });
  return { result, warnings };
}

/** Blobs of a size worth mentioning that were asked for. */
function fetched(proxy: FaultProxy, descriptors: readonly JsonDescriptor[]): number {
  const asked = proxy.requests.map(({ path }) => path);
  return descriptors.filter(({ digest }) => asked.some((path) => path.endsWith(digest))).length;
}

/** Files of downloads that there are. */
function downloads(repository: Repository): number {
  try {
    return [...Deno.readDirSync(`${repository.path}/downloads`)].length;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

testWith({
  name: "deltas in a registry are found, applied, and done without where they are of no use",
  needs: NEEDS,
  async fn(t) {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    const images = new Images(dir.join("layout"));
    const { maker, old, fresh } = images;
    const uploader = new Uploader(registry.host, maker);
    const good = images.delta();
    const broken = images.delta([...images.patches.slice(0, -1), tarDiff(operations("usr/o0", 9))]);
    const partial = images.delta([...images.patches.slice(0, 2), undefined, undefined, undefined]);
    const layers = readJson<ManifestJson>(maker, fresh).layers;
    await uploader.manifest(old, "old");
    await uploader.manifest(fresh, "new");
    for (
      const [delta, tag] of [[good, "delta"], [broken, "broken"], [partial, "partial"]] as const
    ) {
      await uploader.manifest(delta, tag);
    }
    const expected = newRepository(dir.join("expected"));
    await pull(expected, `docker://${registry.host}/x:old`, { name: "old" });
    await pull(expected, `docker://${registry.host}/x:new`, { name: "new", delta: "off" });
    const cases: {
      name: string;
      deltas: JsonDescriptor[];
      tag?: string;
      base?: boolean;
      mode?: "auto" | "off" | "require";
      /** Whole layers that are fetched. */
      whole: number;
      /** The delta that plan and pull say they found. */
      found?: JsonDescriptor;
      warns?: RegExp;
      fault?: RegExp;
    }[] = [
      { name: "a good one", found: good, deltas: [good], whole: 0 },
      {
        name: "a good one that is required",
        found: good,
        deltas: [good],
        mode: "require",
        whole: 0,
      },
      { name: "the best one", found: good, deltas: [partial, good], whole: 0 },
      { name: "one for some layers", found: partial, deltas: [partial], whole: 3 },
      { name: "a good one that is not wanted", deltas: [good], mode: "off", whole: LAYERS },
      { name: "none", deltas: [], whole: LAYERS },
      {
        name: "none where one is required",
        deltas: [],
        mode: "require",
        whole: 0,
        fault: /: No delta found that makes sha256:\w+ from an image of the repository$/,
      },
      { name: "one from an image that is not there", deltas: [good], base: false, whole: LAYERS },
      {
        name: "a broken one",
        found: broken,
        deltas: [broken],
        whole: 1,
        warns: /^Reconstructing layer \S+ failed \(.*\); taking the whole layer$/,
      },
      {
        name: "a broken one that is required",
        found: broken,
        deltas: [broken],
        mode: "require",
        whole: 0,
        fault: /: Reconstructing layer \S+: /,
      },
      { name: "by its own name", deltas: [], tag: "delta", whole: 0 },
      { name: "by its own name, with deltas off", deltas: [], tag: "delta", mode: "off", whole: 0 },
      {
        name: "by its own name, but the old image is not there",
        deltas: [],
        tag: "delta",
        base: false,
        whole: LAYERS,
        warns: /^The delta is based on an image .*; taking the whole layers$/,
      },
      {
        name: "by its own name, but the old image is not there and it is required",
        deltas: [],
        tag: "delta",
        base: false,
        mode: "require",
        whole: 0,
        fault: /: The delta is based on an image with config sha256:\w+, but it is not present/,
      },
      {
        name: "a broken one by its own name",
        deltas: [],
        tag: "broken",
        whole: 1,
        warns: /^Reconstructing layer \S+ failed \(.*\); taking the whole layer$/,
      },
    ];
    for (const [i, row] of cases.entries()) {
      await t.step(row.name, async () => {
        await uploader.referrers(fresh, row.deltas);
        using repository = newRepository(dir.join(`repo${i}`));
        if (row.base !== false) {
          await pull(repository, `docker://${registry.host}/x:old`, { name: "old" });
        }
        const before = names(repository);
        await using proxy = new FaultProxy(registry.host, () => undefined);
        const reference = `docker://${proxy.host}/x:${row.tag ?? "new"}`;
        const options: PullOptions = {
          name: "new",
          jobs: 2,
          ...(row.mode === undefined ? {} : { delta: row.mode }),
        };
        const plan = () => planPull(repository, reference, { ...options, registry: REGISTRY });
        if (row.tag !== undefined && row.base === false) {
          if (row.fault === undefined) assert.equal((await plan()).way, "full");
          else await assert.rejects(plan, { message: /^The delta is based on an image/ });
        } else if (row.tag === undefined) {
          if (row.mode === "require" && row.found === undefined) {
            await assert.rejects(plan, { name: "NotFoundError", message: /^No delta found that/ });
          } else {
            const { delta, layers: planned } = await plan();
            assert.equal(delta?.digest.toString(), row.found?.digest);
            assert.equal(planned.some((layer) => layer.delta !== undefined), delta !== undefined);
          }
        }
        if (row.fault !== undefined) {
          const { fault } = row;
          await assert.rejects(pull(repository, reference, options), (error) => {
            assert.match(chain(error), fault);
            return true;
          });
          // Layers that were right may have a name already; nothing leads to an image.
          const kept = names(repository).filter((line) => !before.includes(line));
          assert.ok(kept.every((line) => line.includes("/oci-layer-")), kept.join("\n"));
        } else {
          const { result, warnings } = await pull(repository, reference, options);
          assert.equal(result.manifestDigest.toString(), fresh.digest);
          assert.equal(result.delta?.toString(), row.found?.digest);
          if (row.warns === undefined) assert.deepEqual(warnings, []);
          else for (const text of warnings) assert.match(text, row.warns);
          assert.equal(warnings.length > 0, row.warns !== undefined);
          assert.deepEqual((await checkImages(repository, { deep: true })).errors, []);
          if (row.base !== false) assert.deepEqual(names(repository), names(expected));
        }
        assert.equal(fetched(proxy, layers), row.whole);
        // What was on its way when another layer failed can be gone on with.
        assert.ok(downloads(repository) <= (row.fault === undefined ? 0 : 2));
      });
    }
    expected[Symbol.dispose]();
  },
});

testWith({
  name: "a registry that has a delta and not its layers tells why the delta is of no use",
  needs: NEEDS,
  async fn(t) {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    const images = new Images(dir.join("layout"));
    await new Uploader(registry.host, images.maker).manifest(images.old, "old");
    const alone = new Uploader(registry.host, images.maker, "alone");
    const broken = images.delta([...images.patches.slice(0, -1), tarDiff(operations("usr/o0", 9))]);
    await alone.manifest(images.delta(), "good");
    await alone.manifest(broken, "broken");
    const cases: [string, boolean, RegExp][] = [
      ["good", false, /: The delta is based on an image with config sha256:\w+, but it is not /],
      ["broken", true, /: Reconstructing layer sha256:\w+: unexpected EOF in tar stream$/],
    ];
    for (const [tag, base, fault] of cases) {
      await t.step(tag, async () => {
        using repository = newRepository(dir.join(tag));
        if (base) await pull(repository, `docker://${registry.host}/x:old`, { name: "old" });
        const reference = `docker://${registry.host}/alone:${tag}`;
        await assert.rejects(pull(repository, reference, { name: "new" }), (error) => {
          assert.match(chain(error), fault);
          return true;
        });
      });
    }
  },
});

testWith({
  name: "at most two blobs of a delta are on disk at a time",
  needs: NEEDS,
  async fn() {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    const images = new Images(dir.join("layout"));
    const uploader = new Uploader(registry.host, images.maker);
    // Patches that are mostly literal, so that they take their time.
    await uploader.manifest(images.old, "old");
    await uploader.manifest(images.delta(), "delta");
    for (const jobs of [1, 2, 4]) {
      using repository = newRepository(dir.join(`repo${jobs}`));
      await pull(repository, `docker://${registry.host}/x:old`, { name: "old" });
      let most = 0;
      await using proxy = new FaultProxy(registry.host, ({ path }) => {
        most = Math.max(most, downloads(repository));
        return path.includes("/blobs/") ? { delay: 30 } : undefined;
      });
      await pull(repository, `docker://${proxy.host}/x:delta`, { name: "new", jobs });
      assert.ok(most >= 1 && most <= Math.min(jobs, 2), `${most} with ${jobs} jobs`);
    }
  },
});

Deno.test("deltas in a layout are found when one is required", async () => {
  using dir = new TempDir();
  const images = new Images(dir.join("layout"));
  const { maker, old, fresh } = images;
  const tagged = (descriptor: JsonDescriptor, tag: string) => ({
    ...descriptor,
    annotations: { "org.opencontainers.image.ref.name": tag },
  });
  const source = maker.index([tagged(old, "old"), tagged(fresh, "new"), images.delta()]);
  for (const { digest } of readJson<ManifestJson>(maker, fresh).layers) {
    using repository = newRepository(dir.join(digest.slice(-8)));
    await pullHere(repository, `${source}:old`, { name: "old" });
    // The whole layers are not needed.
    Deno.renameSync(maker.blobPath(digest), dir.join("kept"));
    const { manifestDigest } = await pullHere(repository, `${source}:new`, { delta: "require" });
    assert.equal(manifestDigest.toString(), fresh.digest);
    Deno.renameSync(dir.join("kept"), maker.blobPath(digest));
  }
});

testWith({
  name: "damage that is known is healed by whole layers, not by deltas, unless these are required",
  needs: NEEDS,
  async fn() {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    const images = new Images(dir.join("layout"));
    const { maker, old, fresh } = images;
    const uploader = new Uploader(registry.host, maker);
    const delta = images.delta();
    await uploader.manifest(old, "old");
    await uploader.manifest(fresh, "new");
    await uploader.manifest(delta, "delta");
    await uploader.referrers(fresh, [delta]);
    const layers = readJson<ManifestJson>(maker, fresh).layers;
    const reference = `docker://${registry.host}/x:new`;
    using repository = newRepository(dir.join("repo"));
    /** Pulls once more; tells how many of the target's own layers were fetched, too. */
    const counted = async (tag: string, options: PullOptions = {}) => {
      await using proxy = new FaultProxy(registry.host, () => undefined);
      const reference = `docker://${proxy.host}/x:${tag}`;
      const pulled = await pull(repository, reference, { name: "new", ...options });
      return { ...pulled, whole: fetched(proxy, layers) };
    };
    await pull(repository, `docker://${registry.host}/x:old`, { name: "old" });
    const first = await pull(repository, reference, { name: "new" });
    assert.equal(first.result.delta?.toString(), delta.digest);
    const [layer] = readJson<{ rootfs: { diff_ids: string[] } }>(
      maker,
      readJson<ManifestJson>(maker, fresh).config,
    ).rootfs.diff_ids;
    const [id] = repository.openStream(`oci-layer-${layer}`).objectRefs;
    const path = `${repository.path}/objects/${id!.slice(0, 2)}/${id!.slice(2)}`;
    const bytes = Deno.readFileSync(path);
    const damage = async () => {
      Deno.writeFileSync(path, bytes.map((byte, i) => i === 1000 ? byte ^ 1 : byte));
      await repository.fsck({ jobs: 1 });
    };
    const known = () => [...repository.knownDamage()?.ids ?? []];

    await damage();
    const options = { platform: { os: "linux", architecture: "amd64" }, registry: REGISTRY };
    const plan = await planPull(repository, reference, options);
    assert.deepEqual([plan.way, plan.full?.blobs, plan.delta], ["full", 1, undefined]);
    const healed = await counted("new");
    assert.equal(healed.result.delta, undefined);
    assert.match(healed.warnings.join("\n"), /1 object of the image found damaged; layers with/);
    assert.equal(healed.whole, 1);
    assert.deepEqual(known(), []);
    assert.deepEqual(Deno.readFileSync(path), bytes);

    // The delta by its own name has the target's layers beside it.
    await damage();
    assert.equal((await counted("delta")).whole, 1);
    assert.deepEqual(Deno.readFileSync(path), bytes);
    assert.deepEqual(known(), []);

    await damage();
    const required = await counted("new", { delta: "require" });
    assert.match(required.warnings.join("\n"), /which a delta cannot heal/);
    assert.equal(required.whole, 0);
    assert.deepEqual(known(), [id]);
    const again = await planPull(repository, reference, { ...options, delta: "require" });
    assert.deepEqual([again.way, again.complete], ["none", true]);
  },
});
