import assert from "node:assert/strict";
import { Digest } from "../../lib/base/mod.ts";
import { pullImage } from "../../lib/oci/mod.ts";
import { fetchRanges } from "../../lib/oci/range_fetch.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { type ImageSource, openScratch, RangeArrival } from "../../lib/transport/mod.ts";
import { fstatfs } from "../../ffi/mod.ts";
import { chunkedLayer } from "../helpers/chunked_layer.ts";
import { FaultServer, plainReply } from "../helpers/fault_server.ts";
import { LoopFs } from "../helpers/loop_fs.ts";
import { loadNative } from "../helpers/native.ts";
import { needFileSystem, needRoot, needTool, testWith } from "../helpers/needs.ts";
import { blobOf, MANIFEST_TYPE, noise } from "../registry/_images.ts";
import { AMD64, chain, TYPE } from "./_oci.ts";

loadNative();

const MIB = 2 ** 20;
const needs = [needRoot(), needTool("mkfs.ext4"), needFileSystem("ext4")];

testWith({
  name: "ranges that do not fit are given up before the file system is full",
  needs,
  async fn() {
    using fs = new LoopFs("ext4", { sizeMiB: 60 });
    using fd = openScratch(fs.path);
    const size = 100 * MIB;
    const piece = noise(MIB);
    const source = {
      ranges(_: unknown, [range]: { offset: number; size: number }[], { sink }: {
        sink: (range: { offset: number; size: number }, piece: Uint8Array) => void;
      }) {
        for (let at = 0; at < range!.size; at += MIB) sink(range!, piece);
        return Promise.resolve(true);
      },
    } as unknown as ImageSource;
    const descriptor = { mediaType: "x/y", digest: blobOf("x").digest, size };
    const fetching = (async () =>
      await fetchRanges(source, descriptor, {
        ranges: [{ start: 0, end: size }],
        fd,
        arrival: new RangeArrival(1),
        signal: new AbortController().signal,
      }))();
    await assert.rejects(fetching, { code: "CFS_UNSUPPORTED", detail: "no-space" });
    assert.ok(fstatfs(fd).available > MIB);
  },
});

testWith({
  name: "a layer of whose parts too much is missing is not begun with",
  needs,
  async fn(t) {
    const layer = chunkedLayer([{ name: "usr/" }, { name: "usr/file", data: noise(40 * MIB) }]);
    const blob = blobOf(layer.blob);
    const config = blobOf(JSON.stringify({
      ...AMD64,
      rootfs: { type: "layers", diff_ids: [blobOf(layer.tar).digest] },
    }));
    const manifest = blobOf(JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: { mediaType: TYPE.config, digest: config.digest, size: config.size },
      layers: [{
        mediaType: `${TYPE.layer}+zstd`,
        digest: blob.digest,
        size: blob.size,
        annotations: layer.annotations,
      }],
    }));
    let content = 0;
    await using server = new FaultServer((request) => {
      if (request.path === "/v2/") return {};
      if (request.path.includes("/manifests/")) {
        return { body: manifest.bytes, headers: { "content-type": MANIFEST_TYPE } };
      }
      const digest = Digest.parse(request.path.split("/").at(-1)!);
      if (digest.equals(config.digest)) return plainReply(request, config.bytes);
      const { bytes, size } = blob;
      const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
      if (range === null) {
        content += size;
        return { body: bytes };
      }
      const [start, end] = [Number(range[1]), Number(range[2]) + 1];
      content += end - start;
      const headers = { "content-range": `bytes ${start}-${end - 1}/${size}` };
      return { status: 206, headers, body: bytes.subarray(start, end) };
    });
    using fs = new LoopFs("ext4", { sizeMiB: 30 });
    const path = fs.join("r");
    initRepository(path, { insecure: true });
    using repository = Repository.open(path);
    for (const partial of ["auto", "require", "never"] as const) {
      await t.step(partial, async () => {
        content = 0;
        const warnings: string[] = [];
        const pulled = pullImage(repository, `docker://${server.host}/a/b:t`, {
          name: "t",
          platform: AMD64,
          partial,
          registry: {
            tlsVerify: false,
            credentials: "none",
            surroundings: { variable: () => undefined, uid: 0, root: "/nonexistent" },
            http: { backoff: 1 },
          },
          progress: (event) => event.type === "warning" && warnings.push(event.text),
        });
        await assert.rejects(pulled, (error) => {
          assert.match(chain(error), /No room to fetch \d+ bytes: \d+ bytes are free/);
          return true;
        });
        assert.deepEqual(warnings, []);
        assert.ok(content < MIB, `${content} bytes were sent`);
      });
    }
  },
});
