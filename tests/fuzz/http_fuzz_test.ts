import assert from "node:assert/strict";
import { HttpClient, HttpError } from "../../lib/http/mod.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

const ROUNDS = 2000;
const LANES = 8;
const MAX_SIZE = 1000;
const SLOWEST = 5000;

const ANSWERS: readonly string[] = [
  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n003;x=y\r\nllo\r\n0\r\nA: b\r\n\r\n",
  "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.0 404 Not Found\r\nContent-Length: 3\r\n\r\nabc",
  "HTTP/1.1 301 Moved\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n",
  'HTTP/1.1 206 Part\r\nContent-Range: bytes 0-4/5\r\nETag: "x"\r\nContent-Length: 5\r\n\r\nhello',
  "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nConnection: close\r\n\r\nlater",
];

/** Answers a request for `/N` with answer N, whole connections at a time. */
class Answering implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #answers: readonly Uint8Array[];
  readonly #running = new Set<Promise<void>>();
  readonly #done: Promise<void>;

  constructor(answers: readonly Uint8Array[]) {
    this.#answers = answers;
    this.#done = this.#accept();
  }

  get base(): string {
    return `http://127.0.0.1:${(this.#listener.addr as Deno.NetAddr).port}/`;
  }

  async #accept(): Promise<void> {
    try {
      for await (const connection of this.#listener) {
        const running = this.#answer(connection).finally(() => this.#running.delete(running));
        this.#running.add(running);
      }
    } catch (error) {
      // What a listener says when it is closed.
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }

  async #answer(connection: Deno.TcpConn): Promise<void> {
    using _connection = connection;
    const buffer = new Uint8Array(4096);
    const got = await connection.read(buffer);
    const number = /^GET \/(\d+)/.exec(new TextDecoder().decode(buffer.subarray(0, got ?? 0)))?.[1];
    const answer = this.#answers[Number(number ?? 0)]!;
    // The client may have left already.
    if (answer.length > 0) await connection.write(answer).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#done;
    await Promise.all(this.#running);
  }
}

Deno.test(`HttpClient takes any answer for what it is, or refuses it (seed ${seed()})`, async () => {
  const rng = new Rng(seed());
  const encoder = new TextEncoder();
  const answers = Array.from(
    { length: ROUNDS },
    () => mutate(encoder.encode(rng.pick(ANSWERS)), rng),
  );
  await using server = new Answering(answers);
  using client = new HttpClient({ retries: 0, stall: SLOWEST });
  let next = 0;
  let taken = 0;
  const lane = async () => {
    for (let number = next++; number < ROUNDS; number = next++) {
      const started = performance.now();
      try {
        const { bytes } = await client.get(new URL(server.base + number), { maxSize: MAX_SIZE });
        assert.ok(bytes!.length <= MAX_SIZE);
        taken++;
      } catch (error) {
        const shown = new TextDecoder("latin1").decode(answers[number]);
        assert.ok(error instanceof HttpError, `${JSON.stringify(shown)}: ${error}`);
        // deno-lint-ignore no-control-regex
        assert.doesNotMatch(error.message, /[\x00-\x1f\x7f-\x9f]/);
      }
      assert.ok(performance.now() - started < 2 * SLOWEST);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  assert.ok(taken > ROUNDS / 100, `${taken} were taken`);
});
