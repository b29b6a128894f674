import assert from "node:assert/strict";
import { HttpClient } from "../../lib/http/mod.ts";
import { environmentProxy } from "../../lib/http/environment_proxy.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";

const cases: [url: string, variables: Record<string, string>, proxy: string | undefined][] = [
  ["https://h.io/", {}, undefined],
  ["https://h.io/", { HTTPS_PROXY: "http://p:3128" }, "http://p:3128/"],
  ["https://h.io/", { HTTP_PROXY: "http://p:3128" }, undefined],
  ["http://h.io/", { HTTP_PROXY: "http://p:3128" }, "http://p:3128/"],
  ["https://h.io/", { https_proxy: "p:3128", HTTPS_PROXY: "q" }, "http://p:3128/"],
  ["https://h.io/", { ALL_PROXY: "http://u:s@p" }, "http://u:s@p/"],
  ["https://h.io/", { HTTPS_PROXY: "socks5://p:1", NO_PROXY: "h.io" }, undefined],
  ["https://h.io/", { HTTPS_PROXY: "p", NO_PROXY: "*" }, undefined],
  ["https://h.io/", { HTTPS_PROXY: "p", NO_PROXY: "x, H.io" }, undefined],
  ["https://a.h.io/", { HTTPS_PROXY: "p", NO_PROXY: "h.io" }, undefined],
  ["https://a.h.io/", { HTTPS_PROXY: "p", no_proxy: ".h.io" }, undefined],
  ["https://bh.io/", { HTTPS_PROXY: "p", NO_PROXY: "h.io" }, "http://p/"],
  ["https://h.io:5000/", { HTTPS_PROXY: "p", NO_PROXY: "h.io:5000" }, undefined],
  ["https://h.io/", { HTTPS_PROXY: "p", NO_PROXY: "h.io:5000" }, "http://p/"],
  ["https://h.io/", { HTTPS_PROXY: "p", NO_PROXY: "h.io:443" }, undefined],
  ["https://127.0.0.1:1/", { HTTPS_PROXY: "p", NO_PROXY: "127.0.0.1" }, undefined],
  ["https://[::1]:1/", { HTTPS_PROXY: "p", NO_PROXY: "::1" }, undefined],
  ["https://[::1]:1/", { HTTPS_PROXY: "p", NO_PROXY: "[::1]:1" }, undefined],
  ["https://[::1]:1/", { HTTPS_PROXY: "p", NO_PROXY: "[::1]:2" }, "http://p/"],
];

Deno.test("environmentProxy() finds the proxy for a URL", async (t) => {
  for (const [url, variables, proxy] of cases) {
    await t.step(`${url} ${JSON.stringify(variables)}`, () => {
      const found = environmentProxy(new URL(url), (name) => variables[name]);
      assert.equal(found?.href, proxy);
    });
  }
});

Deno.test("environmentProxy() refuses proxies that cannot be used, and goes past none", () => {
  const of = (HTTPS_PROXY: string) =>
    environmentProxy(new URL("https://h.io/"), (name) => ({ HTTPS_PROXY })[name]);
  for (const text of ["socks5://u:secret@p:1", "https://u:secret@p", "http://["]) {
    assert.throws(() => of(text), (error: Error & { code?: string }) => {
      assert.equal(error.code, "CFS_UNSUPPORTED");
      assert.match(
        error.message,
        /^Cannot use a proxy (of the kind (socks5|https):|that is no URL)/,
      );
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  }
});

/** A proxy that only connects; what it was asked for. */
class Tunnels implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #answer: string;
  readonly #target: number;
  readonly #running: Promise<void>;
  readonly #open = new Set<Deno.Conn>();
  readonly asked: string[] = [];

  constructor(target: number, answer: string) {
    this.#target = target;
    this.#answer = answer;
    this.#running = this.#accept();
  }

  get port(): number {
    return (this.#listener.addr as Deno.NetAddr).port;
  }

  async #accept(): Promise<void> {
    const served: Promise<void>[] = [];
    for await (const connection of this.#listener) served.push(this.#serve(connection));
    await Promise.all(served);
  }

  async #serve(connection: Deno.Conn): Promise<void> {
    this.#open.add(connection);
    const buffer = new Uint8Array(4096);
    const got = await connection.read(buffer);
    this.asked.push(new TextDecoder().decode(buffer.subarray(0, got ?? 0)));
    await connection.write(new TextEncoder().encode(this.#answer));
    if (!/ 200 /.test(this.#answer)) return;
    const other = await Deno.connect({ hostname: "127.0.0.1", port: this.#target });
    this.#open.add(other);
    await Promise.allSettled([
      connection.readable.pipeTo(other.writable),
      other.readable.pipeTo(connection.writable),
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const one of this.#open) {
      try {
        one.close();
      } catch {
        // It was closed by what went through it.
      }
    }
    await this.#running;
  }
}

/** A certificate that nobody trusts, with its key. */
function makeCertificate(dir: TempDir): { key: string; cert: string } {
  const { success } = new Deno.Command(tool("openssl"), {
    args: [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
      ...["-keyout", dir.join("key"), "-out", dir.join("cert"), "-subj", "/CN=somebody"],
    ],
    stderr: "null",
  }).outputSync();
  assert.ok(success);
  return {
    key: Deno.readTextFileSync(dir.join("key")),
    cert: Deno.readTextFileSync(dir.join("cert")),
  };
}

testWith({
  name: "what is not verified goes through proxies, too",
  needs: [needTool("openssl")],
  async fn(t) {
    using dir = new TempDir();
    const server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      ...makeCertificate(dir),
      onListen() {},
    }, async (request) => new Response(`${request.method} ${await request.text()}`));
    const answers: [answer: string, fails?: RegExp][] = [
      ["HTTP/1.1 200 OK\r\n\r\n"],
      ["HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n", /The proxy answers with status 407/],
    ];
    for (const [answer, fails] of answers) {
      await t.step(answer.split("\r")[0]!, async () => {
        await using tunnels = new Tunnels(server.addr.port, answer);
        using client = new HttpClient({
          verifyTls: false,
          proxy: `http://user:p%40ss@127.0.0.1:${tunnels.port}`,
          retries: 0,
        });
        const url = new URL("https://registry.invalid:5000/x");
        const work = client.request(url, { method: "PUT", body: "content" });
        if (fails === undefined) {
          assert.equal(new TextDecoder().decode((await work).bytes), "PUT content");
        } else await assert.rejects(work, fails);
        assert.match(tunnels.asked[0]!, /^CONNECT registry\.invalid:5000 HTTP\/1\.1\r\n/);
        const login = `proxy-authorization: Basic ${btoa("user:p@ss")}`;
        assert.ok(tunnels.asked[0]!.toLowerCase().includes(login.toLowerCase()));
      });
    }
    await server.shutdown();
  },
});

Deno.test("a proxy that says nothing after it has connected is given up", async () => {
  const silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const closed = Promise.withResolvers<void>();
  const target = (async () => {
    using connection = await silent.accept();
    // Until the client closes it.
    while (await connection.read(new Uint8Array(4096)).catch(() => null) !== null);
    closed.resolve();
  })();
  {
    await using tunnels = new Tunnels(
      (silent.addr as Deno.NetAddr).port,
      "HTTP/1.1 200 OK\r\n\r\n",
    );
    const proxy = `http://127.0.0.1:${tunnels.port}`;
    using client = new HttpClient({ verifyTls: false, proxy, retries: 0, stall: 3000 });
    await assert.rejects(client.get(new URL("https://registry.invalid/")), /no data/);
    await closed.promise;
  }
  silent.close();
  await target;
});

testWith({
  name: "bodies that are not verified are asked for again when they were cut off",
  needs: [needTool("openssl")],
  async fn(t) {
    using dir = new TempDir();
    const { key, cert } = makeCertificate(dir);
    const cuts = [
      "HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\nbeginning",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    ];
    const good = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nall";
    for (const cut of cuts) {
      await t.step(cut.split("\r\n")[1]!, async () => {
        using listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, key, cert });
        const serving = (async () => {
          for (const answer of [cut, good]) {
            using connection = await listener.accept();
            await connection.read(new Uint8Array(4096));
            await connection.write(new TextEncoder().encode(answer));
            // So that what was written arrives before the end.
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
        })();
        using client = new HttpClient({ verifyTls: false, retries: 1, backoff: 1 });
        const { port } = listener.addr as Deno.NetAddr;
        const { bytes } = await client.get(new URL(`https://127.0.0.1:${port}/`));
        assert.equal(new TextDecoder().decode(bytes), "all");
        await serving;
      });
    }
  },
});

Deno.test("what is not verified does not go past a proxy of another kind", async () => {
  using client = new HttpClient({ verifyTls: false, proxy: "https://u:secret@127.0.0.1:1" });
  await assert.rejects(client.get(new URL("https://registry.invalid/")), {
    code: "CFS_UNSUPPORTED",
    message: "Cannot use a proxy of the kind https: for servers that are not verified",
  });
});
