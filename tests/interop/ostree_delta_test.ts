import assert from "node:assert/strict";
import { ALGORITHMS } from "../../lib/base/mod.ts";
import {
  applyLocalDelta,
  generateDelta,
  LocalRepository,
  parseDeltaSuperblock,
  pullCommit,
  writeLocalDelta,
} from "../../lib/ostree/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { Rng } from "../fuzz/_mutate.ts";
import "../helpers/libraries.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

const needs = [needTool("ostree")];

/** Bytes that do not compress. */
function noise(rng: Rng, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, () => rng.next());
}

/** As a compiler does it to a program: something new in the middle, addresses that have moved. */
function recompiled(program: Uint8Array): Uint8Array {
  const half = program.length >> 1;
  const rng = new Rng(5);
  const out = Uint8Array.from([
    ...program.subarray(0, half),
    ...noise(rng, 77),
    ...program.subarray(half),
  ]);
  for (let at = half; at < out.length; at += 40 + rng.next() % 64) out[at]! += 16;
  return out;
}

/** Two trees, the second like the first with changes of every kind. */
function makeTrees(dir: TempDir): void {
  const rng = new Rng(7);
  const large = noise(rng, 1_500_000);
  const program = noise(rng, 400_000);
  const text = (i: number, to: number) =>
    Array.from({ length: to }, (_, line) => `line ${line} of ${i}\n`).join("");
  for (const tree of ["one", "two"]) {
    const second = tree === "two";
    if (second) large.set(noise(new Rng(3), 5000), 700_000);
    dir.write(`${tree}/large`, large);
    for (let i = 0; i < 30; i++) dir.write(`${tree}/d${i % 3}/${i}`, text(i, second ? 300 : 310));
    dir.write(`${tree}/${second ? "new" : "old"}`, noise(rng, 4000));
    // Only its mode is another one.
    dir.write(`${tree}/same`, program.subarray(0, 50_000));
    Deno.chmodSync(dir.join(tree, "same"), second ? 0o600 : 0o644);
    // In another directory, too.
    dir.write(`${tree}/${second ? "usr/bin" : "bin"}/tool`, second ? recompiled(program) : program);
    // Parts of it change places.
    const [a, b] = [large.subarray(0, 300_000), large.subarray(800_000, 1_200_000)];
    dir.write(`${tree}/moved`, Uint8Array.from(second ? [...b, 1, 2, 3, ...a] : [...a, ...b]));
    dir.write(`${tree}/small`, second ? "b" : "a");
    dir.write(`${tree}/empty/file`, "");
    Deno.symlinkSync(second ? "large" : "small", dir.join(tree, "link"));
    Deno.symlinkSync("nowhere", dir.join(tree, "other"));
    Deno.chmodSync(dir.join(tree, "small"), second ? 0o600 : 0o755);
  }
}

/** A repository of ostree's with two commits. */
async function makeCommits(dir: TempDir): Promise<{ one: string; two: string; repo: string }> {
  makeTrees(dir);
  const repo = dir.join("ostree");
  await runOk(["ostree", "init", `--repo=${repo}`, "--mode=archive"]);
  const commit = async (tree: string) =>
    (await runOk(["ostree", "commit", `--repo=${repo}`, "-b", "main", dir.join(tree)])).stdout
      .trim();
  return { one: await commit("one"), two: await commit("two"), repo };
}

function newRepository(path: string): Repository {
  initRepository(path, { algorithm: ALGORITHMS.sha256, insecure: true });
  return Repository.open(path);
}

const VARIANTS: { name: string; args: string[] }[] = [
  { name: "as it comes", args: [] },
  { name: "without bsdiff", args: ["--disable-bsdiff"] },
  { name: "inline", args: ["--inline"] },
  { name: "swapped endianness", args: ["--swap-endianness"] },
  { name: "endianness B, inline", args: ["--set-endianness=B", "--inline"] },
  { name: "several parts", args: ["--max-chunk-size=1"] },
];

testWith({
  name: "deltas of ostree give what pulling gives",
  needs,
  async fn(t) {
    using dir = new TempDir();
    const { one, two, repo } = await makeCommits(dir);
    using pulled = newRepository(dir.join("pulled"));
    using source = LocalRepository.open(repo);
    const first = await pullCommit(pulled, source, { reference: one });
    const second = await pullCommit(pulled, source, { reference: two });
    for (const { name, args } of VARIANTS) {
      await t.step(name, async () => {
        using out = new TempDir();
        const generate = (...more: string[]) =>
          runOk(["ostree", "static-delta", "generate", `--repo=${repo}`, ...args, ...more]);
        Deno.mkdirSync(out.join("empty"));
        Deno.mkdirSync(out.join("delta"));
        await generate("--empty", `--to=${one}`, `--filename=${out.join("empty/superblock")}`);
        const file = out.join("delta/superblock");
        await generate(`--from=${one}`, `--to=${two}`, `--filename=${file}`);
        const delta = parseDeltaSuperblock(Deno.readFileSync(file));
        assert.equal(delta.parts[0]!.inline !== undefined, args.includes("--inline"));
        using repository = newRepository(out.join("repo"));
        const applied = await applyLocalDelta(repository, out.join("empty"));
        assert.equal(applied.stream, first.stream);
        const next = await applyLocalDelta(repository, out.join("delta"));
        assert.equal(next.stream, second.stream);
        assert.ok(delta.parts.length > 0 && next.stats.delta!.files > 30);
      });
    }
    await t.step("with fallbacks", async () => {
      using out = new TempDir();
      await runOk([
        ...["ostree", "static-delta", "generate", `--repo=${repo}`, "--min-fallback-size=1"],
        ...["--empty", `--to=${one}`, `--filename=${out.join("superblock")}`],
      ]);
      const delta = parseDeltaSuperblock(Deno.readFileSync(out.join("superblock")));
      assert.deepEqual(
        delta.fallbacks.map(({ kind, uncompressedSize }) => [kind, uncompressedSize]),
        [["file", 1_500_000]],
      );
      using repository = newRepository(out.join("repo"));
      await assert.rejects(applyLocalDelta(repository, out.path), {
        message: "cannot apply delta offline: contains 1 fallback entry",
      });
    });
  },
});

testWith({
  name: "ostree applies our deltas",
  needs,
  async fn(t) {
    using dir = new TempDir();
    const { one, two, repo } = await makeCommits(dir);
    using repository = newRepository(dir.join("repo"));
    using source = LocalRepository.open(repo);
    const first = (await pullCommit(repository, source, { reference: one })).commit;
    const second = (await pullCommit(repository, source, { reference: two })).commit;
    const variants = {
      files: {},
      inline: { inline: true },
      plain: { plain: true },
      "without patches": { maxPatchSize: 0 },
      "many parts": { maxChunkSize: 100_000 },
    };
    for (const [name, how] of Object.entries(variants)) {
      await t.step(name, async () => {
        using out = new TempDir();
        const theirs = out.join("theirs");
        await runOk(["ostree", "init", `--repo=${theirs}`, "--mode=bare-user"]);
        const whole = await generateDelta(repository, { to: first, ...how });
        const update = await generateDelta(repository, { from: first, to: second, ...how });
        // Most of the large file is the same, and not in the delta.
        const patched = !("maxPatchSize" in how);
        assert.ok(whole.size > 1_500_000, String(whole.size));
        assert.ok(name === "plain" || update.size < (patched ? 60_000 : 450_000), `${update.size}`);
        assert.equal(update.patches, patched ? 1 : 0);
        if (name === "many parts") assert.ok(whole.parts > 3 && update.parts > 1);
        for (const [at, delta] of Object.entries({ whole, update })) {
          writeLocalDelta(out.join(at), delta);
          await runOk([
            ...["ostree", "static-delta", "apply-offline", `--repo=${theirs}`],
            out.join(at, "superblock"),
          ]);
        }
        const { stdout } = await runOk(["ostree", "fsck", `--repo=${theirs}`]);
        assert.match(stdout, /fsck of 2 commits completed successfully/);
        await runOk(["ostree", "checkout", "-U", `--repo=${theirs}`, two, out.join("tree")]);
        await runOk(["diff", "-r", "--no-dereference", dir.join("two"), out.join("tree")]);
      });
    }
  },
});

testWith({
  name: "our deltas are no larger than ostree's",
  needs,
  async fn(t) {
    using dir = new TempDir();
    const { one, two, repo } = await makeCommits(dir);
    using repository = newRepository(dir.join("repo"));
    using source = LocalRepository.open(repo);
    const first = (await pullCommit(repository, source, { reference: one })).commit;
    const second = (await pullCommit(repository, source, { reference: two })).commit;
    await t.step("large files are left out only where they are like nothing", async () => {
      const minFallbackSize = 100_000;
      const whole = await generateDelta(repository, { to: first, minFallbackSize });
      assert.equal(whole.fallbacks, 3);
      const update = await generateDelta(repository, { from: first, to: second, minFallbackSize });
      assert.equal(update.fallbacks, 0);
    });
    for (
      const [name, from, to] of [
        ["from nothing", undefined, first],
        ["an update", first, second],
        ["and back", second, first],
      ] as const
    ) {
      await t.step(name, async () => {
        using out = new TempDir();
        await runOk([
          ...["ostree", "static-delta", "generate", `--repo=${repo}`, "--min-fallback-size=0"],
          ...[from === undefined ? "--empty" : `--from=${from}`, `--to=${to}`],
          `--filename=${out.join("superblock")}`,
        ]);
        let theirs = 0;
        for (const { name } of Deno.readDirSync(out.path)) {
          theirs += Deno.statSync(out.join(name)).size;
        }
        const ours = await generateDelta(repository, {
          to,
          ...(from === undefined ? {} : { from }),
        });
        // Contents that do not compress come out equal, but for the order of files.
        const allowed = from === undefined ? 1.005 : 1;
        assert.ok(ours.size <= allowed * theirs, `${ours.size} bytes, ostree's ${theirs}`);
      });
    }
  },
});
