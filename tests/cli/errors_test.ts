import assert from "node:assert/strict";
import {
  ComposefsError,
  decodeError,
  DigestMismatchError,
  encodeError,
  FormatError,
  NotFoundError,
  withContext,
} from "../../lib/base/mod.ts";
import { causeChain, FailedError, reportError, UsageError } from "../../cli/errors.ts";
import { hintFor } from "../../cli/hints.ts";
import { type ByteSink, ClosedPipeError, Output } from "../../cli/output.ts";
import { progressDisplay } from "../../cli/progress.ts";
import { formatSize } from "../../cli/size.ts";
import { Context } from "../../cli/context.ts";
import { main } from "../../cli/main.ts";
import { boxTable } from "../../cli/table.ts";
import { ErrnoError, errnoNumber } from "../../ffi/mod.ts";

const ENOENT = errnoNumber("ENOENT");

const chains: { name: string; error: unknown; lines: string[] }[] = [
  { name: "one error", error: new FailedError("it failed"), lines: ["it failed"] },
  {
    name: "a system call whose path the context names",
    error: withContext("opening repository r", new ErrnoError("openat", ENOENT, "r")),
    lines: ["opening repository r", "No such file or directory (os error 2)"],
  },
  {
    name: "a system call on something else",
    error: withContext("Mounting", new ErrnoError("openat", ENOENT, "/x")),
    lines: ["Mounting", "openat /x", "No such file or directory (os error 2)"],
  },
  {
    name: "an error of Deno",
    error: withContext(
      "Reading /x",
      new Deno.errors.NotFound("No such file or directory (os error 2): open '/x'"),
    ),
    lines: ["Reading /x", "No such file or directory (os error 2)"],
  },
  {
    name: "three levels, one of them twice",
    error: withContext("a", withContext("b", withContext("b", new FailedError("c")))),
    lines: ["a", "b", "c"],
  },
  { name: "no error at all", error: "text", lines: ["text"] },
];

Deno.test("causeChain() says each thing once, the outermost first", async (t) => {
  for (const { name, error, lines } of chains) {
    await t.step(name, () => assert.deepEqual(causeChain(error), lines));
  }
  await t.step("a cycle of causes", () => {
    const error = new Error("round");
    error.cause = error;
    assert.deepEqual(causeChain(error), ["round"]);
  });
});

function kept(): { sink: ByteSink; text: () => string } {
  const pieces: Uint8Array[] = [];
  return {
    sink: {
      writeSync: (bytes) => {
        pieces.push(bytes.slice());
        return bytes.length;
      },
      isTerminal: () => false,
    },
    text: () => pieces.map((piece) => new TextDecoder().decode(piece)).join(""),
  };
}

const advised: { name: string; error: unknown; hint: RegExp | undefined }[] = [
  { name: "image", error: new NotFoundError("image", "x"), hint: /^"cfs images"/ },
  { name: "tag", error: new NotFoundError("tag", "x"), hint: /^"cfs oci images"/ },
  {
    name: "delta's base",
    error: new NotFoundError("delta base", "x"),
    hint: /^"cfs oci pull" of the old/,
  },
  {
    name: "delta's layer",
    error: new NotFoundError("delta layer", "x"),
    hint: /^"cfs oci pull" of the old/,
  },
  { name: "linked image", error: new NotFoundError("EROFS image", "x"), hint: /makes it$/ },
  { name: "meta.json", error: new NotFoundError("meta.json", "x"), hint: /^"cfs init PATH"/ },
  { name: "policy", error: new NotFoundError("policy", "x"), hint: /--insecure-policy/ },
  { name: "commit", error: new NotFoundError("ostree commit", "x"), hint: /^"cfs ostree images"/ },
  { name: "ref", error: new NotFoundError("ostree ref", "x"), hint: /^"cfs ostree list-refs"/ },
  { name: "remote", error: new NotFoundError("ostree remote", "x"), hint: /^"cfs ostree remote/ },
  { name: "something else", error: new NotFoundError("blob", "x"), hint: undefined },
  { name: "mount", error: new ErrnoError("fsopen", errnoNumber("EPERM")), hint: /needs root/ },
  { name: "no mount", error: new ErrnoError("chown", errnoNumber("EPERM")), hint: undefined },
  { name: "disk", error: new ErrnoError("write", errnoNumber("ENOSPC")), hint: /^"cfs gc"/ },
  { name: "read-only disk", error: new ErrnoError("open", errnoNumber("EROFS")), hint: /writable/ },
  { name: "words", error: new FailedError("No space left on device"), hint: undefined },
  ...([
    ["repository-unopened", /^--repo, --user or --system/],
    ["repository-without-verity", /^"cfs init" on a file system with/],
    ["file-system-without-verity", /^"cfs init --insecure"/],
    ["read-only", /writable repository$/],
    ["no-space", /^"cfs gc"/],
    ["no-transport", /^docker:/],
    ["padding-lost", /^--repair-padding/],
    ["no-tls", /^--tls-verify=false/],
    ["unknown-authority", /^--cert-dir/],
    ["access-denied", /^--creds/],
    ["pull-failed", undefined],
  ] as const).map(([detail, hint]) => ({
    name: detail,
    error: new ComposefsError("CFS_FAILED", "x", { detail }),
    hint,
  })),
];

Deno.test("hintFor() goes by kinds of failures, also in causes and from other threads", async (t) => {
  for (const { name, error, hint } of advised) {
    await t.step(name, () => {
      const ways = [error, withContext("outside", error), decodeError(encodeError(error))];
      for (const way of ways) {
        const found = hintFor(way, "cfs");
        if (hint === undefined) assert.equal(found, undefined);
        else assert.match(found ?? "", hint);
      }
    });
  }
});

const reports: { name: string; error: unknown; code: number; text: RegExp }[] = [
  {
    name: "a failure without causes",
    error: new FailedError("no"),
    code: 1,
    text: /^Error: no\n$/,
  },
  {
    name: "one cause has no number",
    error: withContext("a", new FailedError("b")),
    code: 1,
    text: /^Error: a\n\nCaused by:\n {4}b\n$/,
  },
  {
    name: "several causes have",
    error: withContext("a", withContext("b", new FailedError("c\nd"))),
    code: 1,
    text: /^Error: a\n\nCaused by:\n {4}0: b\n {4}1: c\n {7}d\n$/,
  },
  {
    name: "a source that lies",
    error: withContext(
      "Unable to pull container image x",
      withContext("Importing layer y", new DigestMismatchError("layer", "a", "b")),
      { detail: "pull-failed" },
    ),
    code: 1,
    text: /\n\nhint: the source is damaged or lies/,
  },
  {
    name: "images that are damaged",
    error: new FailedError("OCI integrity check failed", { detail: "images-damaged" }),
    code: 1,
    text: /\n\nhint: "cfs oci repair IMAGE --from SOURCE" /,
  },
  {
    name: "a source whose blobs are damaged",
    error: withContext(
      "Unable to pull container image x",
      withContext("Importing layer y", new FormatError("gzip", "Invalid gzip data: z")),
      { detail: "pull-failed" },
    ),
    code: 1,
    text: /\n\nhint: the source is damaged or lies/,
  },
  {
    name: "a repository that is damaged",
    error: withContext("Unable to push x", new DigestMismatchError("layer", "a", "b")),
    code: 1,
    text: /\n\nhint: "cfs fsck" names each damaged object/,
  },
  {
    name: "a hint",
    error: new NotFoundError("image", "x"),
    code: 1,
    text: /^Error: image not found: x\n\nhint: "cfs images" /,
  },
  {
    name: "what terminals take for commands is shown",
    error: withContext("a\x1b]0;title\x07", new FailedError("b\x9b2Jc\td")),
    code: 1,
    text: /^Error: a\\x1b\]0;title\\x07\n\nCaused by:\n {4}b\\x9b2Jc\td\n$/,
  },
  {
    name: "a fault of the program is called one",
    error: new TypeError("x is undefined"),
    code: 1,
    text: /^Error: unexpected failure: x is undefined\n\nhint: .*--debug/,
  },
  {
    name: "a usage error",
    error: new UsageError("wrong", { details: ["tip: right"] }),
    code: 2,
    text:
      /^error: wrong\n\n {2}tip: right\n\nUsage: cfs x\n\nFor more information, try '--help'\.\n$/,
  },
];

Deno.test("reportError() shows what failed, why, what helps, and nothing of the program", async (t) => {
  for (const { name, error, code, text } of reports) {
    await t.step(name, () => {
      const { sink, text: shown } = kept();
      const stderr = new Output(sink);
      const options = { stderr, programName: "cfs", debug: false, usage: "Usage: cfs x" };
      assert.equal(reportError(error, options), code);
      assert.match(shown(), text);
      assert.doesNotMatch(shown(), /\.ts:\d+/);
    });
  }
  await t.step("with --debug there are stacks", () => {
    const { sink, text } = kept();
    const error = withContext("a", new ComposefsError("CFS_FAILED", "b"));
    reportError(error, { stderr: new Output(sink), programName: "cfs", debug: true });
    assert.equal(text().match(/^ComposefsError: [ab]\n +at /gm)?.length, 2);
  });
});

Deno.test("warnings and progress show what terminals take for commands", async () => {
  for (const mode of [undefined, "plain"] as const) {
    const { sink, text } = kept();
    const context = new Context({ programName: "cfs", stdout: sink, stderr: sink });
    if (mode === undefined) context.warn("a\x1b[1m");
    else {
      using display = await progressDisplay(mode, context.stderr);
      display.sink({ type: "warning", text: "a\x1b[1m" });
    }
    assert.equal(text(), "warning: a\\x1b[1m\n");
  }
});

Deno.test("Output keeps the order of text and bytes, waits for slow readers, and tells closed ones", () => {
  const pieces: string[] = [];
  let full = true;
  const slow = new Output({
    writeSync(bytes) {
      full = !full;
      if (full) throw new Deno.errors.WouldBlock("full");
      pieces.push(new TextDecoder().decode(bytes.subarray(0, 3)));
      return Math.min(3, bytes.length);
    },
    isTerminal: () => false,
  });
  slow.write("abcd");
  slow.bytes(new TextEncoder().encode("efg"));
  slow.line("h");
  slow.flush();
  assert.equal(pieces.join(""), "abcdefgh\n");
  const closed = new Output({
    writeSync() {
      throw new Deno.errors.BrokenPipe("gone");
    },
    isTerminal: () => false,
  });
  assert.throws(() => closed.bytes(new Uint8Array(1)), ClosedPipeError);
});

Deno.test("Output: what would move the cursor is an escape in lines, and a character in JSON", () => {
  const { sink, text } = kept();
  const output = new Output(sink);
  const hostile = "a\x1b[31m\x9b1m\x7f\tb\nc\u00e4";
  output.line(hostile);
  output.jsonLine({ hostile });
  output.json([hostile]);
  output.flush();
  const [first, second, third, ...rest] = text().split("\n");
  assert.equal(first, "a\\x1b[31m\\x9b1m\\x7f\tb");
  assert.equal(second, "c\u00e4");
  assert.deepEqual(JSON.parse(third!), { hostile });
  assert.deepEqual(JSON.parse(rest.join("\n")), [hostile]);
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(text(), /[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
});

const tables: { name: string; rows: string[][]; lines: string[] }[] = [
  {
    name: "columns as wide as their longest cell",
    rows: [["a", "b"], ["longer", ""]],
    lines: [
      "┌────────┬───┐",
      "│ N      ┆ D │",
      "╞════════╪═══╡",
      "│ a      ┆ b │",
      "├╌╌╌╌╌╌╌╌┼╌╌╌┤",
      "│ longer ┆   │",
      "└────────┴───┘",
    ],
  },
  {
    name: "wide, combining and control characters",
    rows: [["日本", "e\u0301"], ["\x1b[1m", "x"]],
    lines: [
      "┌─────────┬───┐",
      "│ N       ┆ D │",
      "╞═════════╪═══╡",
      "│ 日本    ┆ e\u0301 │",
      "├╌╌╌╌╌╌╌╌╌┼╌╌╌┤",
      "│ \\x1b[1m ┆ x │",
      "└─────────┴───┘",
    ],
  },
];

Deno.test("boxTable() draws as the reference does", async (t) => {
  for (const { name, rows, lines } of tables) {
    await t.step(name, () => assert.equal(boxTable(["N", "D"], rows), lines.join("\n") + "\n"));
  }
});

const sizes: [number, string][] = [
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1.00 KiB"],
  [4417, "4.31 KiB"],
  [1048576, "1.00 MiB"],
  [1073741824 * 2.5, "2.50 GiB"],
  [2 ** 60, "1024.00 PiB"],
];

Deno.test("formatSize() prints two decimals from one KiB on", async (t) => {
  for (const [bytes, text] of sizes) {
    await t.step(text, () => assert.equal(formatSize(bytes), text));
  }
});

Deno.test("a closed pipe is no failure", async (t) => {
  const gone = {
    writeSync(): number {
      throw new Deno.errors.BrokenPipe("gone");
    },
    isTerminal: () => false,
  };
  for (const args of [["--version"], ["--help"], ["completions", "bash"]]) {
    await t.step(args.join(" "), async () => {
      const { sink, text } = kept();
      assert.equal(await main(args, { stdout: gone, stderr: sink }), 0);
      assert.equal(text(), "");
    });
  }
  await t.step("an error nobody reads still has its code", async () => {
    const { sink } = kept();
    assert.equal(await main(["nope"], { stdout: sink, stderr: gone }), 2);
    assert.equal(await main(["--no-repo", "images"], { stdout: sink, stderr: gone }), 1);
  });
  await t.step("a warning nobody reads does not stop the work", () => {
    const { sink } = kept();
    new Context({ programName: "cfs", stdout: sink, stderr: gone }).warn("text");
  });
});
