import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { ALGORITHMS, FormatError, nodeZstd, toByteString } from "../../lib/base/mod.ts";
import { CONTENT_TYPE, openSplitstream } from "../../lib/splitstream/mod.ts";
import { importLayer, reassemble } from "../helpers/layer.ts";
import { ROOT } from "../helpers/run.ts";
import rows from "../../fixtures/splitstream/inputs/expected.json" with { type: "json" };

const FIXTURES = `${ROOT}fixtures/splitstream/inputs/`;

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

Deno.test("SplitstreamWriter gives the reference's files for tar layers", async (t) => {
  for (const row of rows) {
    for (const hash of ["sha256", "sha512"] as const) {
      await t.step(`${row.input} ${hash}`, () => {
        const algorithm = ALGORITHMS[hash];
        const tar = Deno.readFileSync(FIXTURES + row.input);
        assert.equal(tar.length, row.size);
        assert.equal(`sha256:${sha256(tar)}`, row.diff_id);
        const expected = row[hash];
        if ("error" in expected) {
          const message = expected.error![0]!.replace(/^Error: /, "");
          assert.throws(
            () => importLayer(tar, { algorithm }),
            (fault) => fault instanceof FormatError && fault.message === message,
          );
          return;
        }
        const layer = importLayer(tar, { algorithm });
        assert.equal(layer.file.length, expected.splitstream_size);
        assert.equal(sha256(layer.file), expected.splitstream_sha256);
        assert.equal(`${hash}:${layer.id}`, expected.printed);
        assert.deepEqual([...layer.objects.keys()], expected.object_refs);
        assert.equal(layer.streamSize, expected.stream_size);
        if (hash === "sha256") {
          const name = row.input.replace(/\.tar$/, ".sha256.splitstream");
          assert.equal(sha256(layer.file), sha256(Deno.readFileSync(FIXTURES + name)));
        }
        const stream = openSplitstream(layer.file, {
          algorithm,
          contentType: CONTENT_TYPE.ociLayer,
          codec: nodeZstd,
        });
        assert.deepEqual([...stream.objectRefs], expected.object_refs);
        assert.equal(stream.streamSize, BigInt(expected.stream_size!));
        assert.equal(stream.namedRefs.size, 0);
        const whole = reassemble(layer.file, { algorithm, objects: layer.objects });
        assert.equal(sha256(whole), sha256(tar));
        assert.equal(layer.inlineSize + layer.externalSize, tar.length);
      });
    }
  }
});

Deno.test("The worked example's header is as the format's description shows it", () => {
  const file = Deno.readFileSync(`${FIXTURES}worked_example.sha256.splitstream`);
  assert.equal(toByteString(file.subarray(0, 11)), "SplitStream");
  const other = { algorithm: ALGORITHMS.sha512, codec: nodeZstd };
  assert.throws(() => openSplitstream(file, other), {
    message: "Invalid splitstream fs-verity algorithm type",
  });
  assert.throws(
    () =>
      openSplitstream(file, {
        algorithm: ALGORITHMS.sha256,
        contentType: CONTENT_TYPE.ociConfig,
        codec: nodeZstd,
      }),
    { message: "Invalid splitstream content type" },
  );
});
