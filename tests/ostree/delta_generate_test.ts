import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { generateKeyPairSync } from "node:crypto";
import { FormatError, NotFoundError } from "../../lib/base/mod.ts";
import {
  applyLocalDelta,
  type Checksum,
  generateDelta,
  keyPolicy,
  LocalRepository,
  openDeltaEnvelope,
  parseDeltaSuperblock,
  pullCommit,
  SecretKey,
  verifyDelta,
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
        const whole = await generateDelta(repository, { to: first.commit, ...how });
        assert.equal(whole.objects, 12 + 26);
        writeLocalDelta(dir.join(`${name}-whole`), whole);
        const applied = await applyLocalDelta(other, dir.join(`${name}-whole`));
        assert.equal(applied.stream, first.stream);
        const update = await generateDelta(repository, {
          from: first.commit,
          to: second.commit,
          ...how,
        });
        assert.equal(update.objects, 5 + 6);
        assert.equal(update.files.length, name === "files" ? 1 : 0);
        writeLocalDelta(dir.join(`${name}-update`), update);
        const next = await applyLocalDelta(other, dir.join(`${name}-update`));
        assert.equal(next.stream, second.stream);
        assert.deepEqual(next.stats.delta, { metadata: 6, files: 6, parts: 1 });
      });
    }
    await t.step(`always the same, ${algorithm.hash}`, async () => {
      const options = { from: first.commit, to: second.commit };
      const [one, two] = [
        await generateDelta(repository, options),
        await generateDelta(repository, options),
      ];
      assert.deepEqual(one.superblock, two.superblock);
      const { timestamp, commit } = parseDeltaSuperblock(one.superblock);
      assert.equal(timestamp, commit.timestamp);
      const later = await generateDelta(repository, { ...options, timestamp: 7n });
      assert.equal(parseDeltaSuperblock(later.superblock).timestamp, 7n);
    });
    await t.step(`nothing to do, ${algorithm.hash}`, async () => {
      const none = await generateDelta(repository, { from: second.commit, to: second.commit });
      assert.deepEqual([none.parts, none.objects], [0, 0]);
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
  await assert.rejects(() => generateDelta(repository, { to: b }), NotFoundError);
  await assert.rejects(() => generateDelta(repository, { from: b, to: a }), NotFoundError);
});

Deno.test("generateDelta() notices damaged files, those that it builds upon as well", async (t) => {
  for (const damaged of ["old", "new"]) {
    await t.step(damaged, async () => {
      using dir = new TempDir();
      using source = LocalRepository.open(unpack(dir.join("remote"), "archive"));
      using repository = newRepository(dir.join("repo"));
      const first = await pullCommit(repository, source, { reference: A });
      const before = new Set(repository.objects.list());
      const second = await pullCommit(repository, source, { reference: B });
      // Both commits have a file of 100,000 bytes or so with the same name.
      const ids = [...repository.objects.list()].filter((id) =>
        before.has(id) === (damaged === "old") && repository.objects.size(id)! > 90_000
      );
      assert.ok(ids.length > 0);
      for (const id of ids) {
        const path = `${repository.path}/objects/${id.slice(0, 2)}/${id.slice(2)}`;
        const bytes = Deno.readFileSync(path);
        bytes[50_000]! ^= 1;
        Deno.chmodSync(path, 0o644);
        Deno.writeFileSync(path, bytes);
      }
      await assert.rejects(
        generateDelta(repository, { from: first.commit, to: second.commit }),
        { name: "DigestMismatchError", message: /^Corrupted file object/ },
      );
    });
  }
});

Deno.test("generateDelta() keeps detached metadata", async () => {
  using dir = new TempDir();
  using source = LocalRepository.open(unpack(dir.join("remote"), "signed"));
  using repository = newRepository(dir.join("repo"));
  const { commit, stream } = await pullCommit(repository, source, { reference: "signed" });
  const delta = await generateDelta(repository, { to: commit, inline: true });
  assert.deepEqual(
    Buffer.from(parseDeltaSuperblock(delta.superblock).detached!),
    Buffer.from((await source.readDetached(commit))!),
  );
  writeLocalDelta(dir.join("delta"), delta);
  using other = newRepository(dir.join("other"));
  assert.equal((await applyLocalDelta(other, dir.join("delta"))).stream, stream);
});

Deno.test("generateDelta() leaves large files to be fetched", async () => {
  using dir = new TempDir();
  using source = LocalRepository.open(unpack(dir.join("remote"), "archive"));
  using repository = newRepository(dir.join("repo"));
  const { commit } = await pullCommit(repository, source, { reference: A });
  const minFallbackSize = 128;
  const delta = await generateDelta(repository, { to: commit, minFallbackSize });
  const { fallbacks } = parseDeltaSuperblock(delta.superblock);
  assert.ok(fallbacks.length > 0);
  assert.equal(delta.fallbacks, fallbacks.length);
  assert.equal(delta.objects + fallbacks.length, 12 + 26);
  for (const { kind, uncompressedSize } of fallbacks) {
    assert.equal(kind, "file");
    assert.ok(uncompressedSize >= minFallbackSize);
  }
});

Deno.test("generateDelta() signs superblocks", async (t) => {
  using dir = new TempDir();
  using source = LocalRepository.open(unpack(dir.join("remote"), "archive"));
  using repository = newRepository(dir.join("repo"));
  const { commit } = await pullCommit(repository, source, { reference: A });
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const jwk = privateKey.export({ format: "jwk" });
  const seed = Buffer.from(jwk.d!, "base64url");
  const raw = Buffer.from(jwk.x!, "base64url");
  const secret = Buffer.concat([seed, raw]).toString("base64");
  assert.equal(publicKey.asymmetricKeyType, "ed25519");
  const policy = keyPolicy({ signKeys: [`ed25519:inline:${raw.toString("base64")}`] });
  for (const text of [`ed25519:${secret}`, `ed25519:file:${dir.write("key", secret + "\n")}`]) {
    await t.step(text.includes("file") ? "key in a file" : "key", async () => {
      const signKey = SecretKey.fromArgument(text);
      const delta = await generateDelta(repository, { to: commit, inline: true, signKey });
      const { superblock, signatures } = openDeltaEnvelope(delta.superblock);
      assert.equal((await verifyDelta(superblock, signatures, { policy })).valid.length, 1);
      writeLocalDelta(dir.join("delta"), delta);
      using other = newRepository(dir.join(`other-${text.length}`));
      let seen = false;
      await applyLocalDelta(other, dir.join("delta"), {
        verify: async (_commit, signed) => {
          await verifyDelta(signed.superblock, signed.signatures, { policy });
          seen = true;
        },
      });
      assert.ok(seen);
    });
  }
  const other = Buffer.concat([seed, Buffer.alloc(32, 1)]).toString("base64");
  for (
    const [name, text, message] of [
      ["another's public key", `ed25519:${other}`, /does not belong/],
      ["no key", `ed25519:file:${dir.write("no", "AAAA")}`, /Invalid ed25519 secret key/],
      ["no file", `ed25519:${dir.join("nosuch")}`, /No such key file/],
      ["no kind", secret, /Expected ed25519/],
    ] as const
  ) {
    await t.step(name, () => {
      assert.throws(() => SecretKey.fromArgument(text), (error) => {
        assert.ok(error instanceof FormatError);
        assert.match(error.message, message);
        assert.ok(!error.message.includes(secret));
        return true;
      });
    });
  }
});
