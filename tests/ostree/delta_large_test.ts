import assert from "node:assert/strict";
import { lzma } from "../../ffi/mod.ts";
import {
  applyLocalDelta,
  deltaFromServer,
  deltaPath,
  generateDelta,
  type GenerateDeltaOptions,
  LocalRepository,
  parseDeltaSuperblock,
  pullCommit,
  RemoteSource,
  writeLocalDelta,
} from "../../lib/ostree/mod.ts";
import { directoryReply, FaultServer } from "../helpers/fault_server.ts";
import { need, needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { newRepository } from "./_remote.ts";

const needs = [needTool("ostree"), need(lzma() !== undefined, "liblzma")];
/** More than a part may have in memory, and parts' files that are not held in memory either. */
const SIZE = { file: 70_000_000, noise: 9_000_000 } as const;

/** Files of deltas, and files without names, that this process has open. */
function openFiles(dir: TempDir): string[] {
  const links = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return ""; // closed meanwhile
      throw error;
    }
  });
  return links.filter((link) =>
    link.startsWith(dir.path) && /\/(?:\d+|superblock)$|\(deleted\)$/.test(link)
  );
}

function makeFile(path: string, change: number): void {
  const bytes = new Uint8Array(SIZE.file);
  let state = 1;
  for (let i = 0; i < SIZE.noise; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  // Far apart, so that runs of the old file and a patch are both large.
  for (let at = 0; at < SIZE.file; at += 1_000_000) bytes[at] = change;
  Deno.writeFileSync(path, bytes);
}

testWith({
  name: "parts that are too large for memory are applied from files",
  needs,
  async fn(t) {
    using dir = new TempDir();
    const remote = dir.join("remote");
    await runOk(["ostree", "init", `--repo=${remote}`, "--mode=archive"]);
    Deno.mkdirSync(dir.join("tree"));
    const commit = async (change: number) => {
      makeFile(dir.join("tree/file"), change);
      const args = ["commit", `--repo=${remote}`, "-b", "main", dir.join("tree")];
      return (await runOk(["ostree", ...args])).stdout.trim();
    };
    using source = LocalRepository.open(remote);
    using repository = newRepository(dir.join("made"));
    const first = await pullCommit(repository, source, { reference: await commit(1) });
    const second = await pullCommit(repository, source, { reference: await commit(2) });
    const generate = async (name: string, options: GenerateDeltaOptions) => {
      const delta = await generateDelta(repository, { ...options, maxChunkSize: 100_000_000 });
      writeLocalDelta(dir.join(name), delta);
      return delta;
    };
    const whole = await generate("whole", { to: first.commit });
    assert.ok(whole.size > SIZE.noise);
    await t.step("from a directory", async () => {
      using other = newRepository(dir.join("local"));
      assert.equal((await applyLocalDelta(other, dir.join("whole"))).stream, first.stream);
      assert.deepEqual(openFiles(dir), []);
      const update = await generate("update", { from: first.commit, to: second.commit });
      assert.ok(update.size < 50_000, String(update.size));
      assert.equal((await applyLocalDelta(other, dir.join("update"))).stream, second.stream);
      assert.deepEqual(openFiles(dir), []);
    });
    await t.step("from a server", async () => {
      const path = `${remote}/${deltaPath({ from: undefined, to: first.commit })}`;
      Deno.mkdirSync(path, { recursive: true });
      for (const name of ["superblock", "0"]) {
        Deno.copyFileSync(dir.join("whole", name), `${path}/${name}`);
      }
      await runOk(["ostree", "summary", `--repo=${remote}`, "--update"]);
      await using server = new FaultServer((request) => directoryReply(remote, request));
      using other = newRepository(dir.join("http"));
      using http = new RemoteSource(server.url, { backoff: 1, retries: 0 });
      const delta = deltaFromServer(http, { require: true });
      const pulled = await pullCommit(other, http, { reference: first.commit, delta });
      assert.equal(pulled.stream, first.stream);
      assert.equal(pulled.stats.delta?.parts, 1);
    });
    await t.step("that lie about their size", async () => {
      using other = newRepository(dir.join("lies"));
      const { parts: [entry] } = parseDeltaSuperblock(whole.superblock);
      assert.ok(entry!.size > 8 * 1024 * 1024);
      const part = dir.join("whole/0");
      Deno.truncateSync(part, entry!.size - 1);
      await assert.rejects(applyLocalDelta(other, dir.join("whole")), (error: Error) => {
        assert.match(String(error.cause), /checksum mismatch/);
        return true;
      });
      Deno.truncateSync(part, entry!.size + 1);
      await assert.rejects(applyLocalDelta(other, dir.join("whole")), /at most/);
      assert.deepEqual(openFiles(dir), []);
    });
  },
});
