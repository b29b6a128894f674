/** The compile task packs all that the program may load, workers too. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { ROOT, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

const WORKER = /new URL\("(\.\/[\w./]+\.ts)", import\.meta\.url\)/g;

/** Bytes at the end of a compiled file in which to look. */
const PACKED = 24 * 1024 * 1024;

/** Every module that is named by a URL in product code: the workers. */
function workerModules(): string[] {
  const found: string[] = [];
  const pending = ["lib", "ffi", "cli"];
  for (let dir = pending.pop(); dir !== undefined; dir = pending.pop()) {
    for (const entry of Deno.readDirSync(ROOT + dir)) {
      const path = `${dir}/${entry.name}`;
      if (entry.isDirectory) pending.push(path);
      else {
        const code = Deno.readTextFileSync(ROOT + path).replace(/^\s*\*.*$/gm, "");
        for (const [, name] of code.matchAll(WORKER)) {
          found.push(new URL(name!, `file:///${path}`).pathname.slice(1));
        }
      }
    }
  }
  return [...new Set(found)].sort();
}

function compileTask(): string {
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`));
  return tasks.compile;
}

Deno.test("the compile task includes every worker module, and nothing that is none", () => {
  const included = [...compileTask().matchAll(/--include (\S+)/g)].map((match) => match[1]!);
  assert.ok(included.length >= 4);
  assert.deepEqual(included.toSorted(), workerModules());
});

Deno.test("the compiled file has every worker module and every command in it", async (t) => {
  using dir = new TempDir();
  const output = dir.join("cfs");
  const words = compileTask().replace(/--output \S+/, `--output ${output}`).split(" ");
  assert.equal(words[0], "deno");
  // The runtime part would be downloaded. With Deno itself in its place the result is no program,
  // but what is packed into it is the same.
  await runOk([Deno.execPath(), ...words.slice(1)], {
    cwd: ROOT,
    env: { DENORT_BIN: Deno.execPath(), NO_COLOR: "1" },
    timeout: 300_000,
  });
  // What is packed stands behind the runtime.
  const packed = Buffer.from((await Deno.readFile(output)).buffer).subarray(-PACKED);
  const commands = [...Deno.readDirSync(`${ROOT}cli/commands`)].map(({ name }) =>
    `cli/commands/${name}`
  );
  for (const path of [...workerModules(), ...commands]) {
    await t.step(path, () => {
      // Each of these files has a line that stands nowhere else.
      assert.ok(packed.includes(ownLine(path)), `${path} is not packed`);
    });
  }
});

/** The longest line of a file that is no import: unlike any other file's. */
function ownLine(path: string): string {
  const lines = Deno.readTextFileSync(ROOT + path).split("\n")
    .filter((line) => !/^(import|\} from|export \{)/.test(line) && !/["\\]/.test(line));
  return lines.sort((a, b) => b.length - a.length)[0]!;
}
