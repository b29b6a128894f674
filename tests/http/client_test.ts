import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { FormatError, InvalidNameError } from "../../lib/base/mod.ts";
import {
  type BodyReceiver,
  HttpClient,
  type HttpClientOptions,
  HttpError,
  parseUrl,
} from "../../lib/http/mod.ts";
import {
  type FaultReply,
  type FaultRequest,
  FaultServer,
  plainReply,
} from "../helpers/fault_server.ts";

const BIG = new Uint8Array(3 * 1024 * 1024 + 17).map((_, index) => (index * 7919) >>> 5);

/** Keeps all pieces, and how often it had to begin. */
class Keeper implements BodyReceiver<Uint8Array> {
  begun = 0;
  dropped = 0;

  whole(bytes: Uint8Array): Uint8Array {
    this.begun++;
    return bytes;
  }

  open() {
    this.begun++;
    let pieces: Uint8Array[] = [];
    return {
      write: (piece: Uint8Array) => void pieces.push(piece.slice()),
      finish: () => new Uint8Array(Buffer.concat(pieces)),
      [Symbol.dispose]: () => {
        pieces = [];
        this.dropped++;
      },
    };
  }
}

async function withServer(
  respond: (request: FaultRequest) => FaultReply | Promise<FaultReply>,
  options: HttpClientOptions,
  work: (server: FaultServer, client: HttpClient) => Promise<void>,
): Promise<void> {
  await using server = new FaultServer(respond);
  using client = new HttpClient({ backoff: 1, ...options });
  await work(server, client);
}

Deno.test("HttpClient.get() answers with the document and what validates it", async () => {
  const body = new TextEncoder().encode("content");
  await withServer(
    (request) => plainReply(request, body),
    { userAgent: "cfs/1" },
    async (server, client) => {
      const url = new URL(server.url + "/a");
      const first = await client.get(url);
      assert.deepEqual(first.bytes, body);
      const again = await client.get(url, { etag: first.etag });
      assert.equal(again.bytes, undefined);
      assert.equal(again.etag, first.etag);
      assert.equal(server.requests[0]!.headers.get("user-agent"), "cfs/1");
      assert.equal(server.requests[0]!.headers.get("accept-encoding"), "identity");
    },
  );
});

Deno.test("HttpClient.get() reports statuses", async (t) => {
  const cases: [status: number, requests: number, code: string, message: RegExp][] = [
    [
      404,
      1,
      "CFS_NOT_FOUND",
      /^HTTP status client error \(404 Not Found\) for url \(http:\/\/127.0.0.1:\d+\/x\?…\)$/,
    ],
    [403, 1, "CFS_FAILED", /client error \(403/],
    [503, 3, "CFS_FAILED", /server error \(503 Service Unavailable\)/],
    [429, 3, "CFS_FAILED", /client error \(429/],
    [206, 1, "CFS_FAILED", /unexpected \(206/],
    [304, 1, "CFS_FAILED", /unexpected \(304/],
  ];
  for (const [status, requests, code, message] of cases) {
    await t.step(
      String(status),
      () =>
        withServer(() => ({ status }), { retries: 2 }, async (server, client) => {
          const url = new URL(`http://user:secret@${server.host}/x?token=secret`);
          await assert.rejects(client.get(url), (error) => {
            assert.ok(error instanceof HttpError);
            assert.equal(error.status, status);
            assert.equal(error.code, code);
            assert.match(error.message, message);
            assert.ok(!JSON.stringify(error).includes("secret"));
            return true;
          });
          assert.equal(server.requests.length, requests);
        }),
    );
  }
});

Deno.test("HttpClient.get() tries again after troubles that pass", async (t) => {
  const body = new TextEncoder().encode("content");
  const troubles: Record<string, FaultReply> = {
    "503": { status: 503 },
    "503 with Retry-After": { status: 503, headers: { "retry-after": "0" } },
    "500": { status: 500 },
    "connection closed": { drop: true },
    "short body": { body, cut: 3 },
    "longer Content-Length": { body, length: 100 },
    "halted": { body, halt: 2 },
    "halted before the body": { body, halt: 0 },
  };
  for (const [name, trouble] of Object.entries(troubles)) {
    await t.step(name, () =>
      withServer(
        ({ seen }) => seen < 2 ? trouble : { body },
        { stall: 100 },
        async (server, client) => {
          const { bytes } = await client.get(new URL(server.url));
          assert.deepEqual(bytes, body);
          assert.equal(server.requests.length, 3);
        },
      ));
  }
});

Deno.test("HttpClient.get() waits as long as Retry-After says", () =>
  withServer(
    ({ seen }) => seen === 0 ? { status: 503, headers: { "retry-after": "1" } } : {},
    {},
    async (server, client) => {
      const start = performance.now();
      await client.get(new URL(server.url));
      assert.ok(performance.now() - start >= 990);
    },
  ));

Deno.test("HttpClient.get() keeps limits", async (t) => {
  const body = new Uint8Array(1000);
  for (const [name, reply] of Object.entries({ declared: { body }, lying: { length: 1e12 } })) {
    await t.step(name, () =>
      withServer(() => reply, {}, async (server, client) => {
        const document = client.get(new URL(server.url), { maxSize: 999 });
        await assert.rejects(document, /larger than 999 bytes/);
        assert.equal(server.requests.length, 1);
      }));
  }
  await t.step("undeclared", async () => {
    const pieces = () => ReadableStream.from([body, body, body]);
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => new Response(pieces()),
    );
    using client = new HttpClient({ backoff: 1 });
    const url = new URL(`http://127.0.0.1:${server.addr.port}`);
    await assert.rejects(client.get(url, { maxSize: 2999 }), /larger than 2999 bytes/);
    assert.equal((await client.get(url, { maxSize: 3000 })).bytes?.length, 3000);
  });
});

Deno.test("HttpClient.download() goes on where a body was cut", async (t) => {
  interface Case {
    respond: (request: FaultRequest) => FaultReply;
    ranges: (string | null)[];
    begun: number;
  }
  const mib = 1024 * 1024;
  const weak = (reply: FaultReply): FaultReply => ({ ...reply, headers: { etag: 'W/"a"' } });
  const cutFirst = (cut: number) => (request: FaultRequest): FaultReply => ({
    ...plainReply(request, BIG),
    ...(request.seen === 0 ? { cut } : {}),
  });
  const cases: Record<string, Case> = {
    "after 2 MiB": { respond: cutFirst(2 * mib), ranges: [null, `bytes=${2 * mib}-`], begun: 1 },
    "early": { respond: cutFirst(1000), ranges: [null, null], begun: 2 },
    "with a weak tag": {
      respond: (request) => weak(cutFirst(2 * mib)(request)),
      ranges: [null, null],
      begun: 2,
    },
    "and was changed": {
      respond: (request) =>
        request.seen === 0 ? cutFirst(2 * mib)(request) : plainReply(request, BIG.toReversed()),
      ranges: [null, `bytes=${2 * mib}-`],
      begun: 2,
    },
    "and the server refuses": {
      respond: (request) => request.seen === 1 ? { status: 416 } : cutFirst(2 * mib)(request),
      ranges: [null, `bytes=${2 * mib}-`, null],
      begun: 2,
    },
    "and another part comes": {
      respond: (request) => {
        const reply = cutFirst(2 * mib)(request);
        if (request.seen !== 1) return reply;
        const range = `bytes 5-${BIG.length - 1}/${BIG.length}`;
        return { ...reply, headers: { ...reply.headers, "content-range": range } };
      },
      ranges: [null, `bytes=${2 * mib}-`, null],
      begun: 2,
    },
    "and another size comes": {
      respond: (request) => {
        const reply = cutFirst(2 * mib)(request);
        if (request.seen !== 1) return reply;
        const range = `bytes ${2 * mib}-${BIG.length}/${BIG.length + 1}`;
        return { ...reply, headers: { ...reply.headers, "content-range": range } };
      },
      ranges: [null, `bytes=${2 * mib}-`, null],
      begun: 2,
    },
  };
  for (const [name, { respond, ranges, begun }] of Object.entries(cases)) {
    await t.step(name, () =>
      withServer(respond, { retries: 2 }, async (server, client) => {
        const keeper = new Keeper();
        const got = await client.download(new URL(server.url), keeper);
        const wanted = name === "and was changed" ? BIG.toReversed() : BIG;
        assert.ok(Buffer.from(got).equals(wanted));
        assert.deepEqual(server.requests.map(({ headers }) => headers.get("range")), ranges);
        assert.equal(keeper.begun, begun);
      }));
  }
});

Deno.test("HttpClient.download() hands over what the receiver throws, once", () =>
  withServer(() => ({ body: BIG }), {}, async (server, client) => {
    let dropped = 0;
    const receiver: BodyReceiver<void> = {
      whole: () => {},
      open: () => ({
        write: () => {
          throw new FormatError("test", "no");
        },
        finish: () => {},
        [Symbol.dispose]: () => void dropped++,
      }),
    };
    await assert.rejects(client.download(new URL(server.url), receiver), FormatError);
    assert.equal(server.requests.length, 1);
    assert.equal(dropped, 1);
  }));

Deno.test("HttpClient gives up when aborted", () =>
  withServer(() => ({ body: BIG, halt: 10 }), {}, async (server, client) => {
    const signal = AbortSignal.timeout(50);
    const download = client.download(new URL(server.url), new Keeper(), { signal });
    await assert.rejects(download, { name: "TimeoutError" });
    assert.equal(server.requests.length, 1);
  }));

Deno.test("HttpClient bounds the requests to a host", () =>
  withServer(() => ({ delay: 10 }), { requests: 3 }, async (server, client) => {
    const url = new URL(server.url);
    await Promise.all(Array.from({ length: 20 }, () => client.get(url)));
    assert.equal(server.requests.length, 20);
    assert.equal(server.most, 3);
  }));

Deno.test("HttpClient follows redirects and keeps secrets to their host", async (t) => {
  await t.step("to another host", async () => {
    await using other = new FaultServer(() => ({ body: new Uint8Array(3) }));
    const cookies = [{
      domain: "localhost",
      subdomains: false,
      path: "/",
      secure: false,
      expires: 0,
      name: "session",
      value: "secret",
    }];
    await withServer(
      ({ path }) => ({
        status: 302,
        headers: { location: path === "/a" ? "/b" : other.url + "/c" },
      }),
      { cookies },
      async (server, client) => {
        const port = server.host.split(":")[1];
        const url = new URL(`http://us%40er:pa%3Ass@localhost:${port}/a`);
        assert.equal((await client.get(url)).bytes?.length, 3);
        for (const { headers } of server.requests) {
          assert.equal(headers.get("authorization"), "Basic " + btoa("us@er:pa:ss"));
          assert.equal(headers.get("cookie"), "session=secret");
        }
        assert.deepEqual(server.requests.map(({ path }) => path), ["/a", "/b"]);
        assert.equal(other.requests[0]!.headers.get("authorization"), null);
        assert.equal(other.requests[0]!.headers.get("cookie"), null);
      },
    );
  });
  const refused: [location: string, message: RegExp][] = [
    ["/loop", /Too many redirects/],
    ["file:///etc/passwd", /no HTTP URL/],
    ["http://[", /no HTTP URL/],
  ];
  for (const [location, message] of refused) {
    await t.step(
      location,
      () =>
        withServer(() => ({ status: 301, headers: { location } }), {}, async (server, client) => {
          await assert.rejects(client.get(new URL(server.url)), message);
          assert.equal(server.requests.length, location === "/loop" ? 11 : 1);
        }),
    );
  }
});

Deno.test("parseUrl() takes HTTP URLs only", () => {
  assert.equal(parseUrl("https://h/p").href, "https://h/p");
  for (const text of ["", "repo", "/repo", "ftp://h/"]) {
    assert.throws(() => parseUrl(text), InvalidNameError);
  }
});

Deno.test("a server that is not there is an HttpError", async (t) => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  const cases: [url: string, message: RegExp][] = [
    [`http://u:secret@127.0.0.1:${port}/x?secret`, /Connection refused/],
    ["http://nosuch.invalid/x?secret", /dns error/],
  ];
  for (const [url, message] of cases) {
    await t.step(new URL(url).hostname, async () => {
      using client = new HttpClient({ retries: 1, backoff: 1 });
      await assert.rejects(client.get(new URL(url)), (error) => {
        assert.ok(error instanceof HttpError);
        assert.equal(error.status, undefined);
        assert.match(error.message, /^Request failed: .* for url \(http:\/\/[^?@]*\/x\?…\)$/);
        assert.match(error.message, message);
        assert.ok(!Deno.inspect(error).includes("secret@") && !error.message.includes("?secret"));
        assert.equal(error.cause, undefined);
        return true;
      });
    });
  }
});

Deno.test("HttpClient goes through a proxy, which alone gets its password", () =>
  withServer(() => ({ body: new Uint8Array(5) }), {}, async (server) => {
    using client = new HttpClient({ proxy: `http://user:p%40ss@${server.host}` });
    const { bytes } = await client.get(new URL("http://repository.invalid/config"));
    assert.equal(bytes?.length, 5);
    const [request] = server.requests;
    assert.equal(request!.path, "http://repository.invalid/config");
    assert.equal(request!.headers.get("proxy-authorization"), "Basic " + btoa("user:p@ss"));
    assert.equal(request!.headers.get("authorization"), null);
  }));

Deno.test("a server that takes back what it gave is given up", async () => {
  const body = new Uint8Array(3 * 2 ** 20);
  await using server = new FaultServer((request) => {
    if (request.headers.has("range")) {
      return { status: 206, headers: { "content-range": `bytes 0-9/${body.length}` }, length: 10 };
    }
    return { headers: { etag: '"x"' }, body, cut: 2 * 2 ** 20 };
  });
  using client = new HttpClient({ retries: 3, backoff: 1 });
  await assert.rejects(client.get(new URL(server.url), { maxSize: body.length }), HttpError);
  assert.ok(server.requests.length < 12, `${server.requests.length} requests`);
});
