import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type BlobRange, parseDockerReference, RegistryClient } from "../../lib/registry/mod.ts";
import { type FaultReply, type FaultRequest, FaultServer } from "../helpers/fault_server.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TestRegistry } from "../helpers/registry.ts";
import { blobOf, noise } from "./_images.ts";

const NOWHERE = { variable: () => undefined, uid: 0, root: "/nonexistent" };

/** Puts ranges together, and insists that each byte comes once and in order. */
class Parts {
  readonly bytes: Uint8Array;
  readonly #next: Map<number, number>;
  readonly #ranges: readonly BlobRange[];

  constructor(size: number, ranges: readonly BlobRange[]) {
    this.bytes = new Uint8Array(size);
    this.#ranges = ranges;
    this.#next = new Map(ranges.map(({ start }) => [start, start]));
  }

  write(offset: number, piece: Uint8Array): void {
    const range = this.#ranges.find(({ start, end }) => offset >= start && offset < end);
    assert.ok(range, `${offset} was not asked for`);
    assert.equal(offset, this.#next.get(range.start), "in order");
    assert.ok(offset + piece.length <= range.end);
    this.#next.set(range.start, offset + piece.length);
    this.bytes.set(piece, offset);
  }

  check(content: Uint8Array): void {
    for (const { start, end } of this.#ranges) {
      assert.equal(this.#next.get(start), end);
      assert.ok(Buffer.from(this.bytes.subarray(start, end)).equals(content.subarray(start, end)));
    }
  }
}

/** Ranges that a request names. */
function rangesOf(request: FaultRequest): BlobRange[] {
  const text = request.headers.get("range") ?? "";
  return [...text.matchAll(/(\d+)-(\d+)/g)].map(([, start, last]) => ({
    start: Number(start),
    end: Number(last) + 1,
  }));
}

interface PartsOptions {
  boundary?: string;
  type?: string;
  header?: string;
  preamble?: string;
  newline?: string;
  total?: string;
  end?: boolean;
}

/** An answer with several parts. */
function multipart(
  content: Uint8Array,
  ranges: readonly BlobRange[],
  options: PartsOptions = {},
): FaultReply {
  const { boundary = "b0undary", header = "Content-Range", newline = "\r\n" } = options;
  const { type = `multipart/byteranges; boundary=${boundary}`, preamble = "" } = options;
  const pieces = [Buffer.from(preamble)];
  for (const { start, end } of ranges) {
    const place = `${header}: bytes ${start}-${end - 1}/${options.total ?? content.length}`;
    const head = [`--${boundary}`, "Content-Type: application/octet-stream", place, "", ""];
    pieces.push(
      Buffer.from(newline + head.join(newline)),
      Buffer.from(content.subarray(start, end)),
    );
  }
  if (options.end ?? true) pieces.push(Buffer.from(`${newline}--${boundary}--${newline}`));
  return {
    status: 206,
    headers: { "content-type": type },
    body: Uint8Array.from(Buffer.concat(pieces)),
  };
}

function single(content: Uint8Array, { start, end }: BlobRange): FaultReply {
  return {
    status: 206,
    headers: { "content-range": `bytes ${start}-${end - 1}/${content.length}` },
    body: content.slice(start, end),
  };
}

function hull(ranges: readonly BlobRange[]): BlobRange {
  return { start: ranges[0]!.start, end: ranges.at(-1)!.end };
}

const SMALL = 100_000;
const LARGE = 9 * 1024 * 1024;
const FEW: BlobRange[] = [
  { start: 0, end: 1 },
  { start: 10, end: 5000 },
  { start: 5000, end: 5001 },
  { start: 60_000, end: SMALL },
];

const cases: {
  name: string;
  size?: number;
  ranges?: BlobRange[];
  answer: (request: FaultRequest, content: Uint8Array) => FaultReply;
  refused?: true;
  fails?: RegExp;
  most?: number;
}[] = [
  { name: "several parts", answer: (r, c) => multipart(c, rangesOf(r)), most: 1 },
  {
    name: "a quoted boundary",
    answer: (r, c) =>
      multipart(c, rangesOf(r), {
        boundary: "a b",
        type: 'Multipart/ByteRanges; charset=x; boundary="a b"',
      }),
    most: 1,
  },
  {
    name: "a boundary with colons that is not quoted",
    answer: (r, c) => multipart(c, rangesOf(r), { boundary: "CloudFront:ABC:1" }),
    most: 1,
  },
  {
    name: "a preamble, other case, bare newlines, unknown total",
    answer: (r, c) =>
      multipart(c, rangesOf(r), {
        preamble: "this is\r\nnot for you",
        header: "CONTENT-RANGE",
        newline: "\n",
        total: "*",
      }),
    most: 1,
  },
  {
    name: "parts in another order",
    answer: (r, c) => multipart(c, rangesOf(r).reverse()),
    most: 1,
  },
  {
    name: "parts that are cut into pieces",
    answer: (r, c) =>
      multipart(
        c,
        rangesOf(r).flatMap(({ start, end }) => {
          const middle = Math.floor((start + end) / 2);
          return start === middle
            ? [{ start, end }]
            : [{ start, end: middle }, { start: middle, end }];
        }),
      ),
    most: 1,
  },
  { name: "one part that has all", answer: (r, c) => single(c, hull(rangesOf(r))), most: 1 },
  { name: "only the first range", answer: (r, c) => single(c, rangesOf(r)[0]!) },
  { name: "everything of a small blob", answer: (_, c) => ({ body: c.slice() }), most: 1 },
  {
    name: "everything of a large blob, little of which is wanted",
    size: LARGE,
    answer: (_, c) => ({ body: c.slice() }),
    refused: true,
    most: 2,
  },
  {
    name: "everything of a large blob, much of which is wanted",
    size: LARGE,
    ranges: [{ start: 5, end: 10 }, { start: 100, end: LARGE / 2 }],
    answer: (_, c) => ({ body: c.slice() }),
    most: 1,
  },
  {
    name: "everything when several are asked for, and parts one at a time",
    size: LARGE,
    answer: (r, c) => {
      const ranges = rangesOf(r);
      return ranges.length > 1 ? { body: c.slice() } : single(c, ranges[0]!);
    },
  },
  ...[400, 403, 414, 431, 501].map((status) => ({
    name: `${status} for more than two ranges`,
    answer: (r: FaultRequest, c: Uint8Array): FaultReply => {
      const ranges = rangesOf(r);
      if (ranges.length > 2) return { status };
      return ranges.length > 1 ? multipart(c, ranges) : single(c, ranges[0]!);
    },
  })),
  { name: "403 for any range", answer: () => ({ status: 403 }), fails: /access denied/ },
  { name: "404", answer: () => ({ status: 404 }), fails: /not found/ },
  {
    name: "a blob of another size",
    answer: (r, c) => multipart(c, rangesOf(r), { total: "999999" }),
    refused: true,
  },
  { name: "a blob that ends before", answer: () => ({ status: 416 }), refused: true },
  {
    name: "bodies that are cut",
    answer: (r, c) => ({
      ...multipart(c, rangesOf(r)),
      ...(r.count < 4 ? { cut: 3000 + r.count } : {}),
    }),
  },
  {
    name: "trouble that passes",
    answer: (r, c) => r.seen < 2 ? { status: 503 } : multipart(c, rangesOf(r)),
  },
  {
    name: "parts that end early",
    answer: (r, c) => multipart(c, rangesOf(r).slice(0, 1), { end: false }),
  },
  {
    name: "parts without the last, as if that were all",
    answer: (r, c) => multipart(c, r.seen < 3 ? rangesOf(r).slice(0, 1) : rangesOf(r)),
  },
  {
    name: "other parts than were asked for, for ever",
    answer: (_, c) => multipart(c, [{ start: 7000, end: 8000 }]),
    fails: /other parts/,
  },
  {
    name: "a part that does not say where it belongs",
    answer: (_, c) => ({ status: 206, body: c.slice(0, 1) }),
    fails: /does not say where it belongs/,
  },
  {
    name: "headers without an end",
    answer: () => ({
      status: 206,
      headers: { "content-type": "multipart/byteranges; boundary=b" },
      body: new Uint8Array(1_000_000).fill(0x41),
    }),
    fails: /too many headers/,
  },
];

Deno.test("RemoteRepository.ranges() gets parts from whatever answers", async (t) => {
  const contents = new Map([SMALL, LARGE].map((size) => [size, blobOf(noise(size))]));
  for (const { name, answer, refused, fails, most, ...rest } of cases) {
    await t.step(name, async () => {
      const blob = contents.get(rest.size ?? SMALL)!;
      const ranges = rest.ranges ?? FEW;
      let requests = 0;
      await using server = new FaultServer((request) => {
        if (request.path === "/v2/") return {};
        requests++;
        return answer(request, blob.bytes);
      });
      using client = new RegistryClient({
        tlsVerify: false,
        surroundings: NOWHERE,
        http: { backoff: 1 },
      });
      const repository = await client.repository(parseDockerReference(`${server.host}/a`));
      const parts = new Parts(blob.size, ranges);
      const work = repository.ranges(blob, ranges, { sink: parts });
      if (fails !== undefined) return await assert.rejects(work, fails);
      assert.equal(await work, refused ? "refused" : "parts");
      if (!refused) parts.check(blob.bytes);
      else assert.equal(await repository.ranges(blob, ranges, { sink: parts }), "refused");
      if (most !== undefined) assert.ok(requests <= most, `${requests} requests`);
    });
  }
});

Deno.test("a failure ends all requests for ranges", async () => {
  const blob = blobOf(noise(LARGE));
  await using server = new FaultServer((request) => {
    if (request.path === "/v2/") return {};
    const ranges = rangesOf(request);
    if (ranges.length > 1) return { status: 501 };
    if (ranges[0]!.start === 600) return { status: 404 };
    const part = single(blob.bytes, ranges[0]!);
    return ranges[0]!.start === 0 ? part : { ...part, halt: 1 };
  });
  using client = new RegistryClient({
    tlsVerify: false,
    surroundings: NOWHERE,
    http: { backoff: 1, stall: 60_000 },
  });
  const repository = await client.repository(parseDockerReference(`${server.host}/a`));
  const ranges = Array.from({ length: 8 }, (_, i) => ({ start: i * 200, end: i * 200 + 100 }));
  const started = performance.now();
  await assert.rejects(
    repository.ranges(blob, ranges, { sink: { write() {} } }),
    { name: "RegistryError", status: 404 },
  );
  assert.ok(performance.now() - started < 10_000);
  const full = new Error("disk full");
  const sink = {
    write() {
      throw full;
    },
  };
  await assert.rejects(repository.ranges(blob, [ranges[0]!], { sink }), (error) => error === full);
});

testWith({
  name: "a real registry gives many ranges",
  needs: ["docker-registry"].map(needTool),
  async fn() {
    await using registry = await TestRegistry.start();
    using client = new RegistryClient({ tlsVerify: false, surroundings: NOWHERE });
    const repository = await client.target(parseDockerReference(`${registry.host}/a`));
    const blob = blobOf(noise(2_000_000));
    await repository.upload(blob, {
      read(offset, buffer) {
        const part = blob.bytes.subarray(offset, offset + buffer.length);
        buffer.set(part);
        return part.length;
      },
    });
    for (const [count, length] of [[1, 100_000], [63, 1], [300, 2000], [1024, 700]] as const) {
      const step = Math.floor(blob.size / count);
      const ranges = Array.from(
        { length: count },
        (_, i) => ({ start: i * step, end: i * step + length }),
      );
      const parts = new Parts(blob.size, ranges);
      assert.equal(await repository.ranges(blob, ranges, { sink: parts }), "parts");
      parts.check(blob.bytes);
    }
    await assert.rejects(
      repository.ranges(blob, [{ start: 5, end: 3 }], { sink: new Parts(10, []) }),
      RangeError,
    );
  },
});
