import assert from "node:assert/strict";
import { ALGORITHMS, ComposefsError, type ProgressEvent } from "../../lib/base/mod.ts";
import { formatDumpfile } from "../../lib/dumpfile/mod.ts";
import { objectIdOf } from "../../lib/fsverity/mod.ts";
import {
  BatchReader,
  type BatchResult,
  HashSink,
  scanDirectory,
  type ScanOptions,
  type SinkSource,
} from "../../lib/scan/mod.ts";
import { Leaf } from "../../lib/tree/mod.ts";
import {
  isErrno,
  mkdirAt,
  mknodAt,
  openDir,
  openPath,
  S_IF,
  setXattr,
  systemHash,
} from "../../ffi/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { need, needRoot, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

loadNative();

const SHA256 = ALGORITHMS.sha256;

async function dump(path: string, options: Partial<ScanOptions> = {}): Promise<string> {
  const { tree } = await scanDirectory(path, { hash: "sha256", ...options });
  return [...formatDumpfile(tree)].join("");
}

/** Descriptors that are open on something in a directory; those of the runtime come and go. */
function openBelow(dir: TempDir): string[] {
  return [...Deno.readDirSync("/proc/self/fd")].flatMap(({ name }) => {
    try {
      const target = Deno.readLinkSync(`/proc/self/fd/${name}`);
      return target.startsWith(dir.path) ? [target] : [];
    } catch (error) {
      // The descriptor the listing itself was made with is gone.
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  });
}

/** Files for a worker to be worth it: more than a thousand, in many directories. */
function fillWide(dir: TempDir): void {
  for (let d = 0; d < 40; d++) {
    for (let f = 0; f < 30; f++) {
      dir.write(`d${d % 7}/e${d}/f${f}`, "x".repeat((d * 37 + f * 211) % 9000));
    }
  }
  dir.write("big", new Uint8Array((3 << 20) + 17).fill(9));
  dir.write("exact", new Uint8Array(2 << 20).fill(7));
}

Deno.test("scanDirectory() gives the same tree with and without workers", async () => {
  using dir = new TempDir();
  fillWide(dir);
  const alone = await dump(dir.path, { jobs: 1 });
  assert.equal(alone.split("\n").length, 1 + 1 + 7 + 40 + 1200 + 2);
  for (const jobs of [2, 3]) assert.equal(await dump(dir.path, { jobs }), alone, `${jobs} jobs`);
  assert.deepEqual(openBelow(dir), []);
});

Deno.test("scanDirectory() reports bytes and progress", async () => {
  using dir = new TempDir();
  dir.write("a", "x".repeat(1000));
  dir.write("b/c", "y".repeat(20));
  const events: ProgressEvent[] = [];
  const { bytes } = await scanDirectory(dir.path, {
    hash: "sha256",
    progress: (event) => events.push(event),
  });
  assert.equal(bytes, 1020);
  assert.deepEqual(events.map((event) => event.type), ["started", "progress", "done"]);
});

Deno.test("scanDirectory() does not follow a link as its start unless a slash comes after", async () => {
  using dir = new TempDir();
  dir.write("real/file", "hello");
  Deno.symlinkSync("real", dir.join("link"));
  await assert.rejects(dump(dir.join("link")), (error) => isErrno(error, "ENOTDIR"));
  await assert.rejects(dump(dir.join("none")), (error) => isErrno(error, "ENOENT"));
  assert.equal(await dump(dir.join("link/")), await dump(dir.join("real")));
  assert.deepEqual(openBelow(dir), []);
});

Deno.test("scanDirectory() takes names of one inode as hard links only when asked to", async (t) => {
  using dir = new TempDir();
  dir.write("a", "content");
  Deno.linkSync(dir.join("a"), dir.join("b"));
  for (const hardlinks of [true, false]) {
    await t.step(`hardlinks: ${hardlinks}`, async () => {
      const { tree } = await scanDirectory(dir.path, { hash: "sha256", hardlinks });
      const [a, b] = ["a", "b"].map((name) => tree.root.entries.get(name));
      assert.ok(a instanceof Leaf && b instanceof Leaf);
      assert.equal(a === b, hardlinks);
      assert.deepEqual(a.content, b.content);
    });
  }
});

Deno.test("scanDirectory() survives a tree deeper than any call stack or path", async () => {
  using dir = new TempDir();
  const depth = 1500;
  // Step by step: the path as a whole is too long for the kernel.
  let at = openPath(dir.path);
  for (let i = 0; i < depth; i++) {
    mkdirAt(at, "d");
    using above = at;
    at = openDir(above, "d");
  }
  mknodAt(at, "f", { mode: S_IF.REG | 0o644 });
  at.close();
  try {
    const { tree } = await scanDirectory(dir.path, { hash: "sha256" });
    let node = tree.root;
    let levels = 0;
    for (let next = node.entries.get("d"); next?.kind === "directory"; levels++) {
      node = next;
      next = node.entries.get("d");
    }
    assert.equal(levels, depth);
    assert.deepEqual([...node.entries.keys()], ["f"]);
  } finally {
    await runOk(["rm", "-rf", dir.join("d")]);
  }
});

Deno.test("scanDirectory() gives up by its signal and leaves nothing open", async () => {
  using dir = new TempDir();
  fillWide(dir);
  for (const jobs of [1, 2]) {
    const controller = new AbortController();
    let batches = 0;
    const scan = dump(dir.path, {
      jobs,
      signal: controller.signal,
      progress: () => ++batches > 4 && controller.abort(new Error("enough")),
    });
    await assert.rejects(scan, /enough/);
    assert.deepEqual(openBelow(dir), []);
  }
});

/** A sink that changes a file when it gets the content of the first one. */
function meddlingSource(meddle: () => void): SinkSource {
  const sink = new HashSink(SHA256);
  let done = false;
  return {
    worker: new URL("../../lib/scan/worker.ts", import.meta.url),
    argument: SHA256,
    local: {
      whole(bytes, size) {
        if (!done) meddle();
        done = true;
        return sink.whole(bytes, size);
      },
      begin: () => sink.begin(),
    },
  };
}

const changes: { name: string; change: (path: string) => void; message: RegExp }[] = [
  {
    name: "grows",
    change: (path) => Deno.writeTextFileSync(path, "more", { append: true }),
    message: /File size changed while reading ".*file"/,
  },
  {
    name: "shrinks",
    change: (path) => Deno.truncateSync(path, 100),
    message: /File size changed while reading ".*file"/,
  },
  {
    name: "becomes a link",
    change: (path) => {
      Deno.removeSync(path);
      Deno.symlinkSync("/etc/passwd", path);
    },
    message: /File type changed between readdir\(\) and open\(\): ".*file"/,
  },
  {
    name: "becomes a directory",
    change: (path) => {
      Deno.removeSync(path);
      Deno.mkdirSync(path);
    },
    message: /File type changed between readdir\(\) and open\(\): ".*file"/,
  },
  {
    name: "becomes a fifo",
    change: (path) => {
      Deno.removeSync(path);
      mknodAt(-100, path, { mode: S_IF.IFO | 0o644 });
    },
    message: /File type changed between readdir\(\) and open\(\): ".*file"/,
  },
  {
    name: "disappears",
    change: (path) => Deno.removeSync(path),
    message: /^open .*file: No such file or directory \(os error 2\)$/,
  },
];

Deno.test("scanDirectory() fails when a file changes while the tree is read", async (t) => {
  for (const { name, change, message } of changes) {
    await t.step(name, () => {
      using dir = new TempDir();
      dir.write("file", "x".repeat(5000));
      dir.write("link-target", "x".repeat(200));
      const reader = new BatchReader(meddlingSource(() => change(dir.join("file"))).local);
      using fd = openPath(dir.path);
      const group = {
        dir: fd.number,
        path: dir.path,
        names: ["link-target", "file"],
        sizes: [200, 5000],
      };
      assert.throws(
        () => reader.read({ argument: undefined, groups: [group] }),
        (error) => {
          assert.ok(error instanceof ComposefsError);
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }
});

Deno.test("BatchReader.read() names content by size: inline, whole, in pieces", async (t) => {
  using dir = new TempDir();
  using fd = openPath(dir.path);
  const reader = new BatchReader(new HashSink(SHA256));
  const sizes = [0, 1, 64, 65, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2 << 20, (3 << 20) + 5];
  const content = sizes.map((size) => {
    const bytes = new Uint8Array(Math.max(size, 100)).subarray(0, size);
    for (let i = 0; i < size; i += 251) bytes[i] = i % 256;
    return bytes;
  });
  content.forEach((bytes, i) => dir.write(`f${i}`, bytes));
  const names = sizes.map((_, i) => `f${i}`);
  const group = { dir: fd.number, path: "", names, sizes };
  const result: BatchResult = reader.read({ argument: undefined, groups: [group] });
  for (const [i, size] of sizes.entries()) {
    await t.step(`${size} bytes`, () => {
      if (size > 64) {
        const want = objectIdOf(content[i]!, { algorithm: SHA256, provider: systemHash() });
        assert.equal(result.ids[i], want);
      } else {
        assert.equal(result.ids[i], "");
        assert.deepEqual(result.inline.get(i), size === 0 ? undefined : content[i]);
      }
    });
  }
  assert.equal(result.setOf, undefined);
  assert.equal(result.bytes, sizes.reduce((a, b) => a + b));
});

testWith({
  name: "scanDirectory() reads extended attributes of every kind of file, links included",
  needs: [needRoot()],
  fn: async () => {
    using dir = new TempDir();
    dir.write("file", "x");
    dir.write("other", "x");
    Deno.mkdirSync(dir.join("dir"));
    Deno.symlinkSync("nowhere", dir.join("link"));
    mknodAt(-100, dir.join("fifo"), { mode: S_IF.IFO | 0o600 });
    const binary = "\x00\x01\xff".repeat(100);
    for (const name of ["file", "other", "dir", "link", "fifo"]) {
      setXattr(dir.join(name), "trusted.t", binary);
      setXattr(dir.join(name), "security.s", "");
    }
    for (const name of ["file", "dir"]) setXattr(dir.join(name), "user.u", "v");
    const { tree } = await scanDirectory(dir.path, { hash: "sha256" });
    const want = [["security.s", ""], ["trusted.t", binary]];
    for (const [name, node] of tree.root.entries) {
      const found = [...node.stat.xattrs].sort();
      const users = ["file", "dir"].includes(name) ? [["user.u", "v"]] : [];
      assert.deepEqual(found, [...want, ...users], name);
    }
    const set = (name: string) => tree.root.entries.get(name)!.stat.xattrs;
    assert.equal(set("other"), set("link"), "equal sets are one object");
  },
});

testWith({
  name: "scanDirectory() warns once when trusted attributes cannot be seen",
  needs: [needRoot(), need(Deno.uid() === 0, "setpriv")],
  fn: async () => {
    using dir = new TempDir();
    dir.write("file", "x");
    const program = `
      import { scanDirectory } from ${
      JSON.stringify(new URL("../../lib/scan/mod.ts", import.meta.url).href)
    };
      const { warnings } = await scanDirectory(Deno.args[0], { hash: "sha256" });
      console.log(JSON.stringify(warnings));
    `;
    dir.write("main.ts", program);
    const command = [Deno.execPath(), "run", "-A", "--quiet", dir.join("main.ts"), dir.path];
    const bounded = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all"];
    assert.equal((await runOk(command)).stdout, "[]\n");
    const { stdout } = await runOk([...bounded, ...command]);
    assert.match(stdout, /^\["Scanning without CAP_SYS_ADMIN: [^"]*"\]\n$/);
  },
});

Deno.test("scanDirectory() gets along with few descriptors", async () => {
  using dir = new TempDir();
  for (let d = 0; d < 1500; d++) dir.write(`tree/${d % 40}/${d}/file`, "x".repeat(100 + d));
  const scan = JSON.stringify(new URL("../../lib/scan/mod.ts", import.meta.url).href);
  const program = dir.write(
    "main.ts",
    `import { scanDirectory } from ${scan};
     const { bytes } = await scanDirectory(Deno.args[0], { hash: "sha256", jobs: 2 });
     console.log(bytes);`,
  );
  const command = `ulimit -n 400; exec "$@"`;
  const { stdout } = await runOk([
    ...["bash", "-c", command, "bash", Deno.execPath(), "run", "-A", "--quiet", program],
    dir.join("tree"),
  ]);
  assert.equal(stdout, `${1500 * 100 + 1500 * 1499 / 2}\n`);
});
