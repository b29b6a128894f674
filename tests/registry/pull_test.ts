import assert from "node:assert/strict";
import type { Digest } from "../../lib/base/mod.ts";
import {
  parseDockerReference,
  RegistryClient,
  type RegistryClientOptions,
  RegistryError,
  type RemoteRepository,
} from "../../lib/registry/mod.ts";
import {
  type FaultReply,
  type FaultRequest,
  FaultServer,
  plainReply,
} from "../helpers/fault_server.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { Rng, seed } from "../fuzz/_mutate.ts";
import { blobOf, Collector, INDEX_TYPE, makeImage, MANIFEST_TYPE, noise } from "./_images.ts";

const NOWHERE = { variable: () => undefined, uid: 0, root: "/nonexistent" };
const LOGIN = { kind: "basic", user: "someone", password: "hunter2" } as const;
const BLOB = blobOf(noise(1_500_000));

function text(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** A registry that answers its first request, and leaves the rest to the test. */
function registry(
  respond: (request: FaultRequest) => FaultReply | Promise<FaultReply>,
): FaultServer {
  return new FaultServer((request) => request.path === "/v2/" ? {} : respond(request));
}

function clientFor(options: RegistryClientOptions = {}): RegistryClient {
  return new RegistryClient({
    tlsVerify: false,
    credentials: "none",
    surroundings: NOWHERE,
    http: { backoff: 1 },
    ...options,
  });
}

async function open(server: { host: string }, client: RegistryClient) {
  return await client.repository(parseDockerReference(`${server.host}/a/b`));
}

const downloads: {
  name: string;
  answer: (request: FaultRequest) => FaultReply;
  start?: number;
  fails?: RegExp;
  most?: number;
}[] = [
  {
    name: "cuts",
    answer: (r) => ({ ...plainReply(r, BLOB.bytes), ...(r.seen < 20 ? { cut: 60_000 } : {}) }),
    most: BLOB.size,
  },
  {
    name: "no answers at all",
    answer: (r) => r.seen < 3 ? { drop: true } : plainReply(r, BLOB.bytes),
    most: BLOB.size,
  },
  {
    name: "halts",
    answer: (r) => ({ ...plainReply(r, BLOB.bytes), ...(r.seen < 2 ? { halt: 60_000 } : {}) }),
    most: BLOB.size,
  },
  {
    name: "troubles that pass",
    answer: (r) =>
      r.seen < 4
        ? { status: [429, 503, 500, 408][r.seen]!, headers: { "retry-after": "0" } }
        : plainReply(r, BLOB.bytes),
  },
  {
    name: "troubles that do not",
    answer: () => ({ status: 503 }),
    fails: /^the registry failed: sha256:.* \(status 503 from http:\/\/127/,
  },
  {
    name: "ranges that are ignored",
    answer: (r) => ({ body: BLOB.bytes, ...(r.seen < 3 ? { cut: 400_000 * (r.seen + 1) } : {}) }),
  },
  {
    name: "ranges that are ignored, from the middle",
    answer: () => ({ body: BLOB.bytes }),
    start: 9,
  },
  {
    name: "ranges that are refused",
    answer: (r) => r.headers.has("range") ? { status: 416 } : { body: BLOB.bytes },
    start: 1000,
  },
  {
    name: "another part than was asked for",
    answer: (r) =>
      r.headers.has("range")
        ? {
          status: 206,
          headers: { "content-range": `bytes 0-9/${BLOB.size}` },
          body: BLOB.bytes.subarray(0, 10),
        }
        : { body: BLOB.bytes },
    start: 1000,
  },
  {
    name: "a part of another whole",
    answer: () => ({
      status: 206,
      headers: { "content-range": `bytes 1000-1009/2000` },
      body: BLOB.bytes.subarray(0, 10),
    }),
    start: 1000,
    fails: /Expected size 1500000 but found 2000/,
  },
  {
    name: "parts smaller than asked for",
    answer: (r) => {
      const start = Number(/\d+/.exec(r.headers.get("range") ?? "0")![0]);
      const end = Math.min(start + 400_000, BLOB.size);
      return {
        status: 206,
        headers: { "content-range": `bytes ${start}-${end - 1}/${BLOB.size}` },
        body: BLOB.bytes.subarray(start, end),
      };
    },
    start: 1,
    most: BLOB.size,
  },
  {
    name: "a body that is too short",
    answer: () => ({ body: BLOB.bytes.subarray(1) }),
    fails: /Expected size 1500000 but found 1499999/,
  },
  {
    name: "a body that is too long",
    answer: () => ({ body: new Uint8Array(BLOB.size + 1) }),
    fails: /Expected size 1500000 but found 1500001/,
  },
  {
    name: "a length that is not kept, for ever",
    answer: () => ({ body: BLOB.bytes.subarray(0, 10), length: BLOB.size }),
    fails: /Request failed/,
  },
  {
    name: "a blob that is not there",
    answer: () => ({ status: 404 }),
    fails: /^not found: sha256:/,
  },
  {
    name: "no right to have it",
    answer: () => ({ status: 403 }),
    fails: /^access denied: sha256:/,
  },
];

Deno.test("RemoteRepository.blob() survives what passes, and tells what does not", async (t) => {
  for (const { name, answer, start = 0, fails, most } of downloads) {
    await t.step(name, async () => {
      await using server = registry(answer);
      using client = clientFor({ http: { backoff: 1, stall: 300, retries: 4 } });
      const repository = await open(server, client);
      const sink = new Collector();
      const work = repository.blob(BLOB, sink, { start });
      if (fails !== undefined) return await assert.rejects(work, { message: fails });
      await work;
      assert.ok(blobOf(sink.bytes).digest.equals(blobOf(BLOB.bytes.subarray(start)).digest));
      if (most !== undefined) assert.ok(server.sent <= most + 400_000, `${server.sent} sent`);
    });
  }
});

Deno.test("a blob that is cut anywhere comes whole, and nothing comes twice", async () => {
  const rng = new Rng(seed());
  let cuts = 0;
  await using server = registry((request) => {
    const reply = plainReply(request, BLOB.bytes);
    const cut = rng.below(60_000);
    if (cuts++ % 4 === 3) return reply;
    return { ...reply, cut };
  });
  using client = clientFor();
  const repository = await open(server, client);
  for (let round = 0; round < 20; round++) {
    cuts = 0;
    const before = server.sent;
    const sink = new Collector();
    await repository.blob(BLOB, sink);
    assert.ok(blobOf(sink.bytes).digest.equals(BLOB.digest), `seed ${seed()} round ${round}`);
    // What was on its way when the connection was cut may be lost.
    assert.ok(server.sent - before < BLOB.size + 4 * 60_000);
  }
});

Deno.test("a download that fails can go on later", async () => {
  let broken = true;
  await using server = registry((request) =>
    broken
      ? request.seen === 0 ? { ...plainReply(request, BLOB.bytes), cut: 900_000 } : { status: 503 }
      : plainReply(request, BLOB.bytes)
  );
  const sink = new Collector();
  {
    using client = clientFor({ http: { backoff: 1, retries: 1 } });
    await assert.rejects((await open(server, client)).blob(BLOB, sink), RegistryError);
  }
  assert.ok(sink.size > 0 && sink.size <= 900_000);
  broken = false;
  using client = clientFor();
  const before = server.sent;
  const had = sink.size;
  await (await open(server, client)).blob(BLOB, sink, { start: sink.size });
  assert.equal(server.sent - before, BLOB.size - had);
  assert.ok(blobOf(sink.bytes).digest.equals(BLOB.digest));
});

Deno.test("a slow sink is waited for, and a failing one ends the download", async () => {
  await using server = registry((request) => plainReply(request, BLOB.bytes));
  using client = clientFor();
  const repository = await open(server, client);
  let inside = 0;
  let size = 0;
  await repository.blob(BLOB, {
    async write(piece) {
      assert.equal(inside++, 0);
      await new Promise((resolve) => setTimeout(resolve, 1));
      inside--;
      size += piece.length;
    },
  });
  assert.equal(size, BLOB.size);
  const full = new Error("disk full");
  const failing = repository.blob(BLOB, {
    write() {
      throw full;
    },
  });
  await assert.rejects(failing, (error: unknown) => error === full);
});

Deno.test("credentials stay with the registry", async (t) => {
  const seen: [string, string | null][] = [];
  await using server: FaultServer = new FaultServer((request) => {
    const host = request.headers.get("host")!;
    seen.push([host.split(":")[0]!, request.headers.get("authorization")]);
    if (request.path === "/v2/") {
      return { status: 401, headers: { "www-authenticate": 'Basic realm="x"' } };
    }
    if (host.startsWith("localhost")) return plainReply(request, BLOB.bytes);
    const location = `http://user:pass@localhost:${host.split(":")[1]}/elsewhere?secret=1`;
    return { status: 307, headers: { location } };
  });
  using client = clientFor({ credentials: LOGIN });
  const repository = await open(server, client);
  await t.step("on redirects", async () => {
    const sink = new Collector();
    await repository.blob(BLOB, sink, { start: 5 });
    assert.equal(sink.size, BLOB.size - 5);
    const login = "Basic " + btoa("someone:hunter2");
    assert.deepEqual(seen.slice(1), [["127.0.0.1", login], ["localhost", null]]);
  });
  await t.step("when the other place asks for some", async () => {
    await using asking: FaultServer = new FaultServer((request) => {
      const host = request.headers.get("host")!;
      const headers = { "www-authenticate": 'Basic realm="x"' };
      if (request.path === "/v2/") return { status: 401, headers };
      if (host.startsWith("localhost")) {
        assert.equal(request.headers.get("authorization"), null);
        return { status: 401, headers };
      }
      return { status: 302, headers: { location: `http://localhost:${host.split(":")[1]}/x` } };
    });
    const repository = await open(asking, client);
    await assert.rejects(repository.blob(BLOB, new Collector()), { status: 401 });
  });
});

testWith({
  name: "blobs may come over plain HTTP, without credentials; manifests and tokens may not",
  needs: [needTool("openssl")],
  async fn() {
    using dir = new TempDir();
    const { success } = new Deno.Command(tool("openssl"), {
      args: [
        ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
        ...["-keyout", dir.join("key"), "-out", dir.join("cert"), "-subj", "/CN=localhost"],
      ],
      stderr: "null",
    }).outputSync();
    assert.ok(success);
    await using plain = new FaultServer((request) => plainReply(request, BLOB.bytes));
    const server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      key: Deno.readTextFileSync(dir.join("key")),
      cert: Deno.readTextFileSync(dir.join("cert")),
      onListen() {},
    }, (request) => {
      if (request.headers.get("authorization") === null) {
        const headers = { "www-authenticate": 'Basic realm="x"' };
        return new Response(null, { status: 401, headers });
      }
      return Response.redirect(`${plain.url}/elsewhere`, 307);
    });
    {
      using client = clientFor({ credentials: LOGIN });
      const repository = await open({ host: `127.0.0.1:${server.addr.port}` }, client);
      const sink = new Collector();
      await repository.blob(BLOB, sink);
      assert.ok(blobOf(sink.bytes).digest.equals(BLOB.digest));
      assert.equal(plain.requests[0]!.headers.get("authorization"), null);
      await assert.rejects(repository.manifest("x"), /Redirected from https to http/);
      assert.equal(plain.requests.length, 1);
    }
    await server.shutdown();
  },
});

Deno.test("tokens are asked for once, renewed when they are refused, and never shown", async (t) => {
  let valid = "";
  let issued = 0;
  let life = 300;
  const queries: string[] = [];
  await using server: FaultServer = new FaultServer((request): FaultReply => {
    if (request.path.startsWith("/token")) {
      queries.push(request.path);
      valid = `token-${++issued}`;
      return { body: text({ token: valid, expires_in: life }) };
    }
    if (request.headers.get("authorization") !== `Bearer ${valid}` || valid === "") {
      const realm = `http://${server.host}/token`;
      const header = `Bearer realm="${realm}",service="srv",scope="repository:a/b:pull"`;
      return { status: 401, headers: { "www-authenticate": header } };
    }
    return plainReply(request, BLOB.bytes);
  });
  using client = clientFor();
  const repository = await open(server, client);
  await t.step("once for many", async () => {
    await Promise.all(
      Array.from({ length: 8 }, () => repository.blob(BLOB, new Collector())),
    );
    assert.deepEqual(queries, ["/token?service=srv&scope=repository%3Aa%2Fb%3Apull"]);
  });
  await t.step("again when refused", async () => {
    valid = "revoked";
    await repository.blob(BLOB, new Collector());
    assert.equal(issued, 2);
  });
  await t.step("again when old", async () => {
    life = -5;
    const other = await open(server, client);
    await other.blob(BLOB, new Collector());
    await other.blob(BLOB, new Collector());
    assert.equal(issued, 3, "short lives are taken for a minute");
  });
  await t.step("not for ever", async () => {
    await using wall: FaultServer = new FaultServer((request): FaultReply => {
      if (request.path.startsWith("/token")) return { body: text({ access_token: "t0ken" }) };
      const header = `Bearer realm="http://${wall.host}/token"`;
      return { status: 401, headers: { "www-authenticate": header } };
    });
    const repository = await open(wall, client);
    await assert.rejects(repository.manifest("x"), (error: unknown) => {
      assert.ok(error instanceof RegistryError);
      assert.match(error.message, /^authentication required: x in .*, with an anonymous token\)$/);
      assert.doesNotMatch(Deno.inspect(error), /t0ken/);
      return true;
    });
    assert.ok(wall.requests.length <= 6);
  });
});

const tokens: [name: string, realm: string, answer: FaultReply, message: RegExp][] = [
  ["no realm", "", {}, /names no token server/],
  ["a realm that is no URL", "x y", {}, /names no token server/],
  ["a file", "file:///etc/passwd", {}, /names no token server/],
  ["no token", "TOKEN", { body: text({}) }, /answer has no token/],
  ["a token with a line end", "TOKEN", { body: text({ token: "a\r\nb: c" }) }, /has no token/],
  ["no JSON", "TOKEN", { body: new TextEncoder().encode("<html>") }, /is not a JSON object/],
  ["too much", "TOKEN", { body: new Uint8Array(300_000) }, /larger than/],
  [
    "a refusal",
    "TOKEN",
    { status: 403, body: text({ details: "go\x1b[1m away" }) },
    /^go \[1m away: a token for .* \(status 403/,
  ],
];

Deno.test("token servers that are none", async (t) => {
  for (const [name, realm, answer, message] of tokens) {
    await t.step(name, async () => {
      await using server: FaultServer = new FaultServer((request): FaultReply => {
        if (request.path.startsWith("/token")) return answer;
        const place = realm === "TOKEN" ? `http://${server.host}/token` : realm;
        return { status: 401, headers: { "www-authenticate": `Bearer realm="${place}"` } };
      });
      using client = clientFor({ http: { backoff: 1, retries: 0 } });
      await assert.rejects((await open(server, client)).manifest("x"), { message });
    });
  }
});

const image = makeImage([100]);
const manifests: {
  name: string;
  wanted: string | Digest;
  answer: FaultReply;
  fails?: { name: string; message?: RegExp };
  mediaType?: string;
}[] = [
  {
    name: "its own type",
    wanted: "t",
    answer: { body: image.manifest.bytes, headers: { "content-type": "text/plain" } },
    mediaType: MANIFEST_TYPE,
  },
  {
    name: "the type of the answer",
    wanted: "t",
    answer: { body: text({}), headers: { "content-type": "Application/X; charset=utf-8" } },
    mediaType: "application/x",
  },
  {
    name: "by digest",
    wanted: image.manifest.digest,
    answer: { body: image.manifest.bytes },
    mediaType: MANIFEST_TYPE,
  },
  {
    name: "another one than asked for",
    wanted: image.manifest.digest,
    answer: { body: text({}) },
    fails: { name: "DigestMismatchError" },
  },
  {
    name: "another one than announced",
    wanted: "t",
    answer: {
      body: text({}),
      headers: { "docker-content-digest": image.manifest.digest.toString() },
    },
    fails: { name: "DigestMismatchError" },
  },
  {
    name: "a digest that nobody can read",
    wanted: "t",
    answer: { body: image.manifest.bytes, headers: { "docker-content-digest": "sha256:no" } },
    mediaType: MANIFEST_TYPE,
  },
  {
    name: "too large",
    wanted: "t",
    answer: { body: new Uint8Array(4 * 1024 * 1024 + 1) },
    fails: { name: "RegistryError", message: /larger than 4194304/ },
  },
  {
    name: "what the registry says",
    wanted: "t",
    answer: {
      status: 404,
      body: text({ errors: [{ code: "MANIFEST_UNKNOWN", message: "manifest unknown" }] }),
    },
    fails: {
      name: "RegistryError",
      message:
        /^manifest unknown: t in 127\.0\.0\.1:\d+\/a\/b \(status 404 from http:\/\/127.*, without credentials\)$/,
    },
  },
  {
    name: "redirects for ever",
    wanted: "t",
    answer: { status: 307, headers: { location: "/" } },
    fails: { name: "RegistryError", message: /^t in 127.*: Too many redirects for url/ },
  },
  {
    name: "codes of their own",
    wanted: "t",
    answer: { status: 400, body: text({ errors: [{ code: "ODD_THING", message: "why?" }, 7] }) },
    fails: { name: "RegistryError", message: /^odd thing \(why\?\): t in/ },
  },
];

Deno.test("RemoteRepository.manifest() verifies what it can", async (t) => {
  for (const { name, wanted, answer, fails, mediaType } of manifests) {
    await t.step(name, async () => {
      await using server = registry(() => answer);
      using client = clientFor();
      const work = (await open(server, client)).manifest(wanted);
      if (fails !== undefined) return await assert.rejects(work, fails);
      assert.equal((await work).mediaType, mediaType);
    });
  }
});

Deno.test("mirrors are asked first, and their faults are told with the last one", async (t) => {
  let good = true;
  const another = makeImage([7]);
  await using mirror = registry((request) => {
    if (!good) return { status: 500 };
    if (request.path.endsWith("/t")) return { body: another.manifest.bytes };
    const cut = { ...plainReply(request, BLOB.bytes), cut: 500_000 };
    return request.path.includes("/blobs/") && request.seen === 0 ? cut : { status: 404 };
  });
  let here = true;
  await using main = registry((request) => {
    if (request.path.includes("/blobs/")) return plainReply(request, BLOB.bytes);
    return here ? { body: image.manifest.bytes } : { status: 404 };
  });
  const conf = `[[registry]]\nprefix="quay.io"\nlocation="${main.host}/r"\ninsecure=true\n` +
    `[[registry.mirror]]\nlocation="${mirror.host}/m"\ninsecure=true\n`;
  const path = await Deno.makeTempFile();
  await Deno.writeTextFile(path, conf);
  const variable = (name: string) => name === "CONTAINERS_REGISTRIES_CONF" ? path : undefined;
  const work = async (more = async (_: RemoteRepository) => {}) => {
    using client = new RegistryClient({
      credentials: "none",
      surroundings: { variable, uid: 0, root: "/nonexistent" },
      http: { backoff: 1, retries: 1 },
    });
    const repository = await client.repository(parseDockerReference("quay.io/a:t"));
    await repository.manifest("t");
    await more(repository);
    return repository;
  };
  try {
    await t.step("a good mirror", async () => {
      const repository = await work();
      assert.equal(repository.physical.name, `${mirror.host}/m/a`);
      assert.equal(repository.reference.name, "quay.io/a");
      assert.equal(main.requests.length, 0);
      assert.equal(mirror.requests.length, 2, "the manifest is fetched once");
    });
    await t.step("a mirror that lacks things", async () => {
      await work(async (repository) => {
        const sink = new Collector();
        await repository.blob(BLOB, sink);
        assert.ok(blobOf(sink.bytes).digest.equals(BLOB.digest));
        const [asked] = main.requests.filter(({ path }) => path.includes("/blobs/"));
        assert.match(asked!.headers.get("range") ?? "", /^bytes=[1-9]\d*-$/);
        const { bytes } = await repository.manifest(image.manifest.digest);
        assert.deepEqual(bytes, image.manifest.bytes);
        // The same tag may be something else there.
        await assert.rejects(repository.manifest("other"), { code: "CFS_NOT_FOUND" });
      });
    });
    good = false;
    await t.step("a bad mirror", async () => {
      assert.equal((await work()).physical.name, `${main.host}/r/a`);
    });
    here = false;
    await t.step("nothing anywhere", async () => {
      await assert.rejects(work(), {
        code: "CFS_NOT_FOUND",
        message: /mirrors before: the registry/,
      });
    });
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("what a mirror gives wrong comes from the next place", async (t) => {
  const other = makeImage([8]).manifest;
  const wrong = (bytes: Uint8Array<ArrayBuffer>) => bytes.map((byte) => byte ^ 1);
  let lie: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer> = wrong;
  const serve = (change: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>) =>
    registry((request) => {
      if (request.path.endsWith("/t")) return { body: image.manifest.bytes };
      const isConfig = request.path.endsWith(image.config.digest.toString());
      const { bytes } = isConfig ? image.config : request.path.includes("/blobs/") ? BLOB : other;
      return { body: change(bytes) };
    });
  await using mirror = serve((bytes) => lie(bytes));
  await using main = serve((bytes) => bytes);
  using dir = new TempDir();
  Deno.writeTextFileSync(
    dir.join("registries.conf"),
    `[[registry]]\nprefix="quay.io"\nlocation="${main.host}/r"\ninsecure=true\n` +
      `[[registry.mirror]]\nlocation="${mirror.host}/m"\ninsecure=true\n`,
  );
  const variable = (name: string) =>
    name === "CONTAINERS_REGISTRIES_CONF" ? dir.join("registries.conf") : undefined;
  using client = new RegistryClient({
    credentials: "none",
    surroundings: { variable, uid: 0, root: "/nonexistent" },
    http: { backoff: 1, retries: 1 },
  });
  const repository = await client.repository(parseDockerReference("quay.io/a:t"));
  assert.equal(repository.physical.name, `${mirror.host}/m/a`);
  await t.step("a small blob", async () => {
    assert.deepEqual(await repository.blobBytes(image.config), image.config.bytes);
  });
  await t.step("a manifest", async () => {
    const { bytes } = await repository.manifest(other.digest);
    assert.deepEqual(bytes, other.bytes);
    // Wrong everywhere.
    const absent = makeImage([9]).manifest.digest;
    await assert.rejects(repository.manifest(absent), { code: "CFS_DIGEST_MISMATCH" });
  });
  for (const [name, change] of [["longer", 1], ["shorter", -1]] as const) {
    await t.step(`a blob that is ${name}`, async () => {
      lie = (bytes) => new Uint8Array(bytes.length + change);
      const sink = new Collector();
      await repository.blob(BLOB, sink);
      assert.ok(blobOf(sink.bytes).digest.equals(BLOB.digest));
    });
  }
  await t.step("a blob of the right size is for its reader to refuse", async () => {
    lie = wrong;
    const sink = new Collector();
    await repository.blob(BLOB, sink);
    assert.deepEqual(blobOf(sink.bytes).bytes, wrong(BLOB.bytes));
    const next = await repository.elsewhere();
    assert.equal(next!.physical.name, `${main.host}/r/a`);
    assert.equal(await next!.elsewhere(), undefined);
  });
});

Deno.test("credentials that are given are not for mirrors, which have their own in files", async () => {
  const given = "Basic " + btoa("someone:hunter2");
  const filed = "Basic " + btoa("mirror:own");
  const asking = (answer: FaultReply, login: string) =>
    new FaultServer((request) => {
      if (request.headers.get("authorization") === login) return answer;
      return { status: 401, headers: { "www-authenticate": 'Basic realm="x"' } };
    });
  await using main = asking({ body: image.manifest.bytes }, given);
  await using mirror = asking({ status: 404 }, filed);
  using dir = new TempDir();
  Deno.writeTextFileSync(
    dir.join("registries.conf"),
    `[[registry]]\nlocation="${main.host}"\ninsecure=true\n` +
      `[[registry.mirror]]\nlocation="${mirror.host}/m"\ninsecure=true\n`,
  );
  Deno.writeTextFileSync(
    dir.join("auth.json"),
    JSON.stringify({ auths: { [mirror.host]: { auth: btoa("mirror:own") } } }),
  );
  const variable = (name: string) =>
    name === "CONTAINERS_REGISTRIES_CONF" ? dir.join("registries.conf") : undefined;
  using client = new RegistryClient({
    credentials: LOGIN,
    authFile: dir.join("auth.json"),
    surroundings: { variable, uid: 0, root: "/nonexistent" },
    http: { backoff: 1, retries: 1 },
  });
  const repository = await client.repository(parseDockerReference(`${main.host}/a:t`));
  assert.equal(repository.physical.name, `${main.host}/a`);
  const shown = (server: FaultServer) =>
    server.requests.map(({ headers }) => headers.get("authorization")).filter((one) => one);
  assert.deepEqual(shown(main), [given]);
  assert.deepEqual(new Set(shown(mirror)), new Set([filed]));
});

Deno.test("layers that registries must not give come from where they say", async (t) => {
  await using elsewhere = new FaultServer((request) => plainReply(request, BLOB.bytes));
  await using server = registry(() => ({ status: 404 }));
  using client = clientFor({ credentials: LOGIN });
  const repository = await open(server, client);
  const urls = ["ftp://x/y", `http://127.0.0.1:1/no`, `${elsewhere.url}/layer`];
  for (
    const mediaType of [
      undefined,
      "application/vnd.oci.image.config.v1+json",
      "application/vnd.oci.image.layer.v1.tar+gzip",
      "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ]
  ) {
    await t.step(`not ${mediaType ?? "what is not said to be one"}`, async () => {
      const blob = repository.blob({ ...BLOB, mediaType, urls }, new Collector());
      await assert.rejects(blob, { code: "CFS_NOT_FOUND" });
      assert.equal(elsewhere.requests.length, 0);
    });
  }
  for (
    const mediaType of [
      "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
      "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ]
  ) {
    await t.step(mediaType, async () => {
      const sink = new Collector();
      await repository.blob({ ...BLOB, mediaType, urls }, sink);
      assert.ok(blobOf(sink.bytes).digest.equals(BLOB.digest));
      assert.equal(elsewhere.requests.at(-1)!.headers.get("authorization"), null);
    });
  }
});

Deno.test("RemoteRepository.referrers() reads the registry's list, page by page", async () => {
  const subject = BLOB.digest;
  const entry = (type: string) => ({
    mediaType: MANIFEST_TYPE,
    digest: blobOf(type).digest,
    size: 1,
    artifactType: type,
  });
  const headers = { "content-type": INDEX_TYPE };
  await using server: FaultServer = registry(({ path }) => {
    if (path.includes("page=2")) {
      return { headers, body: text({ manifests: [entry("b"), entry("a")] }) };
    }
    const link = `</v2/a/b/referrers/${subject}?page=2>; rel="next"`;
    return { headers: { ...headers, link }, body: text({ manifests: [entry("a")] }) };
  });
  using client = clientFor();
  const repository = await open(server, client);
  assert.equal((await repository.referrers(subject)).length, 3);
  const some = await repository.referrers(subject, { artifactType: "a" });
  assert.deepEqual(some.map((one) => one.artifactType), ["a", "a"]);
  assert.match(server.requests.at(-2)!.path, /\?artifactType=a$/);
  const before = server.requests.length;
  assert.equal((await repository.referrers(subject)).length, 3);
  assert.equal(server.requests.length, before, "they are kept");

  await using endless = registry(({ path }) => ({
    headers: { ...headers, link: `<${path}x>; rel=next` },
    body: text({ manifests: [] }),
  }));
  assert.deepEqual(await (await open(endless, client)).referrers(subject), []);
  assert.ok(endless.requests.length <= 102);
});

Deno.test("both signals end what is under way", async (t) => {
  await using server = registry((request) => ({ ...plainReply(request, BLOB.bytes), halt: 100 }));
  for (const which of ["the client's", "the call's"]) {
    await t.step(which, async () => {
      const [whole, call] = [new AbortController(), new AbortController()];
      using client = clientFor({ signal: whole.signal });
      const repository = await open(server, client);
      const work = repository.blob(BLOB, new Collector(), { signal: call.signal });
      setTimeout(() => (which === "the call's" ? call : whole).abort(new Error("enough")), 50);
      await assert.rejects(work, /enough/);
    });
  }
});

Deno.test("who waits is told why", async () => {
  await using server = registry((r) =>
    r.seen < 2 ? { status: 503, headers: { "retry-after": "0" } } : plainReply(r, BLOB.bytes)
  );
  const told: string[] = [];
  using client = clientFor({
    http: { backoff: 1, onRetry: ({ reason, pause }) => told.push(`${reason.message} ${pause}`) },
  });
  await (await open(server, client)).blob(BLOB, new Collector());
  assert.equal(told.length, 2);
  assert.match(told[0]!, /^HTTP status server error \(503 .*\) for url \(http:.*\) [\d.]+$/);
});

Deno.test("rates are kept", async () => {
  await using server = registry((request) => plainReply(request, BLOB.bytes));
  using client = clientFor({ limitRate: 3_000_000 });
  const repository = await open(server, client);
  const started = performance.now();
  await repository.blob(BLOB, new Collector());
  const took = performance.now() - started;
  assert.ok(took > 400 && took < 5000, `${took} ms`);
});
