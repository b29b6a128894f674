import assert from "node:assert/strict";
import { pullCommit, RemoteSource } from "../../lib/ostree/mod.ts";
import { PartFile } from "../../lib/ostree/part_file.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { FaultServer, plainReply } from "../helpers/fault_server.ts";
import { LoopFs } from "../helpers/loop_fs.ts";
import { loadNative } from "../helpers/native.ts";
import { needFileSystem, needRoot, needTool, testWith } from "../helpers/needs.ts";
import { chain } from "../oci/_oci.ts";
import { addCommit, assertNothingNamed, type MemoryRemote } from "../ostree/_remote.ts";

loadNative();

const MIB = 2 ** 20;
const NEARLY_FULL = /No space left on device: the repository is nearly full$/;

const needs = [needRoot(), needTool("mkfs.ext4"), needFileSystem("ext4")];

testWith({
  name: "a file of a server that unpacks to very much gives up before the file system is full",
  needs,
  async fn() {
    const remote: MemoryRemote = new Map();
    addCommit(remote, [["big", new Uint8Array(100 * MIB)]], { ref: "main" });
    await using server = new FaultServer((request) => {
      const bytes = remote.get(request.path);
      return bytes === undefined ? { status: 404 } : plainReply(request, bytes);
    });
    using fs = new LoopFs("ext4", { sizeMiB: 60 });
    const path = fs.join("r");
    initRepository(path, { insecure: true });
    using repository = Repository.open(path);
    const before = repository.available;
    using source = new RemoteSource(server.url, { retries: 0 });
    await assert.rejects(pullCommit(repository, source, { reference: "main" }), (error) => {
      assert.match(chain(error), NEARLY_FULL);
      return true;
    });
    assertNothingNamed(repository);
    repository.gc();
    assert.ok(before - repository.available < MIB, "nothing is left behind");
  },
});

testWith({
  name: "a file that a server sends without end is given up before the file system is full",
  needs,
  fn() {
    using fs = new LoopFs("ext4", { sizeMiB: 60 });
    const part = PartFile.open(fs.join("part"))!;
    try {
      const piece = new Uint8Array(MIB);
      assert.throws(() => {
        for (;;) part.write(piece);
      }, NEARLY_FULL);
      assert.equal(part.size, 0);
      assert.equal(Deno.statSync(fs.join("part")).size, 0);
      part.write(piece);
      assert.equal(part.size, MIB);
    } finally {
      part.close();
    }
  },
});
