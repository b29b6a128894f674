import assert from "node:assert/strict";
import {
  ComposefsError,
  DigestMismatchError,
  FormatError,
  Pool,
  type PoolOptions,
} from "../../lib/base/mod.ts";
import { ErrnoError } from "../../ffi/mod.ts";

function newPool(options: PoolOptions = {}): Pool {
  return new Pool(new URL("./pool_test_worker.ts", import.meta.url), { size: 2, ...options });
}

Deno.test("Pool.run() returns what the handler returned", async () => {
  await using pool = newPool();
  assert.equal(await pool.run<number>("double", 21), 42);
});

Deno.test("Pool.map() yields results in the order of the items", async () => {
  for (const depth of [1, 3]) {
    await using pool = newPool({ depth, queue: 3 });
    const items = Array.from({ length: 50 }, (_, i) => i);
    const results: number[] = [];
    for await (const result of pool.map<number, number>("double", items)) results.push(result);
    assert.deepEqual(results, items.map((item) => item * 2));
  }
});

Deno.test("Pool runs the tasks of one worker one after the other", async () => {
  await using pool = newPool({ size: 1, depth: 4 });
  const overlaps = await Promise.all([5, 5, 5, 5].map((ms) => pool.run<number>("sleepy", ms)));
  assert.deepEqual(overlaps, [1, 1, 1, 1]);
});

Deno.test("Pool moves transferred buffers both ways", async () => {
  await using pool = newPool();
  const bytes = new Uint8Array(1 << 20).fill(7);
  const back = await pool.run<Uint8Array>("buffer", bytes, { transfer: [bytes.buffer] });
  assert.equal(bytes.length, 0, "the caller's buffer is gone");
  assert.equal(back.length, 1 << 20);
  assert.equal(back[0], 8);
});

Deno.test("Pool hands on what handlers emit, before the result", async () => {
  await using pool = newPool();
  const seen: unknown[] = [];
  const result = await pool.run("events", 3, { onEvent: (event) => seen.push(event) });
  assert.equal(result, "end");
  assert.deepEqual(seen, [{ step: 0 }, { step: 1 }, { step: 2 }]);
});

Deno.test("Pool revives errors as their kinds", async (t) => {
  await using pool = newPool();
  const cases: { which: string; check: (error: unknown) => void }[] = [
    {
      which: "format",
      check: (error) => {
        assert.ok(error instanceof FormatError);
        assert.deepEqual(error.toJSON(), {
          code: "CFS_FORMAT",
          name: "FormatError",
          message: "bad header",
          format: "tar",
          offset: 512,
        });
      },
    },
    {
      which: "errno",
      check: (error) => {
        assert.ok(error instanceof ErrnoError);
        assert.ok(error.is("ENOENT"));
        assert.equal(error.path, "/nowhere");
        assert.match(error.message, /^openat \/nowhere: No such file/);
      },
    },
    {
      which: "mismatch",
      check: (error) => {
        assert.ok(error instanceof DigestMismatchError);
        assert.equal(error.actual, "b");
      },
    },
    {
      which: "context",
      check: (error) => {
        assert.ok(error instanceof ComposefsError);
        assert.equal(error.code, "CFS_FORMAT");
        assert.ok(error.cause instanceof FormatError);
        assert.equal(error.cause.message, "inner");
      },
    },
    {
      which: "type",
      check: (error) => {
        assert.ok(error instanceof TypeError);
        assert.match(error.stack ?? "", /pool_test_worker/);
      },
    },
    { which: "text", check: (error) => assert.equal((error as Error).message, "just text") },
  ];
  for (const { which, check } of cases) {
    await t.step(which, async () => {
      const error = await pool.run("throw", which).then(() => undefined, (error) => error);
      assert.ok(error instanceof Error);
      check(error);
      assert.equal(await pool.run<number>("double", 1), 2, "the worker goes on");
    });
  }
});

Deno.test("Pool.run() rejects for a handler the module does not have", async () => {
  await using pool = newPool();
  await assert.rejects(pool.run("nothing", 1), /No handler "nothing"/);
});

Deno.test("Pool.run() rejects for a message that cannot be cloned", async () => {
  await using pool = newPool();
  await assert.rejects(pool.run("double", () => 1), { name: "DataCloneError" });
  assert.equal(await pool.run<number>("double", 4), 8);
});

Deno.test("Pool rejects when the worker module cannot be loaded", async () => {
  await using pool = new Pool(new URL("./no_such_worker.js", import.meta.url), { size: 1 });
  await assert.rejects(pool.run("double", 1), { code: "CFS_FAILED" });
});

Deno.test("Pool rejects the tasks of a worker that dies", async () => {
  await using pool = newPool({ size: 1 });
  await assert.rejects(pool.run("die", 1), (error) => {
    assert.ok(error instanceof ComposefsError);
    assert.match(error.message, /out of band/);
    return true;
  });
  assert.equal(await pool.run<number>("double", 2), 4, "another worker takes over");
});

Deno.test("Pool gives tasks up by their signal, waiting and running", async () => {
  await using pool = newPool({ size: 1 });
  const controller = new AbortController();
  const running = pool.run("sleepy", 10_000, { signal: controller.signal });
  const waiting = pool.run("double", 1, { signal: controller.signal });
  const other = pool.run<number>("double", 5);
  const outcomes = Promise.allSettled([running, waiting]);
  await new Promise((resolve) => setTimeout(resolve, 50));
  controller.abort(new Error("enough"));
  assert.deepEqual(
    (await outcomes).map((one) => one.status === "rejected" && one.reason.message),
    ["enough", "enough"],
  );
  assert.equal(await other, 10);
});

Deno.test("Pool gives everything up by the pool's signal", async () => {
  const controller = new AbortController();
  await using pool = newPool({ size: 1, signal: controller.signal });
  const tasks = [pool.run("sleepy", 10_000), pool.run("double", 1)];
  const outcomes = Promise.allSettled(tasks);
  await new Promise((resolve) => setTimeout(resolve, 50));
  controller.abort(new Error("stop"));
  assert.deepEqual(
    (await outcomes).map((one) => one.status === "rejected" && one.reason.message),
    ["stop", "stop"],
  );
  await assert.rejects(pool.run("double", 1), /stop/);
});

Deno.test("Pool.close() waits for running tasks and gives waiting ones up", async () => {
  const pool = newPool({ size: 1 });
  let ended = false;
  const running = pool.run("sleepy", 60).then(() => "done", (error) => error.name)
    .finally(() => ended = true);
  const waiting = pool.run("double", 1);
  waiting.catch(() => {});
  await Promise.all([pool.close(), pool.close()]);
  assert.ok(ended);
  assert.ok(["done", "AbortError"].includes(await running));
  await assert.rejects(waiting, { name: "AbortError" });
  await assert.rejects(pool.run("double", 1), { name: "AbortError" });
});

Deno.test("Pool.ready() holds callers back while too many tasks wait", async () => {
  await using pool = newPool({ size: 1, queue: 2 });
  const tasks: Promise<unknown>[] = [];
  let most = 0;
  for (let i = 0; i < 20; i++) {
    await pool.ready();
    tasks.push(pool.run("sleepy", 1));
    most = Math.max(most, pool.waiting);
  }
  await Promise.all(tasks);
  assert.equal(most, 2);
});

Deno.test("Pool.steal() lets the submitting thread do waiting tasks", async () => {
  await using pool = newPool({ size: 1 });
  const first = pool.run("sleepy", 20);
  const second = pool.run<number>("double", 7);
  const third = pool.run<number>("double", 8);
  assert.ok(pool.steal((value: number) => value * 100));
  assert.ok(pool.steal(() => {
    throw new RangeError("stolen");
  }));
  assert.ok(!pool.steal(() => 0));
  assert.equal(await third, 800);
  await assert.rejects(second, RangeError);
  await first;
});

Deno.test("Pool gives a worker more when it is done, before its result was let in", async () => {
  await using pool = newPool({ size: 1 });
  assert.equal(await pool.run<number>("double", 1), 2);
  const tasks = [2, 3, 4].map((value) => pool.run<number>("double", value));
  const until = performance.now() + 20_000;
  // Messages come between turns of the event loop, of which this is one.
  while (pool.waiting > 0 && performance.now() < until) pool.steal(() => 0, "no such handler");
  assert.equal(pool.waiting, 0);
  assert.deepEqual(await Promise.all(tasks), [4, 6, 8]);
});

Deno.test("Pool tells of every task of a worker that dies, those it was given early too", async () => {
  await using pool = newPool({ size: 1 });
  await pool.run<number>("double", 1);
  const tasks = [pool.run<number>("double", 2), pool.run("die", 1), pool.run<number>("double", 3)];
  const outcomes = Promise.allSettled(tasks);
  const until = performance.now() + 20_000;
  while (pool.waiting > 1 && performance.now() < until) pool.steal(() => 0, "no such handler");
  assert.equal(pool.waiting, 1);
  assert.deepEqual((await outcomes).map(({ status }) => status), [
    "fulfilled",
    "rejected",
    "fulfilled",
  ]);
});

Deno.test("Pool.map() ends its tasks before it throws", async () => {
  await using pool = newPool();
  const results = pool.map("sleepy", [30, Number.NaN, "x" as unknown as number, 20]);
  const seen: unknown[] = [];
  for await (const one of results) seen.push(one);
  assert.equal(seen.length, 4);
  await assert.rejects(async () => {
    for await (const one of pool.map("throw", ["format", "errno"])) seen.push(one);
  }, FormatError);
});
