import assert from "node:assert/strict";
import type { PullOptions, PullResult } from "../../lib/oci/mod.ts";
import { planPull, pruneContentIndexes, pullImage, untagImage } from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { expected, FIXTURES } from "../chunked/_chunked.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { chunkedLayer, type LayerFile } from "../helpers/chunked_layer.ts";
import { type Fault, FaultProxy } from "../helpers/fault_proxy.ts";
import type { FaultRequest } from "../helpers/fault_server.ts";
import { loadNative } from "../helpers/native.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TestRegistry } from "../helpers/registry.ts";
import { unpack } from "../helpers/tar.ts";
import { TempDir } from "../helpers/temp.ts";
import { AMD64, LayoutMaker, listing, newRepository, sha256, TYPE } from "./_oci.ts";

loadNative();

const NEEDS = [needTool("docker-registry"), needTool("skopeo")];
/** Nothing of this machine's configuration. */
const NOWHERE = { variable: () => undefined, uid: 0, root: "/nonexistent" };

/** Sends a fixture's layout to a registry as it is. */
async function push(registry: TestRegistry, name: string, dir: TempDir): Promise<void> {
  const path = dir.join(name);
  Deno.mkdirSync(path, { recursive: true });
  await unpack(`${FIXTURES}${name}.tar`, path);
  await registry.push(`oci:${path}:t`, `${name}:t`, ["--preserve-digests"]);
}

const OPTIONS = {
  platform: AMD64,
  name: "t",
  jobs: 2,
  registry: {
    surroundings: NOWHERE,
    credentials: "none" as const,
    tlsVerify: false,
    http: { backoff: 1 },
  },
};

function pull(
  repository: Repository,
  image: string,
  options: PullOptions = {},
): Promise<PullResult> {
  return pullImage(repository, `docker://${image}`, { ...OPTIONS, ...options });
}

/** What a request does with a blob's ranges. */
interface Case {
  fault: (request: FaultRequest) => Fault | undefined;
  used: boolean;
  warning?: RegExp;
}

const isBlob = (request: FaultRequest) => request.path.includes("/blobs/");
const ranged = (request: FaultRequest) => isBlob(request) && request.headers.has("range");

const CASES: Record<string, Case> = {
  "a good registry": { fault: () => undefined, used: true },
  "one that cuts each answer once": {
    fault: (request) => ranged(request) && request.seen === 0 ? { cut: 700 } : undefined,
    used: true,
  },
  "one that is busy": {
    fault: (request) => ranged(request) && request.seen < 2 ? { status: 503 } : undefined,
    used: true,
  },
  "one that sends clients elsewhere": {
    fault: (request) =>
      isBlob(request) && !request.headers.get("host")?.startsWith("localhost")
        ? { elsewhere: true }
        : undefined,
    used: true,
  },
  "one that takes one range at a time": {
    fault: (request) => request.headers.get("range")?.includes(",") ? { status: 400 } : undefined,
    used: true,
  },
};

testWith({
  name: "Updates from a registry fetch what is missing, whatever the network does",
  needs: NEEDS,
  async fn(t) {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    await push(registry, "update-v1-new", dir);
    await push(registry, "update-v2-new", dir);
    const { layer, diffIdInConfig, layerSplitstreamObject } = expected("update-v2-new");
    for (const [name, { fault, used }] of Object.entries(CASES)) {
      await t.step(name, async () => {
        using repository = newRepository(dir.join(name.replaceAll(" ", "-")), { hash: "sha512" });
        await pull(repository, `${registry.host}/update-v1-new:t`);
        await using proxy = new FaultProxy(registry.host, fault);
        const warnings: string[] = [];
        const { layers } = await pull(repository, `${proxy.host}/update-v2-new:t`, {
          progress: (event) => event.type === "warning" && warnings.push(event.text),
        });
        assert.deepEqual(warnings, []);
        assert.equal(
          repository.streamObject(`oci-layer-${diffIdInConfig}`),
          layerSplitstreamObject,
        );
        const [{ partial }] = layers as [typeof layers[0]];
        assert.equal(partial.used, used);
        if (!partial.used) return;
        assert.ok(partial.fetchedBytes < layer.size / 3);
        assert.ok(proxy.sent < layer.size / 2, `${proxy.sent} bytes were sent`);
      });
    }
  },
});

testWith({
  name: "A registry without ranges costs a full pull and no more",
  needs: NEEDS,
  async fn() {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    await push(registry, "update-v1-new", dir);
    await push(registry, "update-v2-new", dir);
    const { diffIdInConfig, layerSplitstreamObject } = expected("update-v2-new");
    using repository = newRepository(dir.join("r"), { hash: "sha512" });
    await pull(repository, `${registry.host}/update-v1-new:t`);
    await using proxy = new FaultProxy(
      registry.host,
      (request) => ranged(request) ? { ignoreRange: true } : undefined,
    );
    const image = `${proxy.host}/update-v2-new:t`;
    await pull(repository, image);
    assert.equal(repository.streamObject(`oci-layer-${diffIdInConfig}`), layerSplitstreamObject);
  },
});

/** Content that is like a program's: neither noise nor all the same. */
function someContent(rng: Rng, size: number): Uint8Array {
  const out = new Uint8Array(size);
  for (let i = 0; i < size; i++) {
    out[i] = i % 7 === 0 ? rng.next() : out[Math.max(0, i - 97)]! + i % 3;
  }
  return out;
}

/** Two versions of an image: of `count` files, each tenth differs. */
function versions(count: number): [LayerFile[], LayerFile[]] {
  const rng = new Rng(seed());
  const old: LayerFile[] = [{ name: "usr/" }];
  const next: LayerFile[] = [{ name: "usr/" }];
  for (let i = 0; i < count; i++) {
    const name = `usr/file${String(i).padStart(5, "0")}`;
    const data = someContent(rng, rng.pick([10, 64, 65, 900, 4096, 20_000, 60_000]));
    old.push({ name, data });
    next.push(i % 10 === 3 ? { name, data: someContent(rng, data.length + 5) } : { name, data });
  }
  return [old, next];
}

/** A layout with an image of one zstd:chunked layer. */
function chunkedImage(path: string, files: readonly LayerFile[]): { size: number; diffId: string } {
  const maker = new LayoutMaker(path);
  const { blob, annotations, tar } = chunkedLayer(files);
  const layer = { ...maker.blob(blob, `${TYPE.layer}+zstd`), annotations };
  const diffId = sha256(tar);
  const rootfs = { type: "layers", diff_ids: [diffId] };
  const config = maker.json({ ...AMD64, rootfs }, TYPE.config);
  const manifest = maker.json(
    { schemaVersion: 2, mediaType: TYPE.manifest, config, layers: [layer] },
    TYPE.manifest,
  );
  maker.index([manifest]);
  return { size: layer.size, diffId };
}

testWith({
  name: "An image that shares nine tenths of its files moves less than 15 % of its bytes",
  needs: NEEDS,
  async fn(t) {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    const [old, next] = versions(1000);
    chunkedImage(dir.join("old"), old);
    const { size, diffId } = chunkedImage(dir.join("next"), next);
    await registry.push(`oci:${dir.join("old")}`, "old:t", ["--preserve-digests"]);
    await registry.push(`oci:${dir.join("next")}`, "next:t", ["--preserve-digests"]);
    using whole = newRepository(dir.join("whole"));
    await pull(whole, `${registry.host}/next:t`, { partial: "never" });
    const ways = { "in parts": "auto", whole: "never" } as const;
    for (const [way, partial] of Object.entries(ways)) {
      await t.step(`when the old one was pulled ${way}`, async () => {
        using repository = newRepository(dir.join(`r-${partial}`));
        await pull(repository, `${registry.host}/old:t`, { partial });
        const names = listing(repository.path);
        const plan = await planPull(repository, `docker://${registry.host}/next:t`, OPTIONS);
        assert.equal(plan.way, "parts");
        assert.deepEqual(listing(repository.path), names);
        await using proxy = new FaultProxy(registry.host);
        const { layers } = await pull(repository, `${proxy.host}/next:t`);
        assert.ok(layers[0]!.partial.used, JSON.stringify(layers));
        assert.ok(proxy.sent < 0.15 * size, `${proxy.sent} of ${size} bytes were sent`);
        assert.ok(layers[0]!.partial.fetchedBytes < proxy.sent);
        assert.equal(layers[0]!.partial.fetchedBytes, plan.parts!.bytes);
        assert.equal(layers[0]!.partial.reusedBytes, plan.layers[0]!.parts!.reusedBytes);
        const stream = `oci-layer-${diffId}`;
        assert.equal(repository.streamObject(stream), whole.streamObject(stream));
        assert.equal((await repository.fsck()).ok, true);
        const indexes = () => [...Deno.readDirSync(`${repository.path}/cfs-index`)].length;
        assert.ok(indexes() > 0);
        untagImage(repository, "t");
        repository.gc();
        pruneContentIndexes(repository);
        assert.equal(indexes(), 0);
      });
    }
  },
});
