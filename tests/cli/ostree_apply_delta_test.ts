import assert from "node:assert/strict";
import { ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { unpack } from "../ostree/_remote.ts";
import { call } from "./_call.ts";

const FIXTURES = `${ROOT}fixtures/ostree/deltas`;
const B = "927c5470b98460a6e908a9f8539535def1566d5e11af003872b8ae1e573d9939";
const IMAGE_B = "2ac8bf3ff5990ca641c0019dc1be4e1f6e789c1258cbec3d8e8f602442705ec1";

Deno.test("ostree apply-delta prints what it stored, as the reference does", async () => {
  using dir = new TempDir();
  const cfs = (...args: string[]) => call(["--repo", dir.join("repo"), ...args]);
  const apply = (...args: string[]) => cfs("ostree", "apply-delta", ...args);
  await call(["init", "--insecure", "--algorithm", "fsverity-sha256-12", dir.join("repo")]);
  const early = await apply(`${FIXTURES}/std`);
  assert.equal(early.code, 1);
  assert.match(early.stderr, /^Error: base commit 07c21df6[0-9a-f]+ not found in repository\n/);
  const first = await apply(`${FIXTURES}/scratch`);
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /^objects 13 metadata \+ 26 files applied$/m);
  assert.match(first.stderr, /not tagged; gc will remove it/);
  const second = await apply("--reference", "os/stable", `${FIXTURES}/std/superblock`);
  assert.match(
    second.stdout,
    new RegExp(
      `^commit  ${B}\nverity  [0-9a-f]{64}\nimage   ${IMAGE_B}\n` +
        "tagged  os/stable\nobjects 6 metadata \\+ 6 files applied\n$",
    ),
  );
  assert.equal(second.stderr, "");
  const again = await apply(`${FIXTURES}/std`);
  assert.match(again.stdout, /^objects 0 metadata \+ 0 files applied$/m);
  const json = JSON.parse((await apply("--json", `${FIXTURES}/inline`)).stdout);
  assert.deepEqual([json.commit, json.image, json.present], [B, IMAGE_B, true]);
  assert.match((await cfs("ostree", "images")).stdout, /os\/stable/);
  assert.match((await cfs("fsck")).stdout, /^status: ok$/m);
});

Deno.test("ostree apply-delta refuses a forged commit", async () => {
  using dir = new TempDir();
  const cfs = (...args: string[]) => call(["--repo", dir.join("repo"), ...args]);
  await call(["init", "--insecure", dir.join("repo")]);
  await cfs("ostree", "apply-delta", `${FIXTURES}/scratch`);
  const forged = await cfs("ostree", "apply-delta", "--reference", "x", `${FIXTURES}/hostile`);
  assert.equal(forged.code, 1);
  assert.equal(forged.stdout, "");
  assert.match(forged.stderr, /^Error: Corrupted commit object; checksum expected='927c/);
  assert.doesNotMatch((await cfs("ostree", "images")).stdout, /x/);
  assert.equal((await cfs("ostree", "inspect", B)).code, 1);
});

Deno.test("ostree delta generate makes what ostree apply-delta takes", async () => {
  using dir = new TempDir();
  const cfs = (...args: string[]) => call(["--repo", dir.join("repo"), ...args]);
  const other = (...args: string[]) => call(["--repo", dir.join("other"), ...args]);
  for (const repo of ["repo", "other"]) await call(["init", "--insecure", dir.join(repo)]);
  await cfs("ostree", "apply-delta", "--reference", "one", `${FIXTURES}/scratch`);
  await cfs("ostree", "apply-delta", "--reference", "two", `${FIXTURES}/std`);
  const generate = (name: string, ...args: string[]) =>
    cfs("ostree", "delta", "generate", "--output", dir.join(name), ...args);
  const whole = await generate("whole", "--inline", "one");
  assert.match(whole.stdout, /^to {6}07c21df6[0-9a-f]{56}\nobjects 38 in \S+ \S+\n$/);
  const update = await generate("update", "one", "two");
  assert.match(update.stdout, /^from {4}07c21df6.*\nto {6}927c5470.*\nobjects 11 in /);
  const json = JSON.parse((await generate("plain", "--no-compress", "--json", "two")).stdout);
  assert.deepEqual([json.from, json.to, json.objects, json.parts], [null, B, 41 - 1, 1]);
  assert.equal((await other("ostree", "apply-delta", dir.join("whole/superblock"))).code, 0);
  const applied = await other("ostree", "apply-delta", dir.join("update"));
  assert.match(applied.stdout, /^objects 6 metadata \+ 6 files applied$/m);
  const fewer = JSON.parse(
    (await generate("fewer", "--disable-bsdiff", "--json", "one", "two")).stdout,
  );
  assert.deepEqual([fewer.patches, fewer.fallbacks, fewer.parts], [0, 0, 1]);
  assert.equal((await generate("x", "one", "two", "one")).code, 2);
  for (const bad of ["--max-chunk-size=0", "--min-fallback-size=x", "--jobs=0"]) {
    assert.equal((await generate("x", bad, "one")).code, 2);
  }
  const both = await generate("x", "--disable-bsdiff", "--max-bsdiff-size=1", "one");
  assert.equal(both.code, 2);
  assert.equal((await cfs("ostree", "delta", "generate", "one")).code, 2);
  assert.equal((await generate("x", "nothing")).code, 1);
  assert.match((await generate("no/such/place", "one")).stderr, /No such file or directory/);
});

Deno.test("ostree apply-delta checks signatures that the delta brings when keys are given", async () => {
  using dir = new TempDir();
  const cfs = (repo: string, ...args: string[]) => call(["--repo", dir.join(repo), ...args]);
  for (const repo of ["repo", "other"]) await call(["init", "--insecure", dir.join(repo)]);
  unpack(dir.join("remote"), "signed");
  await cfs("repo", "ostree", "pull-local", dir.join("remote"), "signed");
  await cfs("repo", "ostree", "delta", "generate", "--output", dir.join("delta"), "signed");
  const apply = (...args: string[]) =>
    cfs("other", "ostree", "apply-delta", dir.join("delta"), ...args);
  const key = `${ROOT}fixtures/ostree/gpg/ed25519.pub`;
  const refused = await apply("--sign-key", `ed25519:${key}`);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^Error: /);
  assert.match((await cfs("other", "ostree", "images")).stdout, /No ostree commits found/);
  const accepted = await apply("--gpg-keyring", `${ROOT}fixtures/ostree/gpg/k2.gpg`);
  assert.equal(accepted.code, 0, accepted.stderr);
});
