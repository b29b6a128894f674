import assert from "node:assert/strict";
import { HttpClient, HttpError } from "../../lib/http/mod.ts";

/** A server that answers each connection's requests with given bytes, whatever they ask for. */
class ScriptedServer implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #connections: Deno.TcpConn[] = [];
  readonly #done: Promise<void>;
  readonly heads: string[] = [];
  /** Connections so far. */
  count = 0;

  /** `answers[i]` are the answers on connection i, the last one of all later ones. */
  constructor(answers: readonly (readonly string[])[]) {
    this.#done = this.#serve(answers);
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${(this.#listener.addr as Deno.NetAddr).port}/a%20b?c=d`);
  }

  async #serve(answers: readonly (readonly string[])[]): Promise<void> {
    const running: Promise<void>[] = [];
    try {
      for await (const connection of this.#listener) {
        this.#connections.push(connection);
        running.push(this.#talk(connection, answers[this.count] ?? answers.at(-1)!));
        this.count++;
      }
    } finally {
      await Promise.all(running);
    }
  }

  async #talk(connection: Deno.TcpConn, answers: readonly string[]): Promise<void> {
    const buffer = new Uint8Array(65536);
    try {
      for (const answer of answers) {
        let head = "";
        while (!head.includes("\r\n\r\n")) {
          const got = await connection.read(buffer);
          if (got === null) return;
          head += new TextDecoder("latin1").decode(buffer.subarray(0, got));
        }
        this.heads.push(head);
        const bytes = Uint8Array.from(answer, (char) => char.charCodeAt(0));
        // In pieces, so that nothing depends on where they are cut.
        for (let at = 0; at < bytes.length; at += 7 + (at % 50)) {
          await connection.write(bytes.subarray(at, at + 7 + (at % 50)));
        }
      }
    } catch (error) {
      // The client has what it wants, or will not have any more.
      if (!(error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.BadResource)) {
        if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
      }
    }
    try {
      connection.close();
    } catch (error) {
      // Closed with the server.
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) {
      try {
        connection.close();
      } catch (error) {
        // It was over already.
        if (!(error instanceof Deno.errors.BadResource)) throw error;
      }
    }
    await this.#done.catch((error) => {
      // What a listener says when it is closed.
      if (!(error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted)) {
        throw error;
      }
    });
  }
}

const text = new TextDecoder("latin1");
const OK = "HTTP/1.1 200 OK\r\n";

Deno.test("HttpClient reads bodies however their end is told", async (t) => {
  const cases: Record<string, string> = {
    "length": `${OK}Content-Length: 5\r\n\r\nhello`,
    "no space and tabs": `${OK}content-length:\t5 \r\n\r\nhello`,
    "chunks": `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n003;x=y\r\nllo\r\n0\r\n\r\n`,
    "chunks and trailers":
      `${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n`,
    "close": `${OK}\r\nhello`,
    "HTTP/1.0": `HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello`,
    "early hints": `HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${OK}Content-Length: 5\r\n\r\nhello`,
    "bytes of all kinds in a header":
      `${OK}X-Name: \xe2\x80\x93\x9f\xff\r\nContent-Length: 5\r\n\r\nhello`,
    "no reason": `HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello`,
  };
  for (const [name, answer] of Object.entries(cases)) {
    await t.step(name, async () => {
      await using server = new ScriptedServer([[answer]]);
      using client = new HttpClient({ retries: 0, userAgent: "test" });
      const { bytes } = await client.get(server.url);
      assert.equal(text.decode(bytes), "hello");
      const [line, ...headers] = server.heads[0]!.split("\r\n");
      assert.equal(line, "GET /a%20b?c=d HTTP/1.1");
      assert.ok(headers.includes(`host: ${server.url.host}`));
      assert.ok(headers.includes("user-agent: test"));
    });
  }
  await t.step("a large body", async () => {
    const body = "0123456789".repeat(50_000);
    const chunked = body.match(/.{1,70000}/g)!
      .map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join("") + "0\r\n\r\n";
    for (
      const answer of [
        `${OK}Content-Length: ${body.length}\r\n\r\n${body}`,
        `${OK}Transfer-Encoding: chunked\r\n\r\n${chunked}`,
      ]
    ) {
      await using server = new ScriptedServer([[answer]]);
      using client = new HttpClient({ retries: 0 });
      const { bytes } = await client.get(server.url, { maxSize: 1e6 });
      assert.equal(text.decode(bytes), body);
    }
  });
});

Deno.test("HttpClient refuses answers that are none", async (t) => {
  const cases: Record<string, string> = {
    "not HTTP": "SSH-2.0-x\r\n\r\n",
    "another version": "HTTP/2.0 200 OK\r\n\r\n",
    "no colon": `${OK}nonsense\r\n\r\n`,
    "a space in a name": `${OK}a b: c\r\n\r\n`,
    "a head without an end": OK + "a: b\r\n".repeat(20_000),
    "thousands of headers": `${OK}${
      Array.from({ length: 10_000 }, (_, i) => `${i.toString(36)}:\r\n`).join("")
    }\r\n`,
    "only interim answers": "HTTP/1.1 100 Continue\r\n\r\n".repeat(50),
    "lengths that differ": `${OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`,
    "a length that is none": `${OK}Content-Length: +5\r\n\r\nhello`,
    "length and chunks": `${OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    "another coding": `${OK}Transfer-Encoding: gzip\r\n\r\nhello`,
    "a chunk without size": `${OK}Transfer-Encoding: chunked\r\n\r\nx\r\n`,
    "a chunk without end": `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n`,
    "a size without end": `${OK}Transfer-Encoding: chunked\r\n\r\n${"0".repeat(200_000)}`,
    "trailers without end": `${OK}Transfer-Encoding: chunked\r\n\r\n0\r\n${"a: b\r\n".repeat(500)}`,
    "chunks that stop": `${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhel`,
    "a body that stops": `${OK}Content-Length: 50\r\n\r\nhello`,
    "nothing": "",
  };
  for (const [name, answer] of Object.entries(cases)) {
    await t.step(name, async () => {
      await using server = new ScriptedServer([[answer]]);
      using client = new HttpClient({ retries: 1, backoff: 1 });
      await assert.rejects(client.get(server.url, { maxSize: 1e6 }), HttpError);
    });
  }
});

Deno.test("HttpClient keeps connections, and survives that servers do not", async (t) => {
  const answer = `${OK}Content-Length: 5\r\n\r\nhello`;
  const get = async (client: HttpClient, server: ScriptedServer) =>
    assert.equal(text.decode((await client.get(server.url)).bytes), "hello");
  await t.step("one connection", async () => {
    await using server = new ScriptedServer([[answer, answer, answer]]);
    using client = new HttpClient({ retries: 0 });
    for (let i = 0; i < 3; i++) await get(client, server);
    assert.equal(server.count, 1);
  });
  await t.step("closed after each", async () => {
    await using server = new ScriptedServer([[answer]]);
    using client = new HttpClient({ retries: 0 });
    for (let i = 0; i < 3; i++) await get(client, server);
    assert.equal(server.count, 3);
  });
  await t.step("announced among other things", async () => {
    const last = `${OK}Content-Length: 5\r\nConnection: x, Close\r\n\r\nhello`;
    await using server = new ScriptedServer([[last, answer], [answer]]);
    using client = new HttpClient({ retries: 0 });
    for (let i = 0; i < 2; i++) await get(client, server);
    assert.equal(server.count, 2);
  });
  await t.step("more than was asked for", async () => {
    await using server = new ScriptedServer([[answer + answer, answer], [answer]]);
    using client = new HttpClient({ retries: 0 });
    await get(client, server);
    // Until the rest has come: it belongs to no request.
    await new Promise((resolve) => setTimeout(resolve, 50));
    await get(client, server);
  });
});

Deno.test("HttpClient shows nothing of a server's words that terminals act on", async () => {
  await using server = new ScriptedServer([["HTTP/1.1 404 \x1b[31mNo\x9bt\r\n\r\n"]]);
  using client = new HttpClient({ retries: 0 });
  await assert.rejects(client.get(server.url), /HTTP status client error \(404 \?\[31mNo\?t\) for/);
});

Deno.test("long bodies come in borrowed pieces, and nothing of the next answer with them", async () => {
  const long = Array.from({ length: 300_000 }, (_, i) => String.fromCharCode(i * 7 % 251)).join("");
  const chunk = `${long.length.toString(16)}\r\n${long}\r\n`;
  const answers = [
    `${OK}Content-Length: ${long.length}\r\n\r\n${long}`,
    `${OK}Transfer-Encoding: chunked\r\n\r\n${chunk}3\r\nabc\r\n0\r\n\r\n`,
    `${OK}Content-Length: 5\r\n\r\nhello`,
  ];
  await using server = new ScriptedServer([answers]);
  using client = new HttpClient({ retries: 0 });
  const got: string[] = [];
  for (const _ of answers) {
    let body = "";
    await client.run(server.url, {
      received: 0,
      worthResuming: false,
      request: () => ({ headers: { "accept-encoding": "identity" } }),
      accepts: (status) => status === 200,
      async receive(response) {
        for await (const piece of response.pieces!()) body += text.decode(piece);
      },
    });
    got.push(body);
  }
  const expected = text.decode(Uint8Array.from(long, (char) => char.charCodeAt(0)));
  assert.ok(got[0] === expected);
  assert.ok(got[1] === `${expected}abc`);
  assert.equal(got[2], "hello");
  assert.equal(server.count, 1);
});
