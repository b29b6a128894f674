import "../helpers/libraries.ts";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import {
  DigestMismatchError,
  FormatError,
  InvalidNameError,
  NotFoundError,
  PolicyError,
  UnsupportedError,
} from "../../lib/base/mod.ts";
import {
  type ArrivedSummary,
  type Checksum,
  checksumBytes,
  checksumOf,
  encodeCachedSummary,
  encodeVariant,
  parseCachedSummary,
  parseSummary,
  parseSummaryIndex,
  remoteClientOptions,
  RemoteSource,
  type RemoteSourceOptions,
  repositorySummaryCache,
  type SummaryCache,
  summaryCacheKey,
} from "../../lib/ostree/mod.ts";
import { checkMetalinkFile, parseMetalink, parseMirrorlist } from "../../lib/ostree/mirrors.ts";
import {
  directoryReply,
  type FaultReply,
  type FaultRequest,
  FaultServer,
  plainReply,
} from "../helpers/fault_server.ts";
import { TempDir } from "../helpers/temp.ts";
import { A, addCommit, B, type MemoryRemote, newRepository, unpack } from "./_remote.ts";

const encoder = new TextEncoder();

/** A summary with these refs. */
function summaryOf(refs: readonly (readonly [string, Checksum])[]): Uint8Array {
  return encodeVariant("(a(s(taya{sv}))a{sv})", [
    refs.map(([name, commit]) => [name, [0n, checksumBytes(commit), []]]),
    [],
  ]);
}

/** Serves what a map holds. */
function serve(files: ReadonlyMap<string, Uint8Array>): (request: FaultRequest) => FaultReply {
  return (request) => {
    const body = files.get(decodeURIComponent(request.path));
    return body === undefined ? { status: 404 } : plainReply(request, body);
  };
}

/** A source that does not wait long. */
function open(url: string, options: RemoteSourceOptions = {}): RemoteSource {
  return new RemoteSource(url, { backoff: 1, retries: 1, ...options });
}

function paths(server: FaultServer): string[] {
  return server.requests.map(({ path }) => path);
}

Deno.test("RemoteSource.resolve() looks in the index, the summary, the refs", async (t) => {
  using temp = new TempDir();
  const dir = unpack(temp.join("remote"), "archive", "archive-deltas-overlay");
  const index = parseSummaryIndex(Deno.readFileSync(dir + "/summary.idx"));
  const hex = index.subsets.get("x86_64");
  const missing: Record<string, string[]> = {
    "with everything": [],
    "without an index": ["/summary.idx"],
    "without a summary": ["/summary.idx", "/summary"],
  };
  const wanted: Record<string, string[]> = {
    "with everything": ["/summary.idx", `/summaries/${hex}.gz`],
    "without an index": ["/summary.idx", "/summary"],
    "without a summary": ["/summary.idx", "/summary", "/refs/heads/test/stable"],
  };
  for (const [name, absent] of Object.entries(missing)) {
    await t.step(name, async () => {
      await using server = new FaultServer((request) =>
        absent.includes(request.path) ? { status: 404 } : directoryReply(dir, request)
      );
      using source = open(server.url, { subset: "x86_64" });
      assert.deepEqual(await source.resolve("test/stable"), { commit: B, ref: "test/stable" });
      assert.deepEqual(await source.resolve("test/stable"), { commit: B, ref: "test/stable" });
      assert.deepEqual(paths(server), wanted[name]);
      assert.deepEqual(await source.resolve("test/stable^"), { commit: A, ref: undefined });
      assert.deepEqual(await source.resolve(A), { commit: A, ref: undefined });
      await assert.rejects(source.resolve("nosuch"), { code: "CFS_NOT_FOUND" });
    });
  }
  await t.step("another subset than there is", async () => {
    await using server = new FaultServer((request) => directoryReply(dir, request));
    using source = open(server.url, { subset: "free-x86_64" });
    assert.equal((await source.resolve("test/stable")).commit, B);
    assert.deepEqual(paths(server), ["/summary.idx", "/summary"]);
  });
  await t.step("a summary that is not the index's", async () => {
    await using server = new FaultServer(async (request) => {
      const reply = await directoryReply(dir, request);
      if (!request.path.startsWith("/summaries/")) return reply;
      return { body: gzipSync(new Uint8Array([...gunzipSync(reply.body!), 0])) };
    });
    using source = open(server.url, { subset: "x86_64" });
    await assert.rejects(source.resolve("test/stable"), (error) => {
      assert.ok(error instanceof DigestMismatchError);
      assert.match(error.message, /^subsummary checksum mismatch: expected [0-9a-f]{64}, got /);
      return true;
    });
  });
  await t.step("a summary that is not packed", async () => {
    await using server = new FaultServer((request) =>
      request.path.startsWith("/summaries/")
        ? { body: encoder.encode("plain") }
        : directoryReply(dir, request)
    );
    using source = open(server.url, { subset: "x86_64" });
    await assert.rejects(source.resolve("test/stable"), FormatError);
  });
  await t.step("dangerous names", async () => {
    await using server = new FaultServer((request) => directoryReply(dir, request));
    using source = open(server.url);
    for (const name of ["", "..", "a//b", "../../config", "a/./b"]) {
      await assert.rejects(source.resolve(name), InvalidNameError);
    }
    assert.deepEqual(paths(server), []);
  });
});

Deno.test("RemoteSource escapes the parts of names", async () => {
  const remote: MemoryRemote = new Map();
  const ref = "odd name/100%/a+b?c#d";
  const commit = addCommit(remote, [], { ref });
  await using server = new FaultServer(serve(remote));
  using source = open(server.url + "/");
  assert.equal((await source.resolve(ref)).commit, commit);
  assert.equal(paths(server).at(-1), "/refs/heads/odd%20name/100%25/a+b%3Fc%23d");
});

Deno.test("RemoteSource keeps summaries", async (t) => {
  using temp = new TempDir();
  const dir = unpack(temp.join("remote"), "archive", "archive-deltas-overlay");
  await t.step("those of a subset by checksum", async () => {
    await using server = new FaultServer((request) => directoryReply(dir, request));
    using repository = newRepository(temp.join("subset"));
    const options = { subset: "aarch64", cache: repositorySummaryCache(repository) };
    for (let i = 0; i < 2; i++) {
      using source = open(server.url, options);
      assert.ok((await source.summary())!.refs.length > 0);
    }
    const requested = paths(server).filter((path) => path.startsWith("/summaries/"));
    assert.equal(requested.length, 1);
    const key = `127.0.0.1:${server.host.split(":")[1]}`;
    assert.notEqual(repository.streamObject(`ostree-subsummary-aarch64-${key}`), undefined);
  });
  await t.step("the summary by its tag", async () => {
    await using server = new FaultServer((request) =>
      request.path === "/summary.idx" ? { status: 404 } : directoryReply(dir, request)
    );
    using repository = newRepository(temp.join("tag"));
    const cache = repositorySummaryCache(repository);
    for (let i = 0; i < 2; i++) {
      using source = open(server.url, { cache });
      assert.equal((await source.resolve("test/stable")).commit, B);
    }
    const tags = server.requests.filter(({ path }) => path === "/summary")
      .map(({ headers }) => headers.get("if-none-match") !== null);
    assert.deepEqual(tags, [false, true]);
    assert.equal(server.requests.length, 4);
  });
  const date = "Sat, 21 Nov 2026 07:32:56 GMT";
  const cases: [now: string, requests: number][] = [
    ["Sat, 21 Nov 2026 07:32:57 GMT", 2],
    ["Sat, 21 Nov 2026 07:32:58 GMT", 1],
    ["nonsense", 2],
  ];
  for (const [now, requests] of cases) {
    await t.step(`by its date, at ${now}`, async () => {
      const bytes = summaryOf([["r", A as Checksum]]);
      const cache: SummaryCache = {
        load: () => ({ etag: "", lastModified: date, bytes }),
        store: () => {},
      };
      await using server = new FaultServer(({ path, headers }) => {
        if (path !== "/summary") return { status: 404 };
        const known = headers.get("if-modified-since") === date;
        return known ? { status: 304, headers: { date: now } } : { body: bytes };
      });
      using source = open(server.url, { cache });
      assert.equal((await source.resolve("r")).commit, A);
      assert.equal(paths(server).filter((path) => path === "/summary").length, requests);
    });
  }
});

Deno.test("kept summaries are written as the reference writes them", () => {
  const bytes = summaryOf([]);
  const lastModified = "Sat, 21 Nov 2026 07:32:56 GMT";
  const encoded = encodeCachedSummary({ etag: "", lastModified, bytes });
  const head = "00001d00" + createHash("sha256").update(bytes).digest("hex");
  assert.equal(encoded.subarray(0, 36).toHex(), head);
  assert.equal(new TextDecoder().decode(encoded.subarray(36, 36 + 29)), lastModified);
  assert.deepEqual(parseCachedSummary(encoded), { etag: "", lastModified, bytes });
  for (let end = 0; end < encoded.length; end++) {
    assert.throws(() => parseCachedSummary(encoded.subarray(0, end)), FormatError);
  }
  assert.equal(summaryCacheKey(new URL("https://h.example/a/b/")), "h.example-a-b");
  assert.equal(summaryCacheKey(new URL("http://h.example:80/a?x")), "h.example-a");
  assert.equal(summaryCacheKey(new URL("http://h.example:8080/")), "h.example:8080");
});

Deno.test("parseSummary() refuses refs that are not in order or not names", async (t) => {
  const commit = A as Checksum;
  const cases: Record<string, string[]> = {
    "out of order": ["b", "a"],
    "twice": ["a", "a"],
    "a path upwards": ["../a"],
    "no name": [""],
  };
  for (const [name, refs] of Object.entries(cases)) {
    await t.step(name, () => {
      const bytes = summaryOf(refs.map((ref) => [ref, commit] as const));
      assert.throws(() => parseSummary(bytes), /not in order|Invalid refspec/);
    });
  }
  const good = parseSummary(summaryOf([["a", commit], ["a/b", commit], ["é", commit]]));
  assert.deepEqual(good.refs.map(({ name }) => name), ["a", "a/b", "é"]);
  const twice = encodeVariant("(a{s(ayaaya{sv})}a{sv})", [
    ["x86_64", "x86_64"].map((subset) => [subset, [checksumBytes(commit), [], []]]),
    [],
  ]);
  assert.throws(() => parseSummaryIndex(twice), /duplicate subset 'x86_64'/);
});

Deno.test("RemoteSource hands summaries and their signatures to who checks them", async (t) => {
  const remote: MemoryRemote = new Map();
  const commit = addCommit(remote, [], { ref: "unsigned" });
  remote.set("/summary", summaryOf([["r", commit]]));
  remote.set("/summary.sig", encoder.encode("signature"));
  await using server = new FaultServer(serve(remote));
  await t.step("accepted", async () => {
    const arrived: ArrivedSummary[] = [];
    using source = open(server.url, { verifySummary: (one) => void arrived.push(one) });
    assert.equal((await source.resolve("r")).commit, commit);
    assert.equal(arrived.length, 1);
    assert.equal(arrived[0]!.file, "summary");
    assert.deepEqual(arrived[0]!.bytes, remote.get("/summary"));
    assert.deepEqual(arrived[0]!.signature, remote.get("/summary.sig"));
    await assert.rejects(source.resolve("unsigned"), /No such ref 'unsigned' in the summary/);
  });
  await t.step("absent", async () => {
    await using bare = new FaultServer(({ path }) => {
      const body = path.startsWith("/summary") ? undefined : remote.get(path);
      return body === undefined ? { status: 404 } : { body };
    });
    using source = open(bare.url, { verifySummary: () => {} });
    await assert.rejects(source.resolve("unsigned"), PolicyError);
  });
  await t.step("refused", async () => {
    const verifySummary = () => {
      throw new UnsupportedError("refused");
    };
    using source = open(server.url, { verifySummary });
    await assert.rejects(source.resolve("r"), /^UnsupportedError: refused$/);
  });
});

Deno.test("RemoteSource says what cannot be pulled", async (t) => {
  await t.step("a repository of another mode", async () => {
    const remote = new Map([["/config", encoder.encode("[core]\nmode=bare-user\n")]]);
    await using server = new FaultServer(serve(remote));
    using source = open(server.url);
    await assert.rejects(source.checkCommit(), (error) => {
      assert.ok(error instanceof UnsupportedError);
      assert.match(error.message, /mode 'bare-user'/);
      return true;
    });
  });
  await t.step("a commit that was deleted", async () => {
    const path = `/objects/${A.slice(0, 2)}/${A.slice(2)}.tombstone-commit`;
    await using server = new FaultServer(serve(new Map([[path, encoder.encode("x")]])));
    using source = open(server.url);
    const message = `commit ${A} was deleted (tombstone)`;
    await assert.rejects(source.readMetadata("commit", A as Checksum), { message });
  });
  await t.step("no URL", async () => {
    using source = open("nonsense");
    await assert.rejects(source.resolve("r"), { message: "relative URL without a base" });
  });
});

Deno.test("RemoteSource uses mirrors", async (t) => {
  const remote: MemoryRemote = new Map();
  const commit = addCommit(remote, [["f", encoder.encode("content")]], { ref: "r" });
  await using good = new FaultServer(serve(remote));
  await t.step("the first of a list that answers", async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const dead = `http://127.0.0.1:${listener.addr.port}/`;
    listener.close();
    const list = `# mirrors\n\nftp://h/\n${dead}\n${good.url}\n`;
    await using lists = new FaultServer(() => ({ body: encoder.encode(list) }));
    using source = open(`mirrorlist=${lists.url}/list`);
    assert.equal((await source.resolve("r")).commit, commit);
  });
  await t.step("another one for what the first lacks", async () => {
    const part = new Map([["/config", remote.get("/config")!]]);
    await using poor = new FaultServer(serve(part));
    const list = `${poor.url}/\n${good.url}/\n`;
    await using lists = new FaultServer(() => ({ body: encoder.encode(list) }));
    using source = open(`mirrorlist=${lists.url}/list`);
    assert.equal((await source.resolve("r")).commit, commit);
    assert.equal(checksumOf(await source.readMetadata("commit", commit)), commit);
  });
  await t.step("none", async () => {
    await using lists = new FaultServer(() => ({ body: encoder.encode("# nothing\n") }));
    using source = open(`mirrorlist=${lists.url}/list`);
    await assert.rejects(source.resolve("r"), (error) => {
      assert.ok(error instanceof NotFoundError);
      assert.equal(error.message, `No valid mirrors were found in mirrorlist '${lists.url}/list'`);
      return true;
    });
  });
  await t.step("for content only", async () => {
    const metadata = new Map([...remote].filter(([path]) => !path.endsWith(".filez")));
    await using poor = new FaultServer(serve(metadata));
    using source = open(poor.url, { contentUrl: good.url });
    const [path, bytes] = [...remote].find(([path]) => path.endsWith(".filez"))!;
    const options = { maxSize: 1000, content: true };
    assert.deepEqual(await source.readFile(path.slice(1), options), bytes);
    assert.equal(await source.readFile(path.slice(1), { maxSize: 1000 }), undefined);
  });
  for (const kind of ["right", "wrong", "missing"]) {
    await t.step(`a metalink, and the summary is ${kind}`, async () => {
      const summary = summaryOf([["r", commit]]);
      const files = new Map(remote);
      if (kind !== "missing") files.set("/summary", summary);
      await using server = new FaultServer(serve(files));
      const hash = checksumOf(kind === "wrong" ? encoder.encode("other") : summary);
      const xml = `<metalink><files><file name="summary"><size>${summary.length}</size>
        <verification><hash type="sha256">${hash}</hash></verification>
        <resources><url preference="1">${server.url}/other/summary</url>
        <url preference="99">${server.url}/summary</url></resources></file></files></metalink>`;
      await using links = new FaultServer(() => ({ body: encoder.encode(xml) }));
      using source = open(`metalink=${links.url}/link`);
      if (kind === "right") assert.equal((await source.resolve("r")).commit, commit);
      else if (kind === "wrong") await assert.rejects(source.resolve("r"), DigestMismatchError);
      else await assert.rejects(source.resolve("r"), /no summary available from remote/);
    });
  }
});

Deno.test("parseMetalink() finds the file, its digests and places", () => {
  const hash = "ab".repeat(32);
  const xml = `<!-- <file name="summary"> --><file name="other"></file>
    <file name='summary'><hash type="md5">00</hash><hash type="sha256">${hash.toUpperCase()}</hash>
    <url>http://a/summary?x&amp;y</url><url preference="5">http://b/summary</url></file>`;
  assert.deepEqual(parseMetalink(xml, "summary"), {
    size: undefined,
    hashes: [{ type: "sha256", value: hash }],
    urls: ["http://b/summary", "http://a/summary?x&y"],
  });
  assert.throws(() => parseMetalink(xml, "none"), /no file 'none'/);
  assert.throws(() => parseMetalink(xml, "other"), /no sha256 or sha512 digest/);
  for (const part of ["<file>", "<!--", "<file name='summary'>", "<url>", "<hash ", "&a"]) {
    const start = performance.now();
    const hostile = `<file name="summary">${part.repeat(1_000_000 / part.length)}`;
    for (const text of [hostile, hostile + "</file>"]) {
      assert.throws(() => parseMetalink(text, "summary"), FormatError);
    }
    assert.ok(performance.now() - start < 1000, part);
  }
  const file = { size: 3, hashes: [], urls: [] };
  assert.throws(() => checkMetalinkFile(file, new Uint8Array(4)), /Expected 3 bytes/);
});

Deno.test("parseMirrorlist() takes HTTP URLs and no more than 256", () => {
  const text = ["#x", " http://a/b ", "ftp://c", "http://[", "https://d/"].join("\n");
  assert.deepEqual(parseMirrorlist(text).map(String), ["http://a/b/", "https://d/"]);
  assert.equal(parseMirrorlist("http://a\n".repeat(1000)).length, 256);
});

Deno.test("remoteClientOptions() reads what a remote names", async (t) => {
  const remote = (options: Record<string, string>) => ({
    name: "n",
    text: (option: string) => options[option],
    flag: (option: string) => option in options ? options[option] === "true" : undefined,
  });
  const files: Record<string, string> = {
    ca: "CA",
    cert: "CERT",
    key: "KEY",
    cookies: "h\tFALSE\t/\tFALSE\t0\ta\tb\n",
  };
  const read = (path: string) => files[path];
  await t.step("everything", () => {
    const options = remoteClientOptions(
      remote({
        "proxy": "http://p/",
        "http2": "false",
        "tls-permissive": "true",
        "tls-ca-path": "ca",
        "tls-client-cert-path": "cert",
        "tls-client-key-path": "key",
      }),
      read,
      { cookies: "cookies" },
    );
    const { cookies, ...rest } = options;
    assert.deepEqual(rest, {
      http2: false,
      verifyTls: false,
      proxy: "http://p/",
      caCerts: ["CA"],
      clientCert: { cert: "CERT", key: "KEY" },
    });
    assert.equal(cookies?.length, 1);
  });
  await t.step("nothing", () => {
    const options = remoteClientOptions(remote({}), read, { cookies: "absent" });
    assert.deepEqual(options, { http2: true });
  });
  const bad: [options: Record<string, string>, message: RegExp][] = [
    [{ "tls-client-cert-path": "cert" }, /must have both/],
    [{ "tls-client-key-path": "key" }, /must have both/],
    [{ "tls-ca-path": "absent" }, /names 'absent', which is not there/],
  ];
  for (const [options, message] of bad) {
    await t.step(
      JSON.stringify(options),
      () => assert.throws(() => remoteClientOptions(remote(options), read), message),
    );
  }
});
