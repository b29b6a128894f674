import assert from "node:assert/strict";
import {
  listCommitTags,
  type OstreePullOptions,
  pullCommit,
  RemoteSource,
} from "../../lib/ostree/mod.ts";
import { FaultServer, plainReply } from "../helpers/fault_server.ts";
import { TempDir } from "../helpers/temp.ts";
import { addCommit, type MemoryRemote, newRepository } from "./_remote.ts";

const encoder = new TextEncoder();

Deno.test("a ref leads neither to another ref's commit nor back, whether the commit is stored or not", async (t) => {
  const remote: MemoryRemote = new Map();
  const commitOf = (name: string, timestamp: bigint) =>
    addCommit(remote, [["file", encoder.encode(`${name} ${timestamp}`)]], {
      ref: name,
      timestamp,
      bound: [name],
    });
  const old = commitOf("main", 1000n);
  const present = commitOf("main", 2000n);
  const other = commitOf("other", 3000n);
  await using server = new FaultServer((request) => {
    const bytes = remote.get(request.path);
    return bytes === undefined ? { status: 404 } : plainReply(request, bytes);
  });
  const cases: { name: string; target: string; options: OstreePullOptions; message: RegExp }[] = [
    {
      name: "back",
      target: old,
      options: { timestampCheck: true },
      message: /is chronologically older than current revision/,
    },
    {
      name: "elsewhere",
      target: other,
      options: {},
      message: /has no requested ref 'main' in ref binding metadata \('other'\)/,
    },
  ];
  for (const stored of [false, true]) {
    for (const { name, target, options, message } of cases) {
      await t.step(`${name}, ${stored ? "stored" : "not stored"}`, async () => {
        using dir = new TempDir();
        using repository = newRepository(dir.join("repo"));
        const pull = async (reference: string, more: OstreePullOptions = {}) => {
          using source = new RemoteSource(server.url, { retries: 0 });
          return await pullCommit(repository, source, { reference, ...more });
        };
        const lead = (commit: string) => remote.set("/refs/heads/main", encoder.encode(commit));
        lead(present);
        await pull("main");
        if (stored) await pull(target, { tag: null });
        lead(target);
        await assert.rejects(pull("main", options), (error: Error & { code?: string }) => {
          for (let at: unknown = error; at instanceof Error; at = at.cause) {
            if (message.test(at.message)) return true;
          }
          throw error;
        });
        const tags = listCommitTags(repository).map((tag) => [tag.name, tag.commit]);
        assert.deepEqual(tags, [["main", present]]);
        // What was asked for in so many words may be done.
        await pull("main", { disableRefBindingCheck: true });
        assert.deepEqual(listCommitTags(repository).map((tag) => tag.commit), [target]);
      });
    }
  }
});
