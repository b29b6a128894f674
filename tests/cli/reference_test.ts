import assert from "node:assert/strict";
import { cfs, ROOT } from "../helpers/run.ts";
import { unpack } from "../helpers/tar.ts";
import { TempDir } from "../helpers/temp.ts";
import { call } from "./_call.ts";

interface Recorded {
  args: string[];
  output: string;
  code: number;
}

/** Commands with their output and exit code from the reference's transcripts. */
function recorded(name: string): Recorded[] {
  const rows: Recorded[] = [];
  let output: string[] = [];
  for (const line of Deno.readTextFileSync(`${ROOT}fixtures/cli/${name}`).split("\n")) {
    const exit = /^exit=(\d+)$/.exec(line);
    if (line.startsWith("$ cfsctl ")) {
      rows.push({ args: line.slice("$ cfsctl ".length).split(" "), output: "", code: -1 });
      output = [];
    } else if (exit !== null) {
      rows.at(-1)!.code = Number(exit[1]);
      rows.at(-1)!.output = output.join("\n");
    } else output.push(line);
  }
  return rows.map((row) => ({ ...row, args: row.args.filter((arg) => arg !== "") }));
}

/** Why our first line is another one, by command. */
const OTHER_FIRST_LINE: Readonly<Record<string, RegExp>> = {
  // The help starts with the usage.
  "": /^Usage: cfs /,
  // There is no varlink service yet.
  varlink: /^Error: varlink is not supported yet: there is no varlink service$/,
  // Our own name and number.
  "--version": /^cfs \d+\.\d+\.\d+$/,
};

Deno.test("the reference's errors: the same exit code and first line", async (t) => {
  const rows = recorded("errors.txt");
  assert.equal(rows.length, 12);
  for (const { args, output, code } of rows) {
    const name = args.join(" ");
    await t.step(`cfs ${name}`, async () => {
      const called = await call(args);
      const text = called.stdout + called.stderr;
      assert.equal(called.code, code, text);
      const other = OTHER_FIRST_LINE[name];
      const [first] = text.split("\n");
      if (other !== undefined) return assert.match(first!, other);
      assert.equal(first, output.split("\n")[0]);
      // What follows the first line says which argument or file it is.
      for (const detail of output.matchAll(/^ {2,4}(\S.*)$/gm)) {
        assert.ok(text.includes(detail[1]!), `${text}\nlacks ${detail[1]}`);
      }
    });
  }
});

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** The keys of a document in their order, and the types of its values. */
function shape(value: Json): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shape(value[0]!)];
  if (value === null || typeof value !== "object") return value === null ? "null" : typeof value;
  return Object.entries(value).map(([key, one]) => [key, shape(one)]);
}

/** Fields that ours adds at the end. */
const ADDED = new Set(["affected", "warnings"]);

function withoutAdded(value: Json): Json {
  if (Array.isArray(value) || value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).filter(([key]) => !ADDED.has(key)).map((
      [key, one],
    ) => [key, withoutAdded(one)]),
  );
}

/** The same with every digest, time and number replaced. */
function form(text: string): string {
  return text.replace(/\b[0-9a-f]{64}\b/g, "HEX").replace(/\b[0-9a-f]{2}\/[0-9a-f]{62}\b/g, "PATH")
    .replace(/\b[0-9a-f]{12}\b/g, "HEX12").replace(/\b\d+\.\d+\b/g, "TIME").replace(/\d+/g, "N");
}

/** Repositories of the shape that the recorded ones had: one image each. */
async function prepare(dir: TempDir): Promise<void> {
  const options = { cwd: dir.path };
  Deno.mkdirSync(dir.join("layout"));
  await unpack("fixtures/oci/basic/basic.oci.tar", dir.join("layout"));
  dir.write("tree/etc/hi", "hello\n");
  dir.write("tree/usr/bin/big", "x".repeat(5000));
  Deno.symlinkSync("../usr/bin/big", dir.join("tree/etc/link"));
  const steps = [
    ["init", "--insecure", "--algorithm", "fsverity-sha256-12", "R"],
    ["init", "--insecure", "--algorithm", "fsverity-sha256-12", "R2"],
    ["--repo", "R2", "create-image", "tree", "myimg"],
    ["init", "--insecure", "--algorithm", "fsverity-sha256-12", "CORRUPT"],
    ["--repo", "CORRUPT", "create-image", "tree", "myimg"],
  ];
  for (const step of steps) {
    const { code, stderr } = await cfs(step, options);
    assert.equal(code, 0, stderr);
  }
}

/** Commands of the transcript that come before anything is in the repository. */
const BEFORE_PULL = 2;
const LAYER = "sha256:d38936c867423ead44585ee0bdd2f57484d5055cb6a3b5950ab904d84e89f96b";

Deno.test("the reference's outputs: the same form on repositories of the same shape", async (t) => {
  using dir = new TempDir();
  await prepare(dir);
  const rows = [...recorded("outputs.txt"), ...recorded("fsck-corrupt.txt")];
  assert.equal(rows.length, 23);
  let at = 0;
  for (const { args: words, output, code } of rows) {
    if (at++ === BEFORE_PULL) {
      assert.equal(
        (await cfs(["--repo", "R", "oci", "pull", "oci:layout", "img"], { cwd: dir.path })).code,
        0,
      );
    }
    if (words.includes("ostree")) continue; // not a command of ours yet
    await t.step(words.join(" "), async () => {
      if (words[1] === "CORRUPT") {
        const objects = dir.join("CORRUPT/objects");
        const object = JSON.parse(output.startsWith("{") ? output : "{}").errors?.[0];
        if (object !== undefined) damageBig(objects);
      }
      const args = words.map((word) => word.startsWith("sha256:") ? LAYER : word);
      const result = await cfs(args, { cwd: dir.path });
      assert.equal(result.code, code, result.stderr);
      if (output.startsWith("{")) {
        const ours = withoutAdded(JSON.parse(result.stdout));
        // The recorded image had been pulled with its boot image, which ours cannot make yet.
        const theirs = output.replace(/("composefs_boot_erofs": )"[0-9a-f]*"/, "$1null");
        assert.deepEqual(shape(ours), shape(JSON.parse(theirs)));
        assert.equal(result.stdout, JSON.stringify(JSON.parse(result.stdout), null, 2) + "\n");
        return;
      }
      const warned = result.stderr.split("\n").filter((line) => !line.startsWith("warning: "));
      const text = result.stdout + warned.join("\n");
      assert.equal(form(text.trimEnd()), form(output.trimEnd()));
    });
  }
});

/** Changes a byte in the biggest object that is no image. */
function damageBig(objects: string): void {
  for (const first of Deno.readDirSync(objects)) {
    for (const { name } of Deno.readDirSync(`${objects}/${first.name}`)) {
      const path = `${objects}/${first.name}/${name}`;
      if (Deno.statSync(path).size === 5000) Deno.writeTextFileSync(path, "y".repeat(5000));
    }
  }
}
