import "../helpers/libraries.ts";
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { pullRemote, RemoteSource } from "../../lib/ostree/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";
import { FaultServer, plainReply } from "../helpers/fault_server.ts";
import { TempDir } from "../helpers/temp.ts";
import {
  addCommit,
  assertNothingNamed,
  type MemoryFile,
  type MemoryRemote,
  newRepository,
  noise,
} from "./_remote.ts";

const CHILD = fileURLToPath(new URL("./_remote_child.ts", import.meta.url));

Deno.test("a pull that was killed is taken up by the next one", async (t) => {
  const remote: MemoryRemote = new Map();
  const files = Array.from({ length: 40 }, (_, i): MemoryFile => [`f${i}`, noise(50 + 999 * i, i)]);
  const commit = addCommit(remote, files, { ref: "r" });
  const all = [...remote.keys()].filter((path) => /\.(filez|dirtree|dirmeta|commit)$/.test(path));
  for (const point of [5, 20, 41]) {
    await t.step(`killed at request ${point}`, async () => {
      using temp = new TempDir();
      const [path, journals] = [temp.join("repo"), temp.join("journals")];
      newRepository(path)[Symbol.dispose]();
      let child: Deno.ChildProcess | undefined;
      const killed = Promise.withResolvers<void>();
      await using server = new FaultServer(async (request) => {
        if (child !== undefined && request.count >= point) {
          child.kill("SIGKILL");
          await child.status;
          child = undefined;
          killed.resolve();
          return { drop: true };
        }
        const body = remote.get(request.path);
        return body === undefined ? { status: 404 } : plainReply(request, body);
      });
      child = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", CHILD, server.url, path, journals],
        stdout: "null",
        stderr: "null",
      }).spawn();
      await killed.promise;
      const given = server.requests.length;
      using repository = Repository.open(path);
      assertNothingNamed(repository);
      using source = new RemoteSource(server.url, { backoff: 1 });
      const [result] = await pullRemote(repository, source, { references: ["r"], journals });
      assert.equal(result!.commit, commit);
      const fetched = server.requests.slice(given).filter(({ path }) => all.includes(path)).length;
      const before = server.requests.slice(0, given).filter(({ path }) =>
        all.includes(path)
      ).length;
      // Four requests were under way, and as many may have been answered but not stored.
      assert.ok(fetched <= all.length - before + 8, `${fetched} of ${all.length} after ${before}`);
      assert.deepEqual([...Deno.readDirSync(journals)], []);
    });
  }
});
