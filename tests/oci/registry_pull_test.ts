import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { ProgressEvent } from "../../lib/base/mod.ts";
import { openImageRef, planPull, type PullOptions } from "../../lib/oci/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";
import { makeImage as makeBigImage } from "../faults/_image.ts";
import { FaultProxy } from "../helpers/fault_proxy.ts";
import type { FaultRequest } from "../helpers/fault_server.ts";
import { content, END, header } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { PASSWORD, TestRegistry, USER } from "../helpers/registry.ts";
import { TempDir } from "../helpers/temp.ts";
import {
  chain,
  fixtureLayout,
  LayoutMaker,
  listing,
  names,
  newRepository,
  pull,
  sha256,
  TYPE,
} from "./_oci.ts";

loadNative();

const NEEDS = [needTool("docker-registry"), needTool("skopeo")];

/** Nothing of this machine's settings, no patience. */
const REGISTRY = {
  tlsVerify: false,
  surroundings: { variable: () => undefined, uid: 0, root: "/nonexistent" },
  http: { retries: 0, backoff: 1 },
} as const;

/** Options of a pull from a test's registry. */
function options(more: PullOptions = {}): PullOptions {
  return { registry: REGISTRY, ...more };
}

/** Blobs that interrupted pulls have left. */
function kept(repository: Repository): { name: string; size: number }[] {
  try {
    const dir = `${repository.path}/downloads`;
    return [...Deno.readDirSync(dir)].map(({ name }) => ({
      name,
      size: Deno.statSync(`${dir}/${name}`).size,
    }));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** A layer with one file. */
function tarOf(text: string): Uint8Array {
  return Buffer.concat([
    header({ name: "usr/", type: "5", mode: 0o755 }),
    header({ name: "usr/name", size: text.length }),
    content(text),
    END,
  ]);
}

function isBlob({ path }: FaultRequest): boolean {
  return path.includes("/blobs/");
}

testWith({
  name: "pullImage() makes the same of an image in a registry as of its layout",
  needs: NEEDS,
  async fn(t) {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    for (const [area, name] of [["basic", "basic"], ["sources", "zstd"], ["sources", "dup"]]) {
      await t.step(name!, async () => {
        const layout = await fixtureLayout(area!, name!, dir);
        await registry.push(`oci:${layout}`, `${name}:v1`, ["--preserve-digests"]);
        using local = newRepository(dir.join(`${name}.local`));
        using remote = newRepository(dir.join(`${name}.remote`));
        const expected = await pull(local, `oci:${layout}`);
        const reference = `docker://${registry.host}/${name}:v1`;
        const plan = await planPull(remote, reference, options());
        assert.equal(plan.way, "full");
        const result = await pull(remote, reference, options());
        assert.deepEqual(result.stats, expected.stats);
        assert.equal(result.image, expected.image);
        assert.ok(result.manifestDigest.equals(expected.manifestDigest));
        assert.deepEqual(names(remote), names(local));
        assert.deepEqual(listing(`${remote.path}/objects`), listing(`${local.path}/objects`));
        assert.deepEqual(kept(remote), []);
        const again = await planPull(remote, reference, options());
        assert.deepEqual([again.way, again.complete, again.full?.bytes], ["none", true, 0]);
        const twice = await pull(remote, `${reference}@${result.manifestDigest}`, options());
        assert.equal(twice.stats.objectsNew, 0);
      });
    }
  },
});

testWith({
  name: "pullImage() gets into registries that want a password, a token, or trust",
  needs: [...NEEDS, needTool("htpasswd"), needTool("openssl")],
  async fn(t) {
    using dir = new TempDir();
    const layout = await fixtureLayout("basic", "basic", dir);
    for (const auth of ["basic", "token"] as const) {
      await t.step(auth, async () => {
        await using registry = await TestRegistry.start({ auth, tls: auth === "basic" });
        await registry.push(`oci:${layout}`, "a/b:v1");
        const reference = `docker://${registry.host}/a/b:v1`;
        using repository = newRepository(dir.join(auth));
        const access = auth === "basic"
          ? { ...REGISTRY, tlsVerify: true, certDir: registry.caFile.replace(/\/[^/]*$/, "") }
          : REGISTRY;
        await assert.rejects(
          pull(repository, reference, { registry: { ...access, credentials: "none" } }),
          /Unable to pull container image/,
        );
        assert.deepEqual(names(repository), []);
        const credentials = { kind: "basic", user: USER, password: PASSWORD } as const;
        await pull(repository, reference, { registry: { ...access, credentials } });
        assert.equal(openImageRef(repository, "t").layerIds.length, 2);
      });
    }
  },
});

testWith({
  name: "pullImage() converts Docker's manifests, and takes them from indexes",
  needs: NEEDS,
  async fn() {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    const layout = await fixtureLayout("sources", "img", dir);
    await registry.push(`oci:${layout}`, "docker:v1", ["--format", "v2s2"]);
    using repository = newRepository(dir.join("repo"));
    const result = await pull(repository, `docker://${registry.host}/docker:v1`, options());
    assert.equal(
      result.manifestDigest.toString(),
      "sha256:56e4c6707fa74da1a7735a692766d622f94411e9312d188ce48356c290dbe770",
    );
    assert.equal(
      result.sourceDigest?.toString(),
      "sha256:234c58125751ed1188ff5d29496db356801fb3abc2e0ffe0e48dc7595cb03e84",
    );
    const maker = new LayoutMaker(dir.join("multi"));
    const images = ["amd64", "arm64"].map((architecture) => {
      const platform = { os: "linux", architecture };
      return { ...maker.image({ layers: [tarOf(architecture)], platform }), platform };
    });
    const list = maker.json(
      { schemaVersion: 2, mediaType: TYPE.index, manifests: images },
      TYPE.index,
    );
    await registry.push(maker.index([list]), "multi:v1", ["--all"]);
    for (const architecture of ["amd64", "arm64"]) {
      const platform = { os: "linux", architecture };
      const name = `multi-${architecture}`;
      const reference = `docker://${registry.host}/multi:v1`;
      await pull(repository, reference, options({ platform, name }));
      const image = openImageRef(repository, name);
      assert.equal(image.config?.architecture, architecture);
    }
  },
});

testWith({
  name: "pullImage() registers nothing when a registry serves other bytes, and keeps none of them",
  needs: NEEDS,
  async fn(t) {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    const layout = await fixtureLayout("basic", "basic", dir);
    await registry.push(`oci:${layout}`, "basic:v1");
    const cases: { name: string; of: (request: FaultRequest) => boolean; fails: RegExp }[] = [
      { name: "layers", of: (request) => isBlob(request), fails: /mismatch|zlib|gzip|header|tar/ },
      { name: "config", of: (r) => isBlob(r) && r.seen === 0, fails: /mismatch|gzip|tar/ },
      { name: "manifest", of: ({ path }) => path.includes("/manifests/"), fails: /mismatch/ },
    ];
    for (const { name, of, fails } of cases) {
      await t.step(name, async () => {
        using repository = newRepository(dir.join(name));
        await using proxy = new FaultProxy(registry.host, (r) => of(r) ? { spoil: true } : {});
        const reference = `docker://${proxy.host}/basic:v1`;
        await assert.rejects(pull(repository, reference, options()), (error) => {
          assert.match(chain(error), fails);
          return true;
        });
        assert.deepEqual(names(repository), []);
        assert.deepEqual(kept(repository), []);
        assert.ok((await repository.fsck()).ok);
        await pull(repository, `docker://${registry.host}/basic:v1`, options());
      });
    }
  },
});

testWith({
  name: "pullImage() goes on with what is there, unless it is something else",
  needs: NEEDS,
  async fn(t) {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    await registry.push(makeBigImage(dir, { name: "big", seed: 3 }), "big:v1");
    await using proxy = new FaultProxy(registry.host);
    const reference = `docker://${proxy.host}/big:v1`;
    using whole = newRepository(dir.join("whole"));
    const image = await pull(whole, reference, options());
    const largest = [...openImageRef(whole, "t").manifest.layers].sort((a, b) =>
      b.size - a.size
    )[0]!;
    const file = `sha256-${largest.digest.encoded}`;
    const blob = new Uint8Array(
      await (await fetch(`http://${registry.host}/v2/big/blobs/${largest.digest}`)).arrayBuffer(),
    );
    const spoilt = blob.slice();
    spoilt[1000]! ^= 1;
    const cases: { name: string; left: Uint8Array; fetched: number }[] = [
      { name: "all but a few bytes", left: blob.subarray(0, -10), fetched: 10 },
      { name: "all of it", left: blob, fetched: 0 },
      { name: "a damaged beginning", left: spoilt.subarray(0, -10), fetched: 10 + blob.length },
      { name: "more than all", left: new Uint8Array(blob.length + 1), fetched: blob.length },
    ];
    for (const { name, left, fetched } of cases) {
      await t.step(name, async () => {
        using repository = newRepository(dir.join(name));
        Deno.mkdirSync(`${repository.path}/downloads`);
        Deno.writeFileSync(`${repository.path}/downloads/${file}`, left);
        const plan = await planPull(repository, reference, options());
        const held = left.length <= blob.length ? left.length : 0;
        const all = plan.layers.reduce((sum, { size }) => sum + size, 0);
        assert.equal(plan.full?.bytes, all - held);
        const asked = proxy.requests.length;
        const result = await pull(repository, reference, options());
        assert.equal(result.image, image.image);
        const ranges = proxy.requests.slice(asked).filter(({ path }) =>
          path.endsWith(largest.digest.toString())
        ).map(({ headers }) => headers.get("range"));
        const from = (start: number) => `bytes=${start}-`;
        assert.deepEqual(
          ranges,
          fetched === 0
            ? []
            : fetched === 10
            ? [from(held)]
            : held > 0
            ? [from(held), null]
            : [null],
        );
        assert.deepEqual(kept(repository), []);
      });
    }
  },
});

testWith({
  name: "pullImage() says what an only manifest is for, and what there is no room for",
  needs: NEEDS,
  async fn() {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    const platform = { os: "linux", architecture: "s390x" };
    const maker = new LayoutMaker(dir.join("layout"));
    const image = maker.image({ layers: [tarOf("a")], platform });
    // skopeo would not take it from a layout.
    const upload = async (digest: string) => {
      const start = await fetch(`http://${registry.host}/v2/a/blobs/uploads/`, { method: "POST" });
      await start.body?.cancel();
      const url = new URL(start.headers.get("location")!, `http://${registry.host}`);
      url.searchParams.set("digest", digest);
      const body = Deno.readFileSync(maker.blobPath(digest));
      const put = await fetch(url, { method: "PUT", body });
      assert.equal(put.status, 201);
      await put.body?.cancel();
    };
    const manifest = JSON.parse(Deno.readTextFileSync(maker.blobPath(image.digest)));
    for (const { digest } of [manifest.config, ...manifest.layers]) await upload(digest);
    const put = async (tag: string, document: unknown) => {
      const done = await fetch(`http://${registry.host}/v2/a/manifests/${tag}`, {
        method: "PUT",
        headers: { "content-type": TYPE.manifest },
        body: JSON.stringify(document),
      });
      assert.equal(done.status, 201, await done.text());
    };
    await put("other", manifest);
    using repository = newRepository(dir.join("repo"));
    const reference = `docker://${registry.host}/a:other`;
    await assert.rejects(pull(repository, reference, options()), (error) => {
      assert.match(chain(error), /for platform linux\/amd64; available: linux\/s390x$/);
      return true;
    });
    assert.deepEqual(names(repository), []);
    await pull(repository, reference, options({ platform }));
    const [layer] = manifest.layers;
    await using proxy = new FaultProxy(registry.host, ({ path }) => {
      if (!path.includes("/manifests/")) return {};
      const huge = { ...manifest, layers: [{ ...layer, digest: sha256("?"), size: 2 ** 50 }] };
      return { status: 200, body: new TextEncoder().encode(JSON.stringify(huge)) };
    });
    using empty = newRepository(dir.join("empty"));
    const huge = pull(empty, `docker://${proxy.host}/a:huge`, options({ platform }));
    await assert.rejects(huge, (error) => {
      assert.match(chain(error), /No room to fetch 1125899906842624 bytes: \d+ bytes are free/);
      return true;
    });
    assert.deepEqual(kept(empty), []);
  },
});

testWith({
  name: "pulls of the same image at the same time do not disturb each other",
  needs: NEEDS,
  async fn() {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    await registry.push(makeBigImage(dir, { name: "big", seed: 4 }), "big:v1");
    const reference = `docker://${registry.host}/big:v1`;
    using _first = newRepository(dir.join("repo"));
    const pulls = await Promise.all(["a", "b", "c"].map(async (name) => {
      using repository = Repository.open(dir.join("repo"));
      return await pull(repository, reference, options({ name }));
    }));
    assert.equal(new Set(pulls.map(({ image }) => image)).size, 1);
    using repository = Repository.open(dir.join("repo"));
    assert.deepEqual(kept(repository), []);
    assert.ok((await repository.fsck()).ok);
  },
});

testWith({
  name: "pullImage() stops soon when asked, and keeps what has come",
  needs: NEEDS,
  async fn() {
    using dir = new TempDir();
    await using registry = await TestRegistry.start();
    await registry.push(makeBigImage(dir, { name: "big", seed: 5 }), "big:v1");
    const manifest = await fetch(`http://${registry.host}/v2/big/manifests/v1`, {
      headers: { accept: TYPE.manifest },
    });
    const { config } = await manifest.json();
    await using proxy = new FaultProxy(
      registry.host,
      (request) =>
        isBlob(request) && !request.path.endsWith(config.digest) ? { halt: 100_000 } : {},
    );
    using repository = newRepository(dir.join("repo"));
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const progress = (event: ProgressEvent) => {
      if (event.type !== "started") return;
      timer ??= setTimeout(() => stop.abort(new Error("enough")), 300);
    };
    const { signal } = stop;
    const started = performance.now();
    const pulled = pull(
      repository,
      `docker://${proxy.host}/big:v1`,
      options({ signal, progress }),
    );
    await assert.rejects(pulled, /enough/);
    assert.ok(performance.now() - started < 5000);
    assert.ok(kept(repository).some(({ size }) => size >= 50_000));
    const unlocked = repository.gc();
    assert.equal(unlocked.temporariesRemoved, 0);
    for (const { name } of kept(repository)) {
      Deno.utimeSync(`${repository.path}/downloads/${name}`, 0, 0);
    }
    const old = kept(repository).length;
    assert.equal(repository.gc({ dryRun: true }).temporariesRemoved, old);
    assert.equal(repository.gc().temporariesRemoved, old);
    assert.deepEqual(kept(repository), []);
  },
});
