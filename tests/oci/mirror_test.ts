import assert from "node:assert/strict";
import { pullImage } from "../../lib/oci/mod.ts";
import { content, END, header } from "../helpers/make_tar.ts";
import { FaultServer } from "../helpers/fault_server.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import { blobOf, MANIFEST_TYPE, type TestBlob } from "../registry/_images.ts";
import { AMD64, chain, newRepository, packed, type Packing, TYPE } from "./_oci.ts";

loadNative();

/** A registry's answers; `lie` changes layers. */
function serve(
  image: { manifest: TestBlob; config: TestBlob; layer: TestBlob },
  lie: (bytes: Uint8Array) => Uint8Array,
): FaultServer {
  return new FaultServer(({ path }) => {
    if (path === "/v2/") return {};
    if (path.includes("/manifests/")) {
      return { body: image.manifest.bytes, headers: { "content-type": MANIFEST_TYPE } };
    }
    const isConfig = path.endsWith(image.config.digest.toString());
    return { body: isConfig ? image.config.bytes : lie(image.layer.bytes) };
  });
}

function makeImage(packing: Packing) {
  const data = new Uint8Array(500_000).map((_, i) => i * i % 251);
  const tar = Buffer.concat([
    header({ name: "usr/", type: "5", mode: 0o755 }),
    header({ name: "usr/file", size: data.length }),
    content(data),
    END,
  ]);
  const layer = blobOf(packed(tar, packing));
  const rootfs = { type: "layers", diff_ids: [blobOf(tar).digest] };
  const config = blobOf(JSON.stringify({ ...AMD64, rootfs }));
  const entry = (mediaType: string, { digest, size }: TestBlob) => ({ mediaType, digest, size });
  const suffix = packing === "plain" ? "" : `+${packing}`;
  const manifest = blobOf(JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: entry(TYPE.config, config),
    layers: [entry(TYPE.layer + suffix, layer)],
  }));
  return { manifest, config, layer };
}

/** Changes one byte, so that the size stays what it is. */
function wrong(bytes: Uint8Array): Uint8Array {
  const at = bytes.length >>> 1;
  return bytes.map((byte, i) => i === at ? byte ^ 0xff : byte);
}

Deno.test("a layer that mirrors give wrong comes from the next place", async (t) => {
  const right = (bytes: Uint8Array) => bytes;
  for (const packing of ["plain", "gzip", "zstd"] as const) {
    for (const good of [true, false]) {
      await t.step(`${packing}, ${good ? "right" : "wrong"} in the end`, async () => {
        const image = makeImage(packing);
        await using first = serve(image, wrong);
        await using second = serve(image, wrong);
        await using main = serve(image, good ? right : wrong);
        using dir = new TempDir();
        const mirrors = [first, second].map(({ host }) =>
          `[[registry.mirror]]\nlocation="${host}/m"\ninsecure=true\n`
        );
        Deno.writeTextFileSync(
          dir.join("registries.conf"),
          `[[registry]]\nprefix="quay.io"\nlocation="${main.host}/r"\ninsecure=true\n` +
            mirrors.join(""),
        );
        const variable = (name: string) =>
          name === "CONTAINERS_REGISTRIES_CONF" ? dir.join("registries.conf") : undefined;
        using repository = newRepository(dir.join("repository"));
        const pulled = pullImage(repository, "docker://quay.io/a:t", {
          name: "t",
          platform: AMD64,
          jobs: 1,
          registry: {
            credentials: "none",
            surroundings: { variable, uid: 0, root: "/nonexistent" },
            http: { backoff: 1, retries: 1 },
          },
        });
        if (good) {
          await pulled;
          assert.ok((await repository.fsck()).ok);
        } else {
          await assert.rejects(pulled, (error) => {
            assert.match(chain(error), /digest mismatch|Invalid|corrupt|checksum/i);
            return true;
          });
        }
        const layer = (server: FaultServer) =>
          server.requests.filter(({ path }) => path.endsWith(image.layer.digest.toString())).length;
        assert.deepEqual([first, second, main].map(layer), [1, 1, 1]);
      });
    }
  }
});
