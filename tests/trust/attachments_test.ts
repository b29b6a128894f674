import assert from "node:assert/strict";
import { Digest } from "../../lib/base/mod.ts";
import { type AttachmentSource, findSignatures, type Requirement } from "../../lib/trust/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";

loadNative();

const COSIGN = "application/vnd.dev.cosign.simplesigning.v1+json";
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const MEBI = 2 ** 20;
const DEMAND = { type: "sigstoreSigned" } as Requirement;
const SIMPLE = { type: "signedBy" } as Requirement;

function digestOf(number: number): Digest {
  return Digest.parse(`sha256:${number.toString(16).padStart(64, "0")}`);
}

/** Many manifests, each with many signatures of the same size. */
class Flood implements AttachmentSource {
  readonly name = "flood";
  given = 0;
  readonly #manifests: number;
  readonly #manifest: Uint8Array;

  constructor(manifests: number, layers: number, size: number) {
    this.#manifests = manifests;
    const layer = { mediaType: COSIGN, digest: digestOf(1).toString(), size };
    const document = { layers: Array.from({ length: layers }, () => layer) };
    this.#manifest = new TextEncoder().encode(JSON.stringify(document));
  }

  tagged = () => Promise.resolve(undefined);

  referrers = () =>
    Promise.resolve(
      Array.from({ length: this.#manifests }, (_, i) => ({
        artifactType: "",
        digest: digestOf(i),
        size: this.#manifest.length,
        mediaType: MANIFEST,
      })),
    );

  manifest = ({ digest }: { digest: Digest }) =>
    Promise.resolve({ bytes: this.#manifest, mediaType: MANIFEST, digest });

  blob = ({ size }: { size: number }) => {
    this.given += size;
    return Promise.resolve(new Uint8Array(size));
  };
}

Deno.test("findSignatures() takes a bounded amount from each place, and says so", async (t) => {
  await t.step("attachments", async () => {
    const flood = new Flood(128, 128, 4 * MEBI);
    const found = await findSignatures(digestOf(0), {
      requirements: [DEMAND],
      places: { attachments: flood },
    });
    assert.ok(flood.given <= 32 * MEBI && flood.given > 16 * MEBI, `${flood.given} bytes`);
    assert.equal(found.signatures.length, flood.given / (4 * MEBI));
    assert.deepEqual(found.faults.map(({ reason }) => reason), [
      "More than 33554432 bytes of signatures",
    ]);
  });
  await t.step("one that is too large alone", async () => {
    const flood = new Flood(1, 2, 4 * MEBI + 1);
    const { faults, signatures } = await findSignatures(digestOf(0), {
      requirements: [DEMAND],
      places: { attachments: flood },
    });
    assert.deepEqual([flood.given, signatures.length, faults.length], [0, 0, 2]);
    assert.match(faults[0]!.reason, /^sha256:0+1 has 4194305 bytes, more than 4194304$/);
  });
  await t.step("files", async () => {
    using dir = new TempDir();
    const content = new Uint8Array(4 * MEBI).fill(0x88);
    for (let n = 1; n <= 12; n++) dir.write(`signature-${n}`, content);
    const { faults, signatures } = await findSignatures(digestOf(0), {
      requirements: [SIMPLE],
      places: { lookaside: dir.path },
    });
    assert.deepEqual([signatures.length, faults.length], [8, 1]);
  });
});
