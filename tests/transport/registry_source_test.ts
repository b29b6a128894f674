import assert from "node:assert/strict";
import { preadFull } from "../../ffi/mod.ts";
import { openSource, temporaryDirectory } from "../../lib/transport/mod.ts";
import { FaultServer, plainReply } from "../helpers/fault_server.ts";
import { loadNative } from "../helpers/native.ts";
import { blobOf, noise } from "../registry/_images.ts";

loadNative();

Deno.test("blobs of a registry are on disk, not in memory, where there is no repository for them", async () => {
  const blob = blobOf(noise(100_000));
  await using server = new FaultServer((request) => {
    if (request.path === "/v2/") return {};
    if (request.path.includes("/blobs/")) return plainReply(request, blob.bytes);
    const body = new TextEncoder().encode('{"schemaVersion":2}');
    return { body };
  });
  await using source = await openSource(`docker://${server.host}/a/b@${blob.digest}`, {
    tlsVerify: false,
    credentials: "none",
    surroundings: { variable: () => undefined, uid: 0, root: "/nonexistent" },
  });
  const { digest, size } = blob;
  using opened = await source.blob({ mediaType: "x/y", digest, size });
  while (opened.arrival!.arrived < size) {
    assert.equal(opened.arrival!.failure, undefined);
    await new Promise((done) => setTimeout(done, 5));
  }
  const path = Deno.readLinkSync(`/proc/self/fd/${opened.fd.number}`);
  assert.ok(path.startsWith(Deno.realPathSync(temporaryDirectory()) + "/"), path);
  assert.match(path, / \(deleted\)$/);
  const bytes = new Uint8Array(size);
  assert.equal(preadFull(opened.fd, bytes, 0), size);
  assert.ok(blobOf(bytes).digest.equals(digest));
});
