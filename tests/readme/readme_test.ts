/** What the README says is what happens: its console blocks, its library example, its tables. */
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { COMMANDS } from "../../cli/command_table.ts";
import { TOOL_NAMES } from "../../cli/tools.ts";
import { type Need, need, needRoot, needTool, testWith } from "../helpers/needs.ts";
import { TestRegistry } from "../helpers/registry.ts";
import { ROOT, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { consoleBlocks, readme, Tour, withOutputs } from "./_console.ts";

const blocks = consoleBlocks(readme());

const NEEDS: Readonly<Record<string, () => Need[]>> = {
  // Labels are part of an image's digest.
  registry: () => [needTool("docker-registry")],
  root: () => [needRoot(), need(!exists("/sys/fs/selinux/enforce"), "a machine without SELinux")],
};

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

testWith({
  name: "the README's console blocks print what it says",
  needs: [needTool("sh"), needTool("tar")],
  async fn(t) {
    assert.ok(blocks.length > 5);
    await using registry = needTool("docker-registry").met ? await TestRegistry.start() : undefined;
    using tour = new Tour(registry?.host);
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

Deno.test("consoleBlocks() and withOutputs() keep what they do not change", () => {
  const text = readme();
  assert.equal(withOutputs(text, []), text);
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

/** The README's code block that is a module. */
function libraryExample(): string {
  const found = /^```ts\n(import [\s\S]*?)^```$/m.exec(readme());
  assert.ok(found, "no library example");
  return found[1]!;
}

Deno.test("the README's library example pulls an image and prints its digest", async () => {
  const source = libraryExample();
  assert.ok(source.trimEnd().split("\n").length <= 20, "more than 20 lines");
  using dir = new TempDir();
  const config = dir.write(
    "deno.json",
    JSON.stringify({ imports: { "@composefs/composefs-ts": pathToFileURL(`${ROOT}mod.ts`).href } }),
  );
  const layout = dir.join("layout");
  Deno.mkdirSync(layout);
  await runOk(["tar", "-xf", `${ROOT}fixtures/demo/demo.oci.tar`, "-C", layout]);
  const { stdout } = await runOk(
    [
      Deno.execPath(),
      "run",
      "--quiet",
      "--check",
      "-A",
      "--config",
      config,
      dir.write("a.ts", source),
    ],
    { cwd: dir.path, env: { NO_COLOR: "1" } },
  );
  const recorded = JSON.parse(Deno.readTextFileSync(`${ROOT}fixtures/demo/expected.json`));
  const row = recorded.imageIds.find((
    one: { hash: string; erofsVersion: number; xattrs: string },
  ) => one.hash === "sha256" && one.erofsVersion === 1 && one.xattrs === "allowlist-only");
  assert.equal(stdout, `demo is ${row.id}\n`);
});

Deno.test("the README's table of commands has every command and tool, and no other", () => {
  const section = /^## Commands\n([\s\S]*?)^## /m.exec(readme());
  assert.ok(section);
  const names = [...section[1]!.matchAll(/^\| `([^`]+)`/gm)].map((match) => match[1]!);
  const expected = [
    ...COMMANDS.filter(({ hidden }) => hidden !== true).map(({ name }) => name),
    ...TOOL_NAMES.filter((name) => !name.startsWith("_")),
  ];
  assert.deepEqual(names.toSorted(), expected.toSorted());
});
