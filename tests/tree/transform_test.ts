import assert from "node:assert/strict";
import { ConflictError, InvalidNameError, NotFoundError } from "../../lib/base/mod.ts";
import { formatDumpfile, parseDumpfile } from "../../lib/dumpfile/mod.ts";
import type { ErofsVersion } from "../../lib/erofs/mod.ts";
import {
  bootableTransform,
  containerRootTransform,
  dropXattrs,
  type FileTree,
  filterXattrs,
  forEachNode,
  keepUserXattrs,
  Leaf,
  parseXattrMode,
  skipDevices,
  useEpoch,
} from "../../lib/tree/mod.ts";
import { fixture, fixtureText } from "../erofs/_fixtures.ts";
import { imageId } from "../erofs/_image_id.ts";

const TRANSFORM = new URL("../../fixtures/tree/transform/", import.meta.url);

function format(tree: FileTree): string {
  return [...formatDumpfile(tree)].join("");
}

function scanned(): FileTree {
  return parseDumpfile(fixture("scan/xnopropagateusrtoroot.dump"));
}

/** The scans were made by 0.9.0. */
const SCANNED_BY = { nanoseconds: false } as const;

/** What each command of the golden table does to the tree that was scanned as it is. */
const COMMANDS: Readonly<Record<string, (tree: FileTree) => void>> = {
  "--no-propagate-usr-to-root": () => {},
  "": (tree) => containerRootTransform(tree),
  "--xattrs keep-user-xattrs": (tree) => {
    containerRootTransform(tree, { xattrs: parseXattrMode("keep-user-xattrs") });
  },
  "--bootable": (tree) => {
    containerRootTransform(tree);
    bootableTransform(tree, SCANNED_BY);
  },
  "--bootable --no-propagate-usr-to-root": (tree) => {
    bootableTransform(tree, SCANNED_BY);
    // The labelling step that follows removes labels where the tree has no policy.
    filterXattrs(tree, (name) => name !== "security.selinux");
  },
};

/** The same for `mkcomposefs`, and the format version it writes. */
const MKCOMPOSEFS: Readonly<Record<string, [(tree: FileTree) => void, ErofsVersion]>> = {
  "": [splitLinks, 0],
  "--use-epoch": [(tree) => (splitLinks(tree), useEpoch(tree)), 0],
  "--skip-devices": [(tree) => (splitLinks(tree), skipDevices(tree)), 0],
  "--skip-xattrs": [(tree) => (splitLinks(tree), dropXattrs(tree)), 0],
  "--user-xattrs": [(tree) => (splitLinks(tree), keepUserXattrs(tree)), 0],
  "--min-version=1": [splitLinks, 1],
  "--hardlinks": [() => {}, 0],
};

/** Makes every name a file of its own, as `mkcomposefs` scans them. */
function splitLinks(tree: FileTree): void {
  forEachNode(tree, (node) => {
    if (node.kind !== "directory") return;
    for (const [name, entry] of node.entries) {
      if (entry.kind === "leaf") node.entries.set(name, new Leaf(entry.stat, entry.content));
    }
  });
}

Deno.test("transformations give the image ids of the peer's commands", async (t) => {
  const lines = fixtureText("scan/expected.tsv").trimEnd().split("\n");
  let seen = 0;
  for (const line of lines) {
    const [command, hash, version, id] = line.split("\t") as [string, string, string, string];
    // The scanned tree's dumpfile has sha256 digests.
    if (hash !== "sha256") continue;
    seen++;
    await t.step(`${command} v${version}`, () => {
      const tree = scanned();
      const [, tool, flags] = /^(cfsctl compute-id|mkcomposefs) ?(.*)$/.exec(command)!;
      if (tool === "mkcomposefs") {
        const [apply, format] = MKCOMPOSEFS[flags!.replace("--print-digest-only", "").trim()]!;
        apply(tree);
        assert.equal(imageId(tree, { version: format }), id);
      } else {
        COMMANDS[flags!.trim()]!(tree);
        assert.equal(imageId(tree, { version: Number(version) as ErofsVersion }), id);
      }
    });
  }
  assert.equal(seen, 22);
});

Deno.test("transformations give the dumpfiles of the peer's commands", async (t) => {
  for (const [flags, apply] of Object.entries(COMMANDS)) {
    await t.step(flags, () => {
      const tree = scanned();
      apply(tree);
      assert.equal(format(tree), fixtureText(`scan/x${flags.replace(/[^a-z]/g, "")}.dump`));
    });
  }
});

interface Expected {
  name: string;
  flags: string[];
  id_v1_sha256?: string;
  id_v2_sha256?: string;
  after_error?: string;
}

function transformFile(name: string): string {
  return Deno.readTextFileSync(new URL(name, TRANSFORM));
}

for (const [version, nanoseconds] of [["0.9.0", false], ["0.9.4", true]] as const) {
  Deno.test(`bootableTransform() follows the rule of ${version}`, async (t) => {
    const file = nanoseconds ? "expected-0.9.4.json" : "expected.json";
    for (const expected of JSON.parse(transformFile(file)) as Expected[]) {
      await t.step(expected.name, () => {
        const before = transformFile(`${expected.name}.before.dump`);
        const tree = parseDumpfile(new TextEncoder().encode(before));
        if (expected.after_error !== undefined) {
          const message = expected.after_error.replace("Error: ", "");
          assert.throws(() => bootableTransform(tree, { nanoseconds }), { message });
          return;
        }
        bootableTransform(tree, { nanoseconds });
        assert.equal(imageId(tree, { version: 1 }), expected.id_v1_sha256);
        assert.equal(imageId(tree, { version: 2 }), expected.id_v2_sha256);
        assert.equal(format(tree), afterDump(expected.name, nanoseconds));
      });
    }
  });
}

function afterDump(name: string, nanoseconds: boolean): string {
  if (nanoseconds) {
    try {
      return transformFile(`${name}.after-0.9.4.dump`);
    } catch (error) {
      // There is one only where the versions differ.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return transformFile(`${name}.after.dump`);
}

Deno.test("containerRootTransform() says what is missing", () => {
  const parse = (text: string) => parseDumpfile(new TextEncoder().encode(text));
  const root = "/ 0 40755 2 0 0 0 1.0 - - -\n";
  assert.throws(() => containerRootTransform(parse(root)), (error: unknown) => {
    assert.ok(error instanceof NotFoundError);
    assert.equal(error.message, 'Directory entry "usr" does not exist');
    return true;
  });
  const link = `${root}/usr 1 120777 1 0 0 0 1.0 x - -\n`;
  assert.throws(() => containerRootTransform(parse(link)), (error: unknown) => {
    assert.ok(error instanceof ConflictError);
    assert.equal(error.message, 'Directory entry "usr" is not a subdirectory');
    return true;
  });
  const run = `${root}/usr 0 40755 2 0 0 0 2.0 - - -\n/run 0 100644 1 0 0 0 1.0 - - -\n`;
  assert.throws(() => containerRootTransform(parse(run)), {
    message: 'Directory entry "run" is not a subdirectory',
  });
});

Deno.test("parseXattrMode() names the two modes", () => {
  assert.equal(parseXattrMode("allowlist-only"), "allowlist-only");
  assert.throws(() => parseXattrMode("bogus"), (error: unknown) => {
    assert.ok(error instanceof InvalidNameError);
    assert.equal(
      error.message,
      'invalid xattr filtering mode "bogus" (expected "allowlist-only" or "keep-user-xattrs")',
    );
    return true;
  });
});
