import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { NotFoundError } from "../../lib/base/mod.ts";
import {
  applyLocalDelta,
  type Checksum,
  generateDelta,
  LocalRepository,
  parseDeltaSuperblock,
  pullCommit,
  writeLocalDelta,
} from "../../lib/ostree/mod.ts";
import { TempDir } from "../helpers/temp.ts";
import { A, B, BOTH, newRepository, unpack } from "./_remote.ts";

Deno.test("generateDelta() makes deltas that give the same commits", async (t) => {
  for (const algorithm of BOTH) {
    using dir = new TempDir();
    using source = LocalRepository.open(unpack(dir.join("remote"), "archive"));
    using repository = newRepository(dir.join("repo"), algorithm);
    const first = await pullCommit(repository, source, { reference: A });
    const second = await pullCommit(repository, source, { reference: B });
    for (
      const [name, how] of Object.entries({
        files: {},
        inline: { inline: true },
        plain: { plain: true },
      })
    ) {
      await t.step(`${name}, ${algorithm.hash}`, async () => {
        using other = newRepository(dir.join(name), algorithm);
        const whole = generateDelta(repository, { to: first.commit, ...how });
        assert.equal(whole.objects, 12 + 26);
        writeLocalDelta(dir.join(`${name}-whole`), whole);
        const applied = await applyLocalDelta(other, dir.join(`${name}-whole`));
        assert.equal(applied.stream, first.stream);
        const update = generateDelta(repository, { from: first.commit, to: second.commit, ...how });
        assert.equal(update.objects, 5 + 6);
        assert.equal(update.parts.length, name === "files" ? 1 : 0);
        writeLocalDelta(dir.join(`${name}-update`), update);
        const next = await applyLocalDelta(other, dir.join(`${name}-update`));
        assert.equal(next.stream, second.stream);
        assert.deepEqual(next.stats.delta, { metadata: 6, files: 6, parts: 1 });
      });
    }
    await t.step(`always the same, ${algorithm.hash}`, () => {
      const options = { from: first.commit, to: second.commit };
      const [one, two] = [generateDelta(repository, options), generateDelta(repository, options)];
      assert.deepEqual(one.superblock, two.superblock);
      const { timestamp, commit } = parseDeltaSuperblock(one.superblock);
      assert.equal(timestamp, commit.timestamp);
      const later = generateDelta(repository, { ...options, timestamp: 7n });
      assert.equal(parseDeltaSuperblock(later.superblock).timestamp, 7n);
    });
    await t.step(`nothing to do, ${algorithm.hash}`, async () => {
      const none = generateDelta(repository, { from: second.commit, to: second.commit });
      assert.deepEqual([none.parts.length, none.objects], [0, 0]);
      writeLocalDelta(dir.join("none"), none);
      assert.ok((await applyLocalDelta(repository, dir.join("none"))).present);
    });
  }
});

Deno.test("generateDelta() needs both commits", async () => {
  using dir = new TempDir();
  using source = LocalRepository.open(unpack(dir.join("remote"), "archive"));
  using repository = newRepository(dir.join("repo"));
  await pullCommit(repository, source, { reference: A });
  const [a, b] = [A as Checksum, B as Checksum];
  assert.throws(() => generateDelta(repository, { to: b }), NotFoundError);
  assert.throws(() => generateDelta(repository, { from: b, to: a }), NotFoundError);
});

Deno.test("generateDelta() keeps detached metadata", async () => {
  using dir = new TempDir();
  using source = LocalRepository.open(unpack(dir.join("remote"), "signed"));
  using repository = newRepository(dir.join("repo"));
  const { commit, stream } = await pullCommit(repository, source, { reference: "signed" });
  const delta = generateDelta(repository, { to: commit, inline: true });
  assert.deepEqual(
    Buffer.from(parseDeltaSuperblock(delta.superblock).detached!),
    Buffer.from((await source.readDetached(commit))!),
  );
  writeLocalDelta(dir.join("delta"), delta);
  using other = newRepository(dir.join("other"));
  assert.equal((await applyLocalDelta(other, dir.join("delta"))).stream, stream);
});
