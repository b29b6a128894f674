import assert from "node:assert/strict";
import { Digest } from "../../lib/base/mod.ts";
import { parseDockerReference, RegistryClient } from "../../lib/registry/mod.ts";
import { blobs, expected, FIXTURES, sha256 } from "./_chunked.ts";

interface HttpFacts {
  blobSize: number;
  requestedInclusive: [number, number][];
  sha256OfRequestedBytesConcatenated: string;
  cases: Record<string, string>;
}

/** What a recorded answer must lead to. */
interface Outcome {
  /** Whether all bytes come, or the whole blob has to be fetched. */
  ends: "parts" | "refused";
  /** First bytes of the ranges that are asked for after the recorded answer, without order. */
  again: number[];
}

const TLS_HANDSHAKE = 0x16;

const ALL: Outcome = { ends: "parts", again: [] };
const OUTCOMES: Record<string, Outcome> = {
  multipart: ALL,
  quoted: ALL,
  "unquoted-colon": ALL,
  reordered: ALL,
  "merged-first-two": ALL,
  hull: ALL,
  "last-missing": { ends: "parts", again: [68003] },
  cut: { ends: "parts", again: [66558, 68003] },
  "wrong-total": { ends: "refused", again: [] },
  // Nothing of that answer is taken; single ranges of the same server are, as they say what they are.
  "no-content-range": { ends: "parts", again: [38615, 63025, 65405, 68003] },
  // A small blob is read through; each part of it is checked by its own digest.
  "plain-200": ALL,
  unsatisfiable: { ends: "refused", again: [] },
  "first-only": { ends: "parts", again: [63025, 65405, 68003] },
};

/** Plays a recorded answer to the first request for a blob, and gives single ranges after that. */
class Player implements AsyncDisposable {
  readonly host: string;
  /** Values of `Range`, in order; empty for requests without. */
  readonly asked: string[] = [];
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #done: Promise<void>;
  readonly #recorded: Uint8Array;
  readonly #blob: Uint8Array;

  constructor(recorded: Uint8Array, blob: Uint8Array) {
    this.#recorded = recorded;
    this.#blob = blob;
    this.host = `127.0.0.1:${(this.#listener.addr as Deno.NetAddr).port}`;
    this.#done = this.#serve();
  }

  async #serve(): Promise<void> {
    for await (const connection of this.#listener) {
      using _connection = connection;
      const buffer = new Uint8Array(65536);
      let text = "";
      while (!text.includes("\r\n\r\n")) {
        const got = await connection.read(buffer);
        if (got === null) break;
        if (text === "" && buffer[0] === TLS_HANDSHAKE) break; // no TLS here
        text += new TextDecoder().decode(buffer.subarray(0, got));
      }
      if (text === "") continue;
      try {
        const answer = this.#answer(text);
        for (let at = 0; at < answer.length;) at += await connection.write(answer.subarray(at));
        await connection.closeWrite();
      } catch (error) {
        // A client that has seen enough hangs up.
        if (
          !(error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.ConnectionReset)
        ) {
          throw error;
        }
      }
    }
  }

  #answer(request: string): Uint8Array {
    const encode = (head: string, body: Uint8Array = new Uint8Array(0)) => {
      const text =
        `HTTP/1.1 ${head}\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`;
      const start = new TextEncoder().encode(text);
      const out = new Uint8Array(start.length + body.length);
      out.set(start);
      out.set(body, start.length);
      return out;
    };
    if (!request.includes("/blobs/")) return encode("200 OK");
    const range = /^range: (.*)$/im.exec(request)?.[1]?.trim() ?? "";
    this.asked.push(range);
    if (this.asked.length === 1) return this.#recorded;
    const match = /^bytes=(\d+)-(\d+)$/.exec(range);
    if (match === null) return encode("400 Bad Request");
    const [start, end] = [Number(match[1]), Number(match[2]) + 1];
    const place = `Content-Range: bytes ${start}-${end - 1}/${this.#blob.length}`;
    return encode(`206 Partial Content\r\n${place}`, this.#blob.subarray(start, end));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#done;
  }
}

Deno.test("Recorded answers to a request for several ranges", async (t) => {
  const facts: HttpFacts = JSON.parse(Deno.readTextFileSync(`${FIXTURES}http.expected.json`));
  const { layer } = expected("update-v2-new");
  const blob = blobs("update-v2-new").get(layer.digest)!;
  assert.equal(blob.length, facts.blobSize);
  const ranges = facts.requestedInclusive.map(([start, last]) => ({ start, end: last + 1 }));
  for (const [name, wanted] of Object.entries(facts.cases)) {
    await t.step(`${name}: ${wanted}`, async () => {
      const recorded = Deno.readFileSync(`${FIXTURES}http/${name}.http`);
      await using player = new Player(recorded, blob);
      using client = new RegistryClient({
        credentials: "none",
        tlsVerify: false,
        surroundings: { variable: () => undefined, uid: 0, root: "/nonexistent" },
        http: { backoff: 1 },
      });
      const repository = await client.repository(parseDockerReference(`${player.host}/a/b:t`));
      const found = new Uint8Array(blob.length);
      const write = (offset: number, piece: Uint8Array) => found.set(piece, offset);
      const ref = { digest: Digest.parse(layer.digest), size: layer.size };
      const outcome = OUTCOMES[name]!;
      const ends = await repository.ranges(ref, ranges, { sink: { write } });
      const asked = ranges.map(({ start, end }) => `${start}-${end - 1}`).join();
      assert.equal(player.asked[0], `bytes=${asked}`);
      const bytes = sha256(ranges.map(({ start, end }) => found.subarray(start, end)));
      if (ends === "parts") assert.equal(bytes, facts.sha256OfRequestedBytesConcatenated);
      assert.equal(ends, outcome.ends);
      const again = player.asked.slice(1).flatMap((text) =>
        [...text.matchAll(/(\d+)-/g)].map((match) => Number(match[1]))
      );
      assert.deepEqual([...new Set(again)].sort((a, b) => a - b), outcome.again);
    });
  }
});
