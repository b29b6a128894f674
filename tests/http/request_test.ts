import assert from "node:assert/strict";
import { HttpClient, HttpError, type RequestOptions } from "../../lib/http/mod.ts";
import { RateLimit } from "../../lib/http/limit.ts";
import { type FaultReply, type FaultRequest, FaultServer } from "../helpers/fault_server.ts";

const BODY = new TextEncoder().encode("sent");

const cases: {
  name: string;
  options: RequestOptions;
  answer: (request: FaultRequest) => FaultReply;
  status?: number;
  fails?: RegExp;
  asked: [method: string, path: string, body: string][];
}[] = [
  {
    name: "a body",
    options: { method: "PUT", body: BODY, headers: { "content-type": "a/b" } },
    answer: ({ headers }) => ({ status: headers.get("content-type") === "a/b" ? 201 : 400 }),
    status: 201,
    asked: [["PUT", "/x", "sent"]],
  },
  {
    name: "text, and any status",
    options: { method: "POST", body: "text" },
    answer: () => ({ status: 409, body: BODY }),
    status: 409,
    asked: [["POST", "/x", "text"]],
  },
  {
    name: "no body although a length is announced",
    options: { method: "HEAD", maxSize: 10 },
    answer: () => ({ length: 1_000_000 }),
    status: 200,
    asked: [["HEAD", "/x", ""]],
  },
  {
    name: "a passing trouble, with the body once more",
    options: { method: "PATCH", body: BODY },
    answer: ({ seen }) => ({ status: seen === 0 ? 503 : 202 }),
    status: 202,
    asked: [["PATCH", "/x", "sent"], ["PATCH", "/x", "sent"]],
  },
  {
    name: "a passing trouble, once",
    options: { method: "PATCH", body: BODY, once: true },
    answer: () => ({ status: 503 }),
    fails: /server error \(503/,
    asked: [["PATCH", "/x", "sent"]],
  },
  {
    name: "a passing trouble that counts as an answer",
    options: { statuses: [503] },
    answer: () => ({ status: 503 }),
    status: 503,
    asked: [["GET", "/x", ""]],
  },
  {
    name: "a status that is no answer",
    options: { statuses: [200] },
    answer: () => ({ status: 201 }),
    fails: /unexpected \(201/,
    asked: [["GET", "/x", ""]],
  },
  {
    name: "another place for the same request",
    options: { method: "PUT", body: BODY },
    answer: ({ path }) => path === "/x" ? { status: 308, headers: { location: "/y" } } : {},
    status: 200,
    asked: [["PUT", "/x", "sent"], ["PUT", "/y", "sent"]],
  },
  {
    name: "another place for the answer",
    options: { method: "POST", body: BODY },
    answer: ({ path }) => path === "/x" ? { status: 303, headers: { location: "/y" } } : {},
    status: 200,
    asked: [["POST", "/x", "sent"], ["GET", "/y", ""]],
  },
  {
    name: "another place for who knows what",
    options: { method: "POST", body: BODY },
    answer: () => ({ status: 302, headers: { location: "/y" } }),
    fails: /A POST request was redirected/,
    asked: [["POST", "/x", "sent"]],
  },
  {
    name: "too much",
    options: { maxSize: 3 },
    answer: () => ({ body: BODY }),
    fails: /larger than 3 bytes/,
    asked: [["GET", "/x", ""]],
  },
];

Deno.test("HttpClient.request() asks, and tells what was answered", async (t) => {
  for (const { name, options, answer, status, fails, asked } of cases) {
    await t.step(name, async () => {
      await using server = new FaultServer(answer);
      using client = new HttpClient({ backoff: 1, retries: 2 });
      const work = client.request(new URL(server.url + "/x"), options);
      if (fails !== undefined) await assert.rejects(work, { name: "HttpError", message: fails });
      else assert.equal((await work).status, status);
      const decoder = new TextDecoder();
      const shown = server.requests.map((one) => [one.method, one.path, decoder.decode(one.body)]);
      assert.deepEqual(shown, asked);
    });
  }
});

Deno.test("errors have the beginning of the answer, and do not show it", async () => {
  const body = new Uint8Array(100_000).fill(0x61);
  await using server = new FaultServer(() => ({ status: 400, body }));
  using client = new HttpClient();
  await assert.rejects(
    client.request(new URL(server.url), { statuses: [200] }),
    (error: unknown) => {
      assert.ok(error instanceof HttpError);
      assert.equal(error.body.length, 16 * 1024);
      assert.ok(!Deno.inspect(error).includes("aaa") && !JSON.stringify(error).includes("aaa"));
      return true;
    },
  );
});

Deno.test("authorization does not follow to another origin, nor back", async () => {
  const seen: (string | null)[] = [];
  await using server: FaultServer = new FaultServer((request) => {
    seen.push(request.headers.get("authorization"));
    const port = server.host.split(":")[1];
    const next = { "/x": `http://localhost:${port}/y`, "/y": `http://127.0.0.1:${port}/z` };
    const location = next[request.path as keyof typeof next];
    return location === undefined ? {} : { status: 307, headers: { location } };
  });
  using client = new HttpClient();
  const answer = await client.request(new URL(server.url + "/x"), {
    headers: { Authorization: "Bearer secret" },
  });
  assert.equal(answer.url.pathname, "/z");
  assert.deepEqual(seen, ["Bearer secret", null, null]);
});

Deno.test("a secret body follows to the same origin only", async () => {
  await using server: FaultServer = new FaultServer((request) => {
    const port = server.host.split(":")[1];
    const next = { "/x": "/y", "/y": `http://localhost:${port}/z` };
    const location = next[request.path as keyof typeof next];
    return location === undefined ? {} : { status: 307, headers: { location } };
  });
  using client = new HttpClient();
  await assert.rejects(
    client.request(new URL(server.url + "/x"), { method: "POST", body: "token", secret: true }),
    { name: "HttpError", message: /A secret was redirected to another server/ },
  );
  assert.deepEqual(server.requests.map(({ path }) => path), ["/x", "/y"]);
});

Deno.test("RateLimit lets bytes through as fast as they may", async () => {
  const limit = new RateLimit(1_000_000);
  const started = performance.now();
  for (let count = 0; count < 20; count++) await limit.take(20_000);
  const took = performance.now() - started;
  assert.ok(took > 300 && took < 3000, `${took} ms`);
  const controller = new AbortController();
  const waiting = limit.take(1_000_000_000, controller.signal);
  controller.abort(new Error("enough"));
  await assert.rejects(waiting!, /enough/);
  assert.throws(() => new RateLimit(0), RangeError);
});

Deno.test("a limited client sends and takes no faster, and is not taken for a halted one", async () => {
  const body = new Uint8Array(200_000);
  await using server = new FaultServer(() => ({ body }));
  using client = new HttpClient({
    limitRate: 400_000,
    stall: 200,
    minSpeed: 1_000_000,
    backoff: 1,
  });
  const url = new URL(server.url);
  const started = performance.now();
  await client.request(url, { maxSize: body.length });
  await client.request(url, { method: "PUT", body, maxSize: body.length });
  const took = performance.now() - started;
  assert.ok(took > 1100 && took < 6000, `${took} ms`);
});
