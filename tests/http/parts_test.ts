import assert from "node:assert/strict";
import { FormatError } from "../../lib/base/mod.ts";
import { cookieHeader, parseCookies } from "../../lib/http/mod.ts";
import { isPassing, MAX_PAUSE, parseRetryAfter, pauseBefore } from "../../lib/http/retry.ts";

Deno.test("cookieHeader() chooses by host, path, security and time", async (t) => {
  const cookies = parseCookies([
    "# comment",
    "",
    ".example.org\tTRUE\t/\tFALSE\t0\tall\t1",
    "example.org\tFALSE\t/repo\tFALSE\t0\trepo\t2",
    "#HttpOnly_example.org\tFALSE\t/\tTRUE\t0\tsecure\t3\r",
    "example.org\tFALSE\t/\tFALSE\t1000\told\t4",
  ].join("\n"));
  const cases: [url: string, header: string | undefined][] = [
    ["http://example.org/", "all=1"],
    ["http://example.org/repo", "all=1; repo=2"],
    ["http://example.org/repo/config", "all=1; repo=2"],
    ["http://example.org/repository", "all=1"],
    ["https://example.org/", "all=1; secure=3"],
    ["http://sub.example.org/repo", "all=1"],
    ["http://badexample.org/repo", undefined],
  ];
  for (const [url, header] of cases) {
    await t.step(
      url,
      () => assert.equal(cookieHeader(cookies, new URL(url), { now: 2000 }), header),
    );
  }
  await t.step("before it expires", () =>
    assert.equal(
      cookieHeader(cookies, new URL("http://example.org/"), { now: 999 }),
      "all=1; old=4",
    ));
});

Deno.test("parseCookies() refuses what is none, without showing it", async (t) => {
  for (
    const line of [
      "secret",
      "a\tb\tc\td\te\tsecret",
      "h\tTRUE\t/\tTRUE\tsecret\tn\tv",
      "h\tTRUE\t/\tTRUE\t0\tn\tsecret;x",
      "h\tTRUE\t/\tTRUE\t0\tn\tsecret\u00e9",
    ]
  ) {
    await t.step(
      JSON.stringify(line),
      () =>
        assert.throws(() => parseCookies("\n" + line), (error) => {
          assert.ok(error instanceof FormatError);
          assert.equal(error.message, "Line 2 is not a cookie");
          return true;
        }),
    );
  }
});

Deno.test("pauseBefore() doubles, scatters and listens to the server", () => {
  assert.equal(pauseBefore(0, { backoff: 500, random: 1 }), 500);
  assert.equal(pauseBefore(0, { backoff: 500, random: 0 }), 250);
  assert.equal(pauseBefore(4, { backoff: 500, random: 1 }), 8000);
  assert.equal(pauseBefore(0, { backoff: 500, random: 1, retryAfter: 3000 }), 3000);
  assert.equal(pauseBefore(0, { backoff: 500, random: 1, retryAfter: 1e9 }), MAX_PAUSE);
  assert.equal(pauseBefore(1000, { backoff: 500, random: 1 }), MAX_PAUSE);
});

Deno.test("parseRetryAfter() takes seconds and dates", () => {
  const now = Date.parse("Sat, 21 Nov 2026 07:32:56 GMT");
  assert.equal(parseRetryAfter("7", now), 7000);
  assert.equal(parseRetryAfter("Sat, 21 Nov 2026 07:33:06 GMT", now), 10_000);
  assert.equal(parseRetryAfter("Sat, 21 Nov 2026 07:00:00 GMT", now), 0);
  assert.equal(parseRetryAfter("soon", now), undefined);
  assert.equal(parseRetryAfter(null, now), undefined);
});

Deno.test("isPassing() knows the statuses that may pass", () => {
  const passing = [200, 400, 401, 404, 408, 410, 429, 500, 502, 503, 504].filter(isPassing);
  assert.deepEqual(passing, [408, 429, 500, 502, 503, 504]);
});
