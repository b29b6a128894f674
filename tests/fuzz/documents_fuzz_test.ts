import assert from "node:assert/strict";
import { ComposefsError, Digest, nodeHash } from "../../lib/base/mod.ts";
import { parseIndex, parseManifest } from "../../lib/transport/mod.ts";
import { toOci } from "../../lib/transport/convert.ts";
import { documentType, parseConfig, parseDockerArchive } from "../../lib/transport/documents.ts";
import { entriesFor, parseTypedManifest, selectManifest } from "../../lib/transport/select.ts";
import { Rng, seed } from "./_mutate.ts";
import { changedDocument } from "./_rearrange.ts";

const ROUNDS = 20_000;
const SLOWEST = 1000;
/** Of the whole process, with garbage that nobody has missed yet, in bytes. */
const MEMORY = 256 * 2 ** 20;

const AMD64 = { os: "linux", architecture: "amd64" } as const;
const HEX = "0123456789abcdef".repeat(4);
const OCI = "application/vnd.oci.image";
const DOCKER = "application/vnd.docker";

function descriptor(mediaType: string, more: Record<string, unknown> = {}): unknown {
  return { mediaType, digest: `sha256:${HEX}`, size: 7023, ...more };
}

const MANIFEST = {
  schemaVersion: 2,
  mediaType: `${OCI}.manifest.v1+json`,
  config: descriptor(`${OCI}.config.v1+json`, { data: "e30=" }),
  layers: [
    descriptor(`${OCI}.layer.v1.tar+gzip`, { annotations: { a: "b" } }),
    descriptor(`${OCI}.layer.nondistributable.v1.tar`, { urls: ["https://a.b/c"] }),
  ],
  subject: descriptor(`${OCI}.manifest.v1+json`),
  annotations: { "org.opencontainers.image.ref.name": "v1" },
};
const SCHEMA_2 = {
  schemaVersion: 2,
  mediaType: `${DOCKER}.distribution.manifest.v2+json`,
  config: descriptor(`${DOCKER}.container.image.v1+json`),
  layers: [
    descriptor(`${DOCKER}.image.rootfs.diff.tar.gzip`),
    descriptor(`${DOCKER}.image.rootfs.foreign.diff.tar.gzip`, { urls: ["https://a.b/c"] }),
  ],
};
const INDEX = {
  schemaVersion: 2,
  mediaType: `${OCI}.index.v1+json`,
  manifests: [
    descriptor(`${OCI}.manifest.v1+json`, { platform: AMD64 }),
    descriptor(`${OCI}.manifest.v1+json`, {
      platform: { os: "linux", architecture: "arm", variant: "v7", "os.features": ["x"] },
    }),
    descriptor(`${OCI}.manifest.v1+json`, { annotations: MANIFEST.annotations }),
    descriptor(`${OCI}.index.v1+json`),
  ],
};
const CONFIG = {
  ...AMD64,
  created: "2023-11-14T22:13:20Z",
  config: { Labels: { "containers.composefs.fsverity": HEX } },
  rootfs: { type: "layers", diff_ids: [`sha256:${HEX}`, `sha256:${HEX}`] },
  history: [{ created_by: "x", empty_layer: true }],
};
const ARCHIVE = [
  { Config: `${HEX}.json`, RepoTags: ["a/b:v1", "c"], Layers: [`${HEX}/layer.tar`] },
  { Config: "c.json", RepoTags: null, Layers: [] },
];

function digestOf(bytes: Uint8Array): Digest {
  const hash = nodeHash.stream("sha256");
  hash.update(bytes);
  return Digest.sha256(hash.digest());
}

/** Chooses of an index whose members are all the same manifest. */
async function select(bytes: Uint8Array): Promise<void> {
  const index = parseIndex(bytes);
  const manifest = new TextEncoder().encode(JSON.stringify(MANIFEST));
  const config = new TextEncoder().encode(JSON.stringify(CONFIG));
  const read = (_: unknown, what: string) => what === "image config" ? config : manifest;
  for (
    const by of [undefined, { by: "tag", tag: "v1" }, { by: "position", position: 2 }] as const
  ) {
    const entries = entriesFor(index, by);
    const choice = { name: "x", entries, meant: by !== undefined, platform: AMD64 };
    const { descriptor } = await selectManifest(read, choice);
    assert.ok(entries.length > 0 && descriptor.digest instanceof Digest);
  }
}

function convert(bytes: Uint8Array<ArrayBuffer>): void {
  const manifest = parseTypedManifest(bytes);
  const mediaType = documentType(bytes);
  const selected = {
    descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length },
    bytes,
    manifest,
  };
  const made = toOci(selected);
  // What was converted is a manifest again, of the digest that it is stored under.
  assert.ok(made.descriptor.digest.equals(digestOf(made.bytes)));
  assert.equal(parseManifest(made.bytes).layers.length, manifest.layers.length);
}

const kinds: Record<string, [unknown, (bytes: Uint8Array<ArrayBuffer>) => unknown]> = {
  "manifests": [MANIFEST, convert],
  "manifests of Docker's second schema": [SCHEMA_2, convert],
  "indexes": [INDEX, select],
  "configs": [CONFIG, (bytes) => {
    assert.ok(parseConfig(bytes).diffIds.every((id) => id instanceof Digest));
  }],
  "lists of images in archives of Docker's": [ARCHIVE, parseDockerArchive],
};

for (const [name, [document, use]] of Object.entries(kinds)) {
  Deno.test(`${name}: ${ROUNDS} changed ones, seed ${seed()}`, async () => {
    const input = new TextEncoder().encode(JSON.stringify(document));
    await use(input);
    const { rss: before } = Deno.memoryUsage();
    const rng = new Rng(seed());
    const counts = { values: 0, errors: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      const changed = changedDocument(input, rng);
      const start = performance.now();
      try {
        await use(changed);
        counts.values++;
      } catch (error) {
        if (!(error instanceof ComposefsError)) {
          assert.fail(`${new TextDecoder().decode(changed)}\n${(error as Error).stack}`);
        }
        counts.errors++;
      }
      assert.ok(performance.now() - start < SLOWEST, `round ${round} took too long`);
    }
    assert.ok(counts.values > 0 && counts.errors > ROUNDS / 4, JSON.stringify(counts));
    assert.ok(Deno.memoryUsage().rss - before < MEMORY);
  });
}
