/** What the README and `docs/` say is what happens: console blocks, library examples, tables. */
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { COMMANDS } from "../../cli/command_table.ts";
import { TOOL_NAMES } from "../../cli/tool_names.ts";
import { exists } from "../helpers/exists.ts";
import { type Need, need, needRoot, needTool, testWith } from "../helpers/needs.ts";
import { TestRegistry } from "../helpers/registry.ts";
import { ROOT, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { consoleBlocks, documents, documentText, Tour, withOutputs } from "./_console.ts";

const readme = () => documentText("README.md");

const NEEDS: Readonly<Record<string, () => Need[]>> = {
  // Labels are part of an image's digest.
  registry: () => [needTool("docker-registry")],
  root: () => [needRoot(), need(!exists("/sys/fs/selinux/enforce"), "a machine without SELinux")],
};

for (const document of documents()) {
  const blocks = consoleBlocks(documentText(document));
  if (blocks.length === 0) continue;
  testWith({
    name: `the console blocks of ${document} print what it says`,
    needs: [needTool("sh"), needTool("tar")],
    async fn(t) {
      await using tour = await Tour.start();
      for (const { line, steps, needs } of blocks) {
        const unmet = needs.flatMap((word) => NEEDS[word]!()).filter(({ met }) => !met);
        const missing = unmet.map(({ what }) => what).join(", ");
        for (const { command, output } of steps) {
          const name = `line ${line}: ${command.split("\n")[0]}`;
          await t.step({
            name: missing === "" ? name : `${name} [ignored: needs ${missing}]`,
            ignore: missing !== "" && Deno.env.get("CFS_TEST_NO_SKIP") !== "1",
            async fn() {
              assert.equal(await tour.run(command), output);
            },
          });
        }
      }
    },
  });
}

Deno.test("consoleBlocks() and withOutputs() keep what they do not change", () => {
  for (const document of documents()) {
    const text = documentText(document);
    assert.equal(withOutputs(text, []), text);
  }
  assert.ok(consoleBlocks(readme()).length > 5);
  const one = "a\n```console run root\n$ b \\\n  c\nd\n\n$ e\n```\nf";
  assert.deepEqual(consoleBlocks(one), [{
    line: 2,
    needs: ["root"],
    steps: [{ command: "b \\\n  c", output: "d\n\n" }, { command: "e", output: "" }],
  }]);
  const other = "a\n```console run root\n$ b \\\n  c\ng\n$ e\nh\ni\n```\nf";
  assert.equal(withOutputs(one, ["g\n", "h\ni\n"]), other);
  assert.throws(() => consoleBlocks("```console run\nb\n```"), /line 2: expected a command/);
  assert.throws(() => consoleBlocks("```console run\n$ b"), /does not end/);
});

/** Digest of the demonstration's image, as the reference computed it. */
function demoImage(): string {
  const recorded = JSON.parse(Deno.readTextFileSync(`${ROOT}fixtures/demo/expected.json`));
  return recorded.imageIds.find((
    one: { hash: string; erofsVersion: number; xattrs: string },
  ) => one.hash === "sha256" && one.erofsVersion === 1 && one.xattrs === "allowlist-only").id;
}

/** The README's code blocks that are modules, each with what it needs and what it prints. */
const EXAMPLES: readonly { what: string; needs: Need[]; prints: () => string }[] = [
  {
    what: "pulls an image and prints its digest",
    needs: [],
    prints: () => `demo is ${demoImage()}\n`,
  },
  {
    what: "pulls from a registry what the policy accepts",
    needs: [needTool("docker-registry"), needTool("skopeo")],
    prints: () => {
      const { pulled } = JSON.parse(Deno.readTextFileSync(`${ROOT}fixtures/demo/expected.json`));
      return `pulled ${pulled.sha256.manifest}, 0 layers\n`;
    },
  },
  {
    what: "makes an image in memory",
    needs: [],
    // mkcomposefs of the reference, with --min-version=1.
    prints: () => "16384 bytes, 600a92794a68b12b73d5578337a106967ba40511239f5d0af6738329e37d9b4d\n",
  },
];

/** What makes the package's names those of this checkout. */
function importMap(): Record<string, string> {
  const { name, exports } = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`));
  return Object.fromEntries(
    Object.entries<string>(exports).map(([key, path]) => [
      name + key.slice(1),
      pathToFileURL(ROOT + path).href,
    ]),
  );
}

testWith({
  name: "the README's library examples do what it says",
  needs: [needTool("tar")],
  async fn(t) {
    const sources = [...readme().matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((match) => match[1]!);
    assert.equal(sources.length, EXAMPLES.length);
    using dir = new TempDir();
    const config = dir.write("deno.json", JSON.stringify({ imports: importMap() }));
    dir.write("policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}');
    const layout = dir.join("layout");
    Deno.mkdirSync(layout);
    await runOk(["tar", "-xf", `${ROOT}fixtures/demo/demo.oci.tar`, "-C", layout]);
    for (const [i, { what, needs, prints }] of EXAMPLES.entries()) {
      const missing = needs.filter(({ met }) => !met).map((one) => one.what).join(", ");
      await t.step({
        name: missing === "" ? what : `${what} [ignored: needs ${missing}]`,
        ignore: missing !== "" && Deno.env.get("CFS_TEST_NO_SKIP") !== "1",
        async fn() {
          assert.ok(sources[i]!.trimEnd().split("\n").length <= 20, "more than 20 lines");
          await using registry = needs.length === 0 ? undefined : await TestRegistry.start();
          await registry?.push(`oci:${layout}:demo`, "demo:v1", ["--preserve-digests"]);
          const source = sources[i]!.replaceAll("127.0.0.1:5000", registry?.host ?? "");
          const args = ["run", "--quiet", "--check", "-A", "--config", config];
          const { stdout } = await runOk(
            [Deno.execPath(), ...args, dir.write("a.ts", source)],
            { cwd: dir.path, env: { NO_COLOR: "1" } },
          );
          assert.equal(stdout, prints());
        },
      });
    }
  },
});

Deno.test("the README's table of commands has every command and tool, and no other", () => {
  const section = /^## Commands\n([\s\S]*?)^## /m.exec(readme());
  assert.ok(section);
  const names = [...section[1]!.matchAll(/^\| `([^`]+)`/gm)].map((match) => match[1]!);
  const expected = [
    ...COMMANDS.filter(({ hidden }) => hidden !== true).map(({ name }) => name),
    ...TOOL_NAMES,
  ];
  assert.deepEqual(names.toSorted(), expected.toSorted());
});

Deno.test("the README's table of what is not there names the commands that are refused", () => {
  const section = /^## What the peers do[^\n]*\n([\s\S]*?)^## /m.exec(readme())![1]!;
  const source = documentText("cli/not_yet.ts");
  const names = [...source.matchAll(/^ {2}"([a-z][a-z -]*)": "/gm)].map((match) => match[1]!);
  assert.ok(names.length > 2);
  for (const name of names) {
    // One service for all, whatever command starts it.
    assert.ok(section.includes(`\`${name.replace(/.*varlink$/, "varlink")}\``), name);
  }
});
