import assert from "node:assert/strict";
import { directoryReply, FaultServer } from "../helpers/fault_server.ts";
import { TempDir } from "../helpers/temp.ts";
import { A, unpack } from "../ostree/_remote.ts";
import { call } from "./_call.ts";

Deno.test("ostree pull uses static deltas as its options say", async () => {
  using dir = new TempDir();
  const remote = unpack(dir.join("remote"), "archive", "archive-deltas-overlay");
  await using server = new FaultServer((request) => directoryReply(remote, request));
  const pull = (repo: string, ...args: string[]) =>
    call(["--repo", dir.join(repo), "ostree", "pull", server.url, ...args]);
  for (const repo of ["one", "two"]) await call(["init", "--insecure", dir.join(repo)]);
  const first = await pull("one", A);
  assert.match(first.stdout, /^objects 13 metadata \+ 26 files via 1 delta parts$/m);
  const second = await pull("one", "--require-delta", "test/stable");
  assert.match(second.stdout, /^objects 6 metadata \+ 6 files via 1 delta parts$/m);
  const objects = await pull("two", "--no-delta", "test/stable");
  assert.match(objects.stdout, /^objects 14 metadata \+ 27 files fetched$/m);
  const verity = (text: string) => /^verity .*$/m.exec(text)![0];
  assert.equal(verity(second.stdout), verity(objects.stdout));
  const both = await pull("two", "--no-delta", "--require-delta", "test/stable");
  assert.equal(both.code, 2);
  assert.match(both.stderr, /'--require-delta' cannot be used with '--no-delta'/);
});
