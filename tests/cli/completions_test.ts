import assert from "node:assert/strict";
import { completionScript, SHELLS } from "../../cli/completion_scripts.ts";
import { flock, openPath } from "../../ffi/mod.ts";
import "../helpers/libraries.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { run, runOk } from "../helpers/run.ts";
import { unpack } from "../helpers/tar.ts";
import { TempDir } from "../helpers/temp.ts";
import { call } from "./_call.ts";
import { linesOf, Sandbox } from "./_script.ts";

const IMAGE = "072778749ca1";

async function repositories(dir: string): Promise<void> {
  await unpack("fixtures/repository/repos/img256.tar", dir);
  await unpack("fixtures/repository/repos/oci256.tar", dir);
}

/** The words that are offered, and the line that ends them. */
async function offered(words: string[]): Promise<{ values: string[]; end: string; text: string }> {
  const { code, stdout, stderr } = await call(["__complete", ...words]);
  assert.deepEqual([code, stderr], [0, ""]);
  const lines = linesOf(stdout);
  const end = lines.pop()!;
  return { values: lines.map((line) => line.split("\t")[0]!), end, text: stdout };
}

const MANIFEST = "sha256:7e748a6db7f48677397aaac4ea386f823ca4d5729ccff77b027bd44f87f979ae";
const LAYER = "sha256:2cec4b252ba859b41621a93fa686cd5f55ce2f9d9da1bf282bed13d9f2f153f8";
const TAG = "foo/bar:1%2 x";

const cases: { words: string[]; values: string[]; end?: string }[] = [
  { words: ["imag"], values: ["images", "image-objects"] },
  { words: ["oci", "un"], values: ["untag"] },
  { words: ["--repo", "x", "oci", "in"], values: ["inspect", "inspect-toc"] },
  { words: ["help", "fs"], values: ["fsck"] },
  { words: ["nope", ""], values: [] },
  { words: ["mkc"], values: ["mkcomposefs"] },
  { words: ["__"], values: [] },
  { words: ["composefs-info", "ls", ""], values: [], end: ":files" },
  { words: ["--hash", ""], values: ["sha256", "sha512"] },
  { words: ["--hash=sha5"], values: ["--hash=sha512"] },
  { words: ["--prog"], values: ["--progress"] },
  { words: ["--repo", ""], values: [], end: ":directories" },
  { words: ["gc", "--d"], values: ["--dry-run"] },
  { words: ["gc", "--", "--d"], values: [] },
  { words: ["init", "--erofs-version", ""], values: ["0", "1", "2"] },
  { words: ["init", ""], values: [], end: ":directories" },
  { words: ["cat", "x", ""], values: [] },
  { words: ["completions", ""], values: ["bash", "fish", "zsh"] },
  { words: ["compute-id", "--xattrs=keep"], values: ["--xattrs=keep-user-xattrs"] },
  { words: ["oci", "pull", "oci"], values: ["oci:", "oci-archive:"] },
  { words: ["oci", "pull", "docker"], values: ["docker://", "docker-archive:", "docker-daemon:"] },
  { words: ["oci", "pull", "docker://h"], values: [] },
  { words: ["oci", "push", "x", "d"], values: ["docker://", "dir:"] },
  { words: ["oci", "pull", "--policy", ""], values: [], end: ":files" },
  { words: ["oci", "pull", "--cert-dir=x"], values: [], end: ":directories" },
  { words: ["oci", "delta", "c"], values: ["create"] },
  { words: ["oci", "delta", "create", "oci:x", "oci-"], values: ["oci-archive:"] },
  { words: ["ostree", "remote", "l"], values: ["list"] },
  { words: ["ostree", "remote", "add", "--gpg-import", ""], values: [], end: ":files" },
  { words: ["dump-files", "x", "/u"], values: [] },
  { words: ["oci", "pull", "--platform", "linux/arm6"], values: ["linux/arm64"] },
  { words: ["import-image", "name"], values: [], end: ":files" },
  {
    words: ["--repo", "DIR/img256", "mount", ""],
    values: ["flat", "refs/flat", "refs/my/nested/name"],
  },
  { words: ["mount", "--repo", "DIR/img256", "refs/m"], values: ["refs/my/nested/name"] },
  { words: ["mount", "--repo=DIR/img256", "fl"], values: ["flat"] },
  { words: ["--repo=DIR/img256", "mount", "flat", ""], values: [], end: ":directories" },
  { words: ["--repo", "DIR/img256", "gc", "-r", "fl"], values: ["flat"] },
  { words: ["--repo", "DIR/oci256", "oci", "untag", "foo"], values: [TAG] },
  { words: ["--repo", "DIR/oci256", "oci", "tag", ""], values: [MANIFEST] },
  { words: ["--repo", "DIR/oci256", "oci", "inspect", "@"], values: [`@${MANIFEST}`] },
  { words: ["--repo", "DIR/oci256", "oci", "inspect", ""], values: [TAG, `@${MANIFEST}`] },
  { words: ["--repo", "DIR/oci256", "oci", "layer", "sha256:2"], values: [LAYER] },
  { words: ["--repo", "DIR/oci256", "oci", "delta", "create", "foo"], values: [TAG] },
  { words: ["--repo", "DIR/oci256", "ostree", "remote", "show", ""], values: ["origin"] },
  { words: ["--repo", "DIR/oci256", "ostree", "pull", "or"], values: ["origin"] },
  { words: ["--repo", "DIR/oci256", "cat", `oci-layer-`], values: [`oci-layer-${LAYER}`] },
  { words: ["--repo", "DIR/nope", "mount", ""], values: [] },
];

Deno.test("__complete offers names, options and what the chosen repository has", async (t) => {
  using dir = new TempDir();
  await repositories(dir.path);
  const url = "http://127.0.0.1:1/";
  await call(["--repo", dir.join("oci256"), "ostree", "remote", "add", "origin", url]);
  for (const { words, values, end = ":none" } of cases) {
    await t.step(words.join(" "), async () => {
      const actual = await offered(words.map((word) => word.replaceAll("DIR", dir.path)));
      assert.deepEqual(actual.values, values);
      assert.equal(actual.end, end);
    });
  }
});

Deno.test("__complete describes what it offers", async () => {
  using dir = new TempDir();
  await repositories(dir.path);
  const { text } = await offered(["--repo", dir.join("img256"), "mount", "f"]);
  assert.equal(text, `flat\t${IMAGE}\n:none\n`);
  assert.match((await offered(["fsc"])).text, /^fsck\tCheck repository integrity\n:none\n$/);
});

Deno.test("__complete of a path after a transport", async () => {
  using dir = new TempDir();
  dir.write("layouts/one/index.json", "{}");
  dir.write("layouts/two.tar", "");
  const { values } = await offered(["oci", "pull", `oci:${dir.join("layouts")}/`]);
  assert.deepEqual(values, [
    `oci:${dir.join("layouts/one")}/`,
    `oci:${dir.join("layouts/two.tar")}`,
  ]);
});

Deno.test("COMPLETE answers in the reference's protocol", async (t) => {
  const ask = async (shell: string, args: string[], env: Record<string, string> = {}) => {
    const variables = { COMPLETE: shell, ...env };
    for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
    try {
      return await call(args);
    } finally {
      for (const name of Object.keys(variables)) Deno.env.delete(name);
    }
  };
  await t.step("bash separates by the given character", async () => {
    const env = { _CLAP_COMPLETE_INDEX: "1", _CLAP_IFS: "\x0b" };
    const { code, stdout } = await ask("bash", ["--", "cfs", "imag"], env);
    assert.deepEqual([code, stdout], [0, "images\x0bimage-objects"]);
  });
  await t.step("zsh has descriptions after a colon", async () => {
    const { stdout } = await ask("zsh", ["--", "cfs", "fsc"], { _CLAP_COMPLETE_INDEX: "1" });
    assert.equal(stdout, "fsck:Check repository integrity");
  });
  await t.step("fish has them after a tab, and the last word is the one being typed", async () => {
    assert.equal(
      (await ask("fish", ["--", "cfs", "fsc"])).stdout,
      "fsck\tCheck repository integrity",
    );
  });
  for (const shell of SHELLS) {
    await t.step(`${shell} without words gets the script`, async () => {
      assert.equal((await ask(shell, [])).stdout, completionScript(shell, "cfs"));
      assert.equal((await call(["completions", shell])).stdout, completionScript(shell, "cfs"));
    });
  }
  await t.step("an unknown shell", async () => {
    const { code, stderr } = await ask("nu", []);
    assert.equal(code, 2);
    assert.match(stderr, /^error: unknown shell `nu`, expected one of `bash`/);
  });
});

/** Asks bash what it would offer after a command line. */
async function bashOffers(sandbox: Sandbox, line: string): Promise<string[]> {
  const script = `
    source <(cfs completions bash)
    COMP_LINE=${JSON.stringify(line)} COMP_POINT=${line.length}
    COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
    _cfs_complete
    printf '%s\\n' "\${COMPREPLY[@]}"
  `;
  const { stdout, stderr, code } = await sandbox.shell(
    `bash -c '${script.replaceAll("'", "'\\''")}'`,
  );
  assert.deepEqual([code, stderr], [0, ""]);
  return linesOf(stdout);
}

const lines: { line: string; offers: string[] }[] = [
  { line: "cfs imag", offers: ["images", "image-objects"] },
  { line: "cfs --repo img256 mount ", offers: ["flat", "refs/flat", "refs/my/nested/name"] },
  { line: "cfs --repo img", offers: ["img256"] },
  // Only what follows the last break is replaced.
  { line: "cfs --hash=sha5", offers: ["sha512"] },
  { line: "cfs --repo oci256 oci layer sha256:2", offers: [LAYER.slice("sha256:".length)] },
  { line: "cfs oci pull oci:img", offers: ["img256/"] },
  { line: "cfs nope ", offers: [""] },
];

testWith({
  name: "bash completes with the script",
  needs: [needTool("bash")],
  async fn(t) {
    using sandbox = new Sandbox();
    await repositories(sandbox.path);
    for (const { line, offers } of lines) {
      await t.step(line, async () => assert.deepEqual(await bashOffers(sandbox, line), offers));
    }
  },
});

for (const shell of ["zsh", "fish"] as const) {
  testWith({
    name: `${shell} accepts the script`,
    needs: [needTool(shell)],
    async fn() {
      using dir = new TempDir();
      const file = dir.write("script", completionScript(shell, "cfs"));
      await runOk([shell, "-n", file]);
    },
  });
}

testWith({
  name: "zsh completes with the script",
  needs: [needTool("zsh")],
  async fn() {
    using sandbox = new Sandbox();
    await repositories(sandbox.path);
    // Stand-ins for what zsh's completion system calls and is called with.
    const script = `
      compdef() { : }
      _describe() { print -rl -- "\${values[@]}" }
      source <(cfs completions zsh)
      words=(cfs --repo img256 mount "") CURRENT=5
      _cfs_complete
      words=(cfs oci pull oci) CURRENT=4
      _cfs_complete
    `;
    const file = `${sandbox.path}/script.zsh`;
    Deno.writeTextFileSync(file, script);
    const { stdout, stderr } = await sandbox.shell("zsh -f script.zsh");
    assert.equal(stderr, "");
    assert.deepEqual(linesOf(stdout), [
      `flat:${IMAGE}`,
      `refs/flat:${IMAGE}`,
      `refs/my/nested/name:${IMAGE}`,
      "oci\\::An OCI layout directory",
      "oci-archive\\::An OCI layout in a tar archive",
    ]);
  },
});

testWith({
  name: "fish completes with the script",
  needs: [needTool("fish")],
  async fn() {
    using sandbox = new Sandbox();
    await repositories(sandbox.path);
    const result = await sandbox.shell(
      `fish -c 'cfs completions fish | source; complete --do-complete "cfs --repo img256 mount f"'`,
    );
    assert.equal(result.stdout, `flat\t${IMAGE}\n`, result.stderr);
  },
});

testWith({
  name: "bash finds no fault in the script",
  needs: [needTool("bash")],
  async fn() {
    const { code, stderr } = await run(["bash", "-n"], { stdin: completionScript("bash", "cfs") });
    assert.deepEqual([code, stderr], [0, ""]);
  },
});

Deno.test("completion does not wait for a repository that is locked", async () => {
  using dir = new TempDir();
  await repositories(dir.path);
  using holder = openPath(dir.join("img256"));
  flock(holder, "exclusive");
  const { values } = await offered(["--repo", dir.join("img256"), "mount", ""]);
  assert.deepEqual(values, []);
  flock(holder, "unlock");
  const { values: again } = await offered(["--repo", dir.join("img256"), "mount", "fl"]);
  assert.deepEqual(again, ["flat"]);
});
