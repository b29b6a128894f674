import assert from "node:assert/strict";
import { parseChallenges } from "../../lib/registry/challenge.ts";

const cases: [header: string, challenges: [string, Record<string, string>][]][] = [
  ["", []],
  ["Basic", [["basic", {}]]],
  ['Basic realm="x"', [["basic", { realm: "x" }]]],
  [
    'Bearer realm="https://a.b/t?x=1,2",service="s, t",scope="repository:a/b:pull,push"',
    [["bearer", {
      realm: "https://a.b/t?x=1,2",
      service: "s, t",
      scope: "repository:a/b:pull,push",
    }]],
  ],
  ['BEARER Realm = "r" , SERVICE=s', [["bearer", { realm: "r", service: "s" }]]],
  ['Bearer realm="a\\"b\\\\c"', [["bearer", { realm: 'a"b\\c' }]]],
  [
    'Basic realm="a", Bearer realm="b",service="c"',
    [["basic", { realm: "a" }], ["bearer", { realm: "b", service: "c" }]],
  ],
  ["Negotiate, Basic realm=x", [["negotiate", {}], ["basic", { realm: "x" }]]],
  ["Negotiate YWJj==, Basic realm=x", [["negotiate", {}], ["basic", { realm: "x" }]]],
  [', , Bearer realm="r", ,', [["bearer", { realm: "r" }]]],
  ['Bearer realm="first", realm="second"', [["bearer", { realm: "first" }]]],
  ['Bearer realm="not ended', [["bearer", {}]]],
  ['Bearer realm="r",service=', [["bearer", { realm: "r" }]]],
  ["Negotiate, Basic", [["negotiate", {}], ["basic", {}]]],
  ["=", []],
];

Deno.test("parseChallenges() finds schemes and parameters", async (t) => {
  for (const [header, challenges] of cases) {
    await t.step(header, () => {
      assert.deepEqual(
        parseChallenges(header).map((one) => [one.scheme, Object.fromEntries(one.parameters)]),
        challenges,
      );
    });
  }
});
