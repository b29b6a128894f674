import assert from "node:assert/strict";
import {
  parseDockerReference,
  RegistryClient,
  type RegistryClientOptions,
  RegistryError,
  type RemoteRepository,
  type UploadSource,
} from "../../lib/registry/mod.ts";
import { type Fault, FaultProxy } from "../helpers/fault_proxy.ts";
import type { FaultRequest } from "../helpers/fault_server.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { PASSWORD, TestRegistry, USER } from "../helpers/registry.ts";
import { tool } from "../helpers/tool.ts";
import {
  blobOf,
  Collector,
  makeImage,
  MANIFEST_TYPE,
  noise,
  type TestBlob,
  type TestImage,
} from "./_images.ts";

const needs = ["docker-registry", "htpasswd", "openssl"].map(needTool);
const NOWHERE = { variable: () => undefined, uid: 0, root: "/nonexistent" };

function clientFor(options: RegistryClientOptions = {}): RegistryClient {
  return new RegistryClient({
    tlsVerify: false,
    surroundings: NOWHERE,
    credentials: { kind: "basic", user: USER, password: PASSWORD },
    http: { backoff: 1 },
    ...options,
  });
}

function sourceOf(blob: TestBlob): UploadSource {
  return {
    read(offset, buffer) {
      // Never more than a piece at a time, as files may do.
      const part = blob.bytes.subarray(offset, offset + Math.min(buffer.length, 70_000));
      buffer.set(part);
      return part.length;
    },
  };
}

async function push(repository: RemoteRepository, image: TestImage, tag: string) {
  for (const blob of [image.config, ...image.layers]) {
    await repository.upload(blob, sourceOf(blob), { chunkSize: 100_000 });
  }
  const { bytes } = image.manifest;
  return await repository.putManifest({ bytes, mediaType: MANIFEST_TYPE }, tag);
}

testWith({
  name: "what is pushed to a real registry can be read there, by skopeo, too",
  needs: [...needs, needTool("skopeo")],
  async fn(t) {
    for (const auth of ["none", "basic", "token"] as const) {
      await t.step(auth, async () => {
        await using registry = await TestRegistry.start({ auth });
        const image = makeImage([1, 450_000]);
        using client = clientFor();
        const reference = parseDockerReference(`${registry.host}/a/b`);
        const repository = await client.target(reference);
        const stored = await push(repository, image, "one");
        assert.equal(stored.digest.toString(), image.manifest.digest.toString());
        const again = await repository.upload(image.layers[0]!, sourceOf(image.layers[0]!));
        assert.equal(again, "present");
        const { success, stdout, stderr } = await new Deno.Command(tool("skopeo"), {
          args: [
            ...["inspect", "--raw", "--tls-verify=false", `--creds=${USER}:${PASSWORD}`],
            `docker://${registry.host}/a/b:one`,
          ],
        }).output();
        assert.ok(success, new TextDecoder().decode(stderr));
        assert.deepEqual(stdout, image.manifest.bytes);

        const other = await client.target(parseDockerReference(`${registry.host}/c`));
        const layer = image.layers[1]!;
        const never = { read: () => assert.fail("nothing is to be sent") };
        assert.equal(await other.upload(layer, never, { mountFrom: ["a/b"] }), "mounted");
        assert.equal(await other.blobSize(layer.digest), layer.size);
        const config = image.config;
        const options = { mountFrom: ["no/such", "neither/this"] };
        assert.equal(await other.upload(config, sourceOf(config), options), "uploaded");
      });
    }
  },
});

testWith({
  name: "blobs of all sizes are pushed whole",
  needs,
  async fn() {
    await using registry = await TestRegistry.start();
    using client = clientFor();
    const repository = await client.target(parseDockerReference(`${registry.host}/a`));
    for (const size of [0, 1, 2, 99, 100, 101, 200, 201, 1000]) {
      const blob = blobOf(noise(size));
      const seen: number[] = [];
      const result = await repository.upload(blob, sourceOf(blob), {
        chunkSize: 100,
        progress: (bytes) => seen.push(bytes),
      });
      assert.equal(result, size === 0 && result === "present" ? "present" : "uploaded");
      assert.deepEqual(await repository.blobBytes(blob), blob.bytes, `size ${size}`);
      assert.equal(seen.at(-1) ?? size, size);
    }
    const stream = blobOf(noise(250_000));
    const upload = await repository.startUpload();
    await upload.send(stream.bytes.subarray(0, 1));
    await upload.send(stream.bytes.subarray(1, 200_000));
    assert.equal(upload.offset, 200_000);
    await upload.send(stream.bytes.subarray(200_000));
    await upload.finish(stream.digest);
    const back = new Collector();
    await repository.blob(stream, back);
    assert.deepEqual(back.bytes, stream.bytes);
  },
});

testWith({
  name: "the registry refuses what does not fit, and so do we",
  needs,
  async fn() {
    await using registry = await TestRegistry.start();
    using client = clientFor();
    const repository = await client.target(parseDockerReference(`${registry.host}/a`));
    const blob = blobOf(noise(1000));
    const other = blobOf(noise(1000));
    await assert.rejects(repository.upload(blob, sourceOf(other)), {
      name: "RegistryError",
      registryCode: "DIGEST_INVALID",
    });
    await assert.rejects(repository.upload({ ...blob, size: 2000 }, sourceOf(blob)), {
      name: "FormatError",
      message: /ends after 1000 of 2000 bytes/,
    });
    assert.equal(await repository.blobSize(blob.digest), undefined);
    const { bytes } = makeImage([10]).manifest;
    await assert.rejects(repository.putManifest({ bytes, mediaType: MANIFEST_TYPE }, "x"), {
      name: "RegistryError",
      registryCode: "MANIFEST_BLOB_UNKNOWN",
    });
    await assert.rejects(
      repository.putManifest({ bytes, mediaType: MANIFEST_TYPE }, blob.digest),
      { name: "DigestMismatchError" },
    );
  },
});

const faults: { name: string; fault: (request: FaultRequest) => Fault | undefined }[] = [
  { name: "no answer to a chunk", fault: once("PATCH", 1, { drop: true }) },
  {
    name: "a chunk that arrives, but not its answer",
    fault: once("PATCH", 1, { dropAfter: true }),
  },
  { name: "no answer to the end", fault: once("PUT", 0, { drop: true }) },
  { name: "an end that arrives, but not its answer", fault: once("PUT", 0, { dropAfter: true }) },
  { name: "no answer to the beginning", fault: once("POST", 0, { drop: true }) },
  { name: "a registry in trouble", fault: once("PATCH", 0, { status: 503 }) },
  {
    name: "a registry that wants to be left alone",
    fault: once("POST", 0, { status: 429, headers: { "retry-after": "0" } }),
  },
  {
    name: "a forgotten upload",
    fault: once("PATCH", 1, {
      status: 404,
      body: new TextEncoder().encode('{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}'),
    }),
  },
];

/** A fault for one request of a method, counted from 0. */
function once(method: string, which: number, fault: Fault) {
  let seen = 0;
  return (request: FaultRequest) =>
    request.method === method && seen++ === which ? fault : undefined;
}

testWith({
  name: "uploads survive what networks do",
  needs,
  async fn(t) {
    await using registry = await TestRegistry.start();
    for (const { name, fault } of faults) {
      await t.step(name, async () => {
        await using proxy = new FaultProxy(registry.host, fault);
        using client = clientFor();
        const repository = await client.target(parseDockerReference(`${proxy.host}/faulty`));
        const blob = blobOf(noise(350_000));
        const result = await repository.upload(blob, sourceOf(blob), { chunkSize: 100_000 });
        assert.equal(result, "uploaded");
        assert.deepEqual(await repository.blobBytes(blob), blob.bytes);
      });
    }
  },
});

testWith({
  name: `uploads and downloads through 60 bad hours, seed ${seed()}`,
  needs,
  async fn() {
    const rng = new Rng(seed());
    await using registry = await TestRegistry.start();
    let calm = false;
    await using proxy = new FaultProxy(registry.host, (request) => {
      if (calm || request.path === "/v2/" || !rng.oneIn(6)) return undefined;
      return rng.pick<Fault>([
        { drop: true },
        { dropAfter: true },
        { status: 503 },
        { status: 429, headers: { "retry-after": "0" } },
        { cut: rng.below(100_000) },
        { ignoreRange: true },
        { elsewhere: request.method === "GET" },
      ]);
    });
    using client = clientFor({ credentials: "none" });
    const repository = await client.target(parseDockerReference(`${proxy.host}/soak`));
    let failures = 0;
    for (let round = 0; round < 60; round++) {
      const blob = blobOf(noise(1 + rng.below(300_000)));
      const note = `seed ${seed()} round ${round}`;
      calm = false;
      try {
        await repository.upload(blob, sourceOf(blob), { chunkSize: 40_000 });
      } catch (error) {
        // Too much at once; what is there must not be wrong, and the next try must do it.
        assert.ok(error instanceof RegistryError, note);
        failures++;
        calm = true;
        await repository.upload(blob, sourceOf(blob), { chunkSize: 40_000 });
        calm = false;
      }
      const back = new Collector();
      try {
        await repository.blob(blob, back);
      } catch (error) {
        assert.ok(error instanceof RegistryError, note);
        failures++;
        calm = true;
        await repository.blob(blob, back, { start: back.size });
      }
      assert.ok(blobOf(back.bytes).digest.equals(blob.digest), note);
    }
    assert.ok(failures < 20, `${failures} failures`);
  },
});

testWith({
  name: "referrers are kept in a tag where the registry keeps none",
  needs,
  async fn() {
    await using registry = await TestRegistry.start();
    using client = clientFor();
    const repository = await client.target(parseDockerReference(`${registry.host}/a`));
    const image = makeImage([10]);
    const stored = await push(repository, image, "x");
    assert.equal(stored.listed, false);
    const describe = (type: string) => {
      const { digest, size } = blobOf(type);
      return { mediaType: MANIFEST_TYPE, digest, size, artifactType: type, annotations: {} };
    };
    // The registry checks what an index names.
    const second = makeImage([11]);
    await push(repository, second, "y");
    const entry = { ...describe("application/a"), ...second.manifest, annotations: { k: "v" } };
    await repository.addReferrer(image.manifest.digest, entry);
    await repository.addReferrer(image.manifest.digest, entry);
    const listed = await repository.referrers(image.manifest.digest);
    assert.deepEqual(
      listed.map((one) => [one.digest.toString(), one.artifactType, one.annotations]),
      [[second.manifest.digest.toString(), "application/a", { k: "v" }]],
    );
    const digest = image.manifest.digest;
    assert.equal((await repository.referrers(digest, { artifactType: "application/a" })).length, 1);
    assert.equal((await repository.referrers(digest, { artifactType: "application/b" })).length, 0);
  },
});
