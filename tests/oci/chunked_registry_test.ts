import assert from "node:assert/strict";
import type { PullOptions, PullResult } from "../../lib/oci/mod.ts";
import { pullImage } from "../../lib/oci/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import { expected, FIXTURES } from "../chunked/_chunked.ts";
import { type Fault, FaultProxy } from "../helpers/fault_proxy.ts";
import type { FaultRequest } from "../helpers/fault_server.ts";
import { loadNative } from "../helpers/native.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TestRegistry } from "../helpers/registry.ts";
import { unpack } from "../helpers/tar.ts";
import { TempDir } from "../helpers/temp.ts";
import { AMD64, newRepository } from "./_oci.ts";

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

function pull(
  repository: Repository,
  image: string,
  options: PullOptions = {},
): Promise<PullResult> {
  return pullImage(repository, `docker://${image}`, {
    platform: AMD64,
    name: "t",
    jobs: 2,
    registry: {
      surroundings: NOWHERE,
      credentials: "none",
      tlsVerify: false,
      http: { backoff: 1 },
    },
    ...options,
  });
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
