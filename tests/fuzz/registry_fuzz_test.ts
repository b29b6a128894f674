import assert from "node:assert/strict";
import { ComposefsError } from "../../lib/base/mod.ts";
import { byterangesBoundary, ByterangesParser, parseContentRange } from "../../lib/http/mod.ts";
import { formatDockerReference, parseDockerReference } from "../../lib/registry/mod.ts";
import { credentialsOf, parseAuthFile } from "../../lib/registry/auth_files.ts";
import { parseChallenges } from "../../lib/registry/challenge.ts";
import { parseFaults } from "../../lib/registry/error.ts";
import { parseIndexEntries } from "../../lib/registry/json.ts";
import { parseRegistriesConf, RegistriesConf } from "../../lib/registry/registries_conf.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

const ROUNDS = 20_000;
const SLOWEST = 1000;
const HEX = "0123456789abcdef".repeat(4);

const CONF = `unqualified-search-registries = ["a.io"]
[[registry]]
prefix = "*.quay.io"
location = "b.io/x"
insecure = true
[[registry.mirror]]
location = "c.io:5000/y"
pull-from-mirror = "digest-only"
[[registry]]
location = "a.quay.io/deep"
blocked = false
mirror = [{ location = "d.io", insecure = false }]
`;
const AUTH = JSON.stringify({
  auths: {
    "quay.io": { auth: btoa("user:password") },
    "quay.io/ns/repo": { identitytoken: "token" },
    "https://index.docker.io/v1/": { username: "u", password: "p" },
  },
});
const FAULTS = JSON.stringify({
  errors: [{ code: "MANIFEST_UNKNOWN", message: "manifest unknown", detail: { Tag: "x" } }, 1],
});
const INDEX = JSON.stringify({
  schemaVersion: 2,
  manifests: [{
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest: `sha256:${HEX}`,
    size: 1234,
    artifactType: "application/x",
    annotations: { a: "b", c: 1 },
  }],
});
const PARTS = "preamble\r\n--b\r\nContent-Type: a/b\r\nContent-Range: bytes 10-19/100\r\n\r\n" +
  "0123456789\r\n--b\r\ncontent-range: bytes 50-54/*\r\n\r\nabcde\r\n--b--\r\n";

const conf = new RegistriesConf(parseRegistriesConf(CONF, "/f"));

const kinds: Record<string, [text: string, use: (text: string, bytes: Uint8Array) => unknown]> = {
  "references": [`Quay.io:5000/ns/re-po_x.y:Tag@sha256:${HEX}`, (text) => {
    const reference = parseDockerReference(text);
    assert.deepEqual(parseDockerReference(formatDockerReference(reference)), reference);
    return conf.places(reference);
  }],
  "challenges": [
    'Negotiate YWJj==, Bearer realm="https://a.b/t?x=1,2",service="s\\" t",scope=x, Basic realm=y',
    (text) => {
      const challenges = parseChallenges(text);
      assert.ok(challenges.length <= 16);
      assert.ok(challenges.every(({ scheme }) => scheme !== ""));
    },
  ],
  "registries.conf": [
    CONF,
    (text) =>
      new RegistriesConf(parseRegistriesConf(text, "/f")).places(
        parseDockerReference("a.quay.io/deep/x:t"),
      ),
  ],
  "errors": [FAULTS, (text) => assert.ok(parseFaults(text).length <= 5)],
  "lists of referrers": [INDEX, (_, bytes) => parseIndexEntries(bytes, 100)],
  "ranges": ["bytes 123-456/7890", (text) => {
    const range = parseContentRange(text);
    if (range === undefined) return;
    assert.ok(range.start < range.end && range.end <= (range.total ?? Infinity));
  }],
};

/** Runs something that must end soon, with a value or a typed error; returns whether with one. */
async function failed(run: () => unknown): Promise<boolean> {
  const start = performance.now();
  try {
    const value = run();
    if (value instanceof Promise) await value;
    return false;
  } catch (error) {
    assert.ok(error instanceof ComposefsError, String((error as Error).stack));
    return true;
  } finally {
    assert.ok(performance.now() - start < SLOWEST);
  }
}

Deno.test(`what registries and their files say: ${ROUNDS} changes of each, seed ${seed()}`, async (t) => {
  const decoder = new TextDecoder();
  for (const [name, [text, use]] of Object.entries(kinds)) {
    await t.step(name, async () => {
      const rng = new Rng(seed());
      const original = new TextEncoder().encode(text);
      assert.equal(await failed(() => use(text, original)), false);
      for (let round = 0; round < ROUNDS; round++) {
        const bytes = mutate(original, rng);
        await failed(() => use(decoder.decode(bytes), bytes));
      }
    });
  }
  await t.step("auth.json", async () => {
    const rng = new Rng(seed());
    const original = new TextEncoder().encode(AUTH);
    for (let round = 0; round < ROUNDS; round++) {
      const changed = decoder.decode(mutate(original, rng));
      await failed(() => credentialsOf(parseAuthFile(changed, "/auth.json"), "quay.io/ns/repo"));
    }
  });
  await t.step("bodies with several parts", () => {
    const rng = new Rng(seed());
    const original = new TextEncoder().encode(PARTS);
    for (let round = 0; round < ROUNDS; round++) {
      const changed = mutate(original, rng);
      const parser = new ByterangesParser("b", () => {});
      let taken = 0;
      try {
        for (let at = 0; at < changed.length;) {
          const piece = changed.subarray(at, at + 1 + rng.below(40));
          at += piece.length;
          for (const { offset, bytes } of parser.push(piece)) {
            assert.ok(bytes.length > 0 && offset >= 0);
            taken += bytes.length;
          }
        }
      } catch (error) {
        // As documented; the client takes it for a connection that failed.
        assert.ok(error instanceof TypeError && /^A part /.test(error.message), String(error));
      }
      assert.ok(taken <= changed.length);
      byterangesBoundary(decoder.decode(changed));
    }
  });
});
