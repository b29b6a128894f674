import assert from "node:assert/strict";
import { ALGORITHMS, ComposefsError, type HashName, objectPath } from "../../lib/base/mod.ts";
import { type ErofsVersion, writeImage } from "../../lib/erofs/mod.ts";
import { objectIdOf } from "../../lib/fsverity/mod.ts";
import {
  type LayerMethod,
  mountComposefs,
  type MountOptions,
  parseMountCommand,
  runMountCommand,
  unmount,
} from "../../lib/mount/mod.ts";
import { isErrno, MOUNT_ATTR, MountError, O, openPath, systemHash } from "../../ffi/mod.ts";
import { scanDirectory } from "../../lib/scan/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { needFileSystem, needRoot, testWith } from "../helpers/needs.ts";
import { ROOT, run } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

loadNative();

const NEEDS = [needRoot(), needFileSystem("erofs"), needFileSystem("overlay")];

/** In the name of every directory of this process, so that others' mounts do not count. */
const MARK = `cfs-mount-${Deno.pid}-`;

/** Mounts, loop devices and temporary directories that came from here. */
function traces(): string[] {
  const mounts = Deno.readTextFileSync("/proc/self/mountinfo").split("\n")
    .filter((line) => line.includes(MARK));
  const loops = [...Deno.readDirSync("/sys/block")].flatMap(({ name }) => {
    try {
      const file = Deno.readTextFileSync(`/sys/block/${name}/loop/backing_file`);
      return file.includes(MARK) ? [`${name} ${file}`] : [];
    } catch (error) {
      // Not a loop device, or a free one.
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  });
  const temporary = [...Deno.readDirSync("/tmp")].map(({ name }) => name)
    .filter((name) => name.startsWith(".composefs."));
  return [...mounts, ...loops, ...temporary];
}

/** Checks that all is gone; a loop device is given back a moment after the unmount. */
async function assertNoTraces(): Promise<void> {
  for (let tries = 0; tries < 50 && traces().length > 0; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.deepEqual(traces(), []);
}

const BIG = "big content ".repeat(1000);

/** A directory with an image, its objects and a mountpoint. */
class Prepared implements Disposable {
  readonly dir: TempDir;

  constructor(on: "memory" | "disk") {
    this.dir = new TempDir({ on, prefix: MARK });
    for (const name of ["objects", "mnt", "upper", "work"]) Deno.mkdirSync(this.dir.join(name));
  }

  /** Makes the image of a small tree. */
  async make(version: ErofsVersion, hash: HashName = "sha256"): Promise<this> {
    const source = this.dir.join("tree");
    this.dir.write("tree/etc/small", "small");
    this.dir.write("tree/usr/bin/big", BIG);
    Deno.symlinkSync("bin/big", `${source}/usr/link`);
    Deno.chownSync(`${source}/etc/small`, 1000, 1000);
    const { tree } = await scanDirectory(source, { hash });
    const algorithm = ALGORITHMS[hash];
    const id = objectIdOf(new TextEncoder().encode(BIG), { algorithm, provider: systemHash() });
    this.dir.write(`objects/${objectPath(id)}`, BIG);
    this.dir.write("image", writeImage(tree, { version, hash }));
    Deno.removeSync(source, { recursive: true });
    return this;
  }

  async mount(options: Partial<MountOptions> & { writable?: boolean } = {}): Promise<void> {
    const { writable, ...rest } = options;
    using stack = new DisposableStack();
    const open = (name: string, flags: number) =>
      stack.use(openPath(this.dir.join(name), { flags }));
    await mountComposefs({
      image: open("image", O.RDONLY),
      imagePath: this.dir.join("image"),
      objects: [open("objects", O.PATH | O.DIRECTORY)],
      mountpoint: this.path,
      name: "test",
      verity: "disabled",
      ...(writable
        ? { upper: open("upper", O.PATH), work: open("work", O.PATH), readWrite: true }
        : {}),
      ...rest,
    });
  }

  get path(): string {
    return this.dir.join("mnt");
  }

  /** Reads everything back. */
  check(): void {
    assert.equal(Deno.readTextFileSync(`${this.path}/etc/small`), "small");
    assert.equal(Deno.readTextFileSync(`${this.path}/usr/bin/big`), BIG);
    assert.equal(Deno.readTextFileSync(`${this.path}/usr/link`), BIG);
    assert.equal(Deno.statSync(`${this.path}/etc/small`).uid, 1000);
    assert.deepEqual([...Deno.readDirSync(this.path)].map(({ name }) => name).sort(), [
      "etc",
      "usr",
    ]);
  }

  /** The line of the mount in mountinfo. */
  info(): string {
    const lines = Deno.readTextFileSync("/proc/self/mountinfo").split("\n");
    return lines.find((line) => line.split(" ")[4] === this.path) ?? "";
  }

  [Symbol.dispose](): void {
    this.dir[Symbol.dispose]();
  }
}

testWith({
  name: "mountComposefs() mounts every format, from disk and from memory",
  needs: NEEDS,
  fn: async (t) => {
    for (const on of ["disk", "memory"] as const) {
      for (const version of [0, 1, 2] as const) {
        for (const hash of ["sha256", "sha512"] as const) {
          await t.step(`${on} V${version} ${hash}`, async () => {
            using prepared = await new Prepared(on).make(version, hash);
            await prepared.mount();
            prepared.check();
            assert.match(prepared.info(), / ro,relatime .* overlay composefs:test ro,/);
            assert.throws(
              () => Deno.writeTextFileSync(`${prepared.path}/new`, ""),
              /Read-only file system/,
            );
            unmount(prepared.path);
            assert.equal(prepared.info(), "");
          });
        }
      }
    }
    await assertNoTraces();
  },
});

testWith({
  name: "mountComposefs() has ways that older kernels understand",
  needs: NEEDS,
  fn: async (t) => {
    for (const method of ["fd", "detached", "directory"] as LayerMethod[]) {
      for (const forceLoop of [false, true]) {
        for (const writable of [false, true]) {
          const name = `${method}${forceLoop ? " loop" : ""}${writable ? " writable" : ""}`;
          await t.step(name, async () => {
            using prepared = await new Prepared("disk").make(1);
            await prepared.mount({ methods: [method], forceLoop, writable });
            prepared.check();
            assert.equal(traces().some((line) => line.startsWith("loop")), forceLoop);
            if (writable) {
              Deno.writeTextFileSync(`${prepared.path}/etc/small`, "changed");
              assert.equal(
                Deno.readTextFileSync(prepared.dir.join("upper", "etc", "small")),
                "changed",
              );
            }
            unmount(prepared.path);
          });
        }
      }
    }
    await assertNoTraces();
  },
});

testWith({
  name: "mountComposefs() takes attributes that it would set itself",
  needs: NEEDS,
  fn: async () => {
    using prepared = await new Prepared("disk").make(1);
    await prepared.mount({ attributes: MOUNT_ATTR.RDONLY | MOUNT_ATTR.NODEV });
    assert.match(prepared.info(), / ro,nodev,relatime /);
    unmount(prepared.path);
  },
});

testWith({
  name: "mountComposefs() requires fs-verity of files when told to",
  needs: NEEDS,
  fn: async (t) => {
    for (const verity of ["required", "try"] as const) {
      await t.step(verity, async () => {
        using prepared = await new Prepared("memory").make(1);
        await prepared.mount({ verity });
        assert.match(prepared.info(), /[ ,]verity=require(,|$)/);
        assert.equal(Deno.readTextFileSync(`${prepared.path}/etc/small`), "small");
        assert.throws(() => Deno.readTextFileSync(`${prepared.path}/usr/bin/big`), {
          message: /os error 5/,
        });
        unmount(prepared.path);
      });
    }
  },
});

testWith({
  name: "mountComposefs() shifts ids into a user namespace",
  needs: NEEDS,
  fn: async () => {
    using prepared = await new Prepared("disk").make(1);
    const child = new Deno.Command("unshare", { args: ["--user", "sleep", "30"] }).spawn();
    try {
      const own = Deno.readLinkSync("/proc/self/ns/user");
      const userns = `/proc/${child.pid}/ns/user`;
      for (let tries = 0; tries < 100 && Deno.readLinkSync(userns) === own; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      for (const map of ["uid_map", "gid_map"]) {
        Deno.writeTextFileSync(`/proc/${child.pid}/${map}`, "0 100000 65536\n");
      }
      using idmap = openPath(userns);
      await prepared.mount({ idmap });
      assert.equal(Deno.statSync(`${prepared.path}/etc/small`).uid, 101000);
      unmount(prepared.path);
    } finally {
      child.kill();
      await child.output();
    }
  },
});

testWith({
  name: "mountComposefs() sets attributes, and several object directories serve",
  needs: NEEDS,
  fn: async () => {
    using prepared = await new Prepared("memory").make(1);
    Deno.mkdirSync(prepared.dir.join("empty"));
    using empty = openPath(prepared.dir.join("empty"), { flags: O.PATH });
    using objects = openPath(prepared.dir.join("objects"), { flags: O.PATH });
    await prepared.mount({ objects: [empty, objects], attributes: 2 + 4 + 8 + 16 });
    assert.match(prepared.info(), / ro,nosuid,nodev,noexec,noatime /);
    prepared.check();
    unmount(prepared.path);
  },
});

testWith({
  name: "mountComposefs() fails without leaving anything behind",
  needs: NEEDS,
  fn: async (t) => {
    using prepared = await new Prepared("memory").make(1);
    await t.step("no such mountpoint", async () => {
      await assert.rejects(prepared.mount({ mountpoint: prepared.dir.join("none") }), (error) => {
        assert.ok(error instanceof ComposefsError);
        assert.equal(error.message, `Failed to mount at ${prepared.dir.join("none")}`);
        assert.ok(isErrno(error.cause, "ENOENT"));
        return true;
      });
    });
    await t.step("mountpoint is a file", async () => {
      await assert.rejects(
        prepared.mount({ mountpoint: prepared.dir.join("image") }),
        (error) => isErrno((error as Error).cause, "ENOTDIR"),
      );
    });
    await t.step("not an image", async () => {
      using image = openPath(prepared.dir.write("text", "x".repeat(5000)));
      await assert.rejects(prepared.mount({ image }), {
        name: "FormatError",
        message: "Not a composefs image",
      });
    });
    await t.step("damaged image", async () => {
      const bytes = Deno.readFileSync(prepared.dir.join("image"));
      bytes.fill(0, 1024, 1152);
      using image = openPath(prepared.dir.write("damaged", bytes));
      await assert.rejects(prepared.mount({ image }), (error) => isErrno(error, "EINVAL"));
    });
    for (const method of ["fd", "detached", "directory"] as LayerMethod[]) {
      await t.step(`work directory on another file system, ${method}`, async () => {
        using other = new TempDir({ on: "disk" });
        using work = openPath(other.path, { flags: O.PATH });
        using upper = openPath(prepared.dir.join("upper"), { flags: O.PATH });
        await assert.rejects(prepared.mount({ methods: [method], upper, work }), (error) => {
          assert.ok(error instanceof MountError);
          assert.equal(error.message, "fsconfig overlay create: Invalid argument (os error 22)");
          return true;
        });
      });
    }
    await t.step("upper layer without work directory", async () => {
      using upper = openPath(prepared.dir.join("upper"), { flags: O.PATH });
      await assert.rejects(prepared.mount({ upper }), TypeError);
    });
    await t.step("unmount() of what is not mounted", () => {
      assert.throws(() => unmount(prepared.path), { name: "NotFoundError" });
      assert.throws(
        () => unmount(prepared.dir.join("none")),
        (error) => isErrno(error, "ENOENT"),
      );
    });
    await assertNoTraces();
  },
});

testWith({
  name: "unmount() refuses while in use, and hides at once when told to",
  needs: NEEDS,
  fn: async () => {
    using prepared = await new Prepared("memory").make(1);
    await prepared.mount();
    {
      using _busy = openPath(`${prepared.path}/etc/small`);
      assert.throws(() => unmount(prepared.path), (error) => isErrno(error, "EBUSY"));
      unmount(prepared.path, { detach: true });
      assert.equal(prepared.info(), "");
    }
  },
});

testWith({
  name: "mountComposefs() with a temporary directory ends cleanly when a signal arrives",
  needs: NEEDS,
  fn: async () => {
    using prepared = await new Prepared("disk").make(1);
    const program = `
      import { holdSignals } from ${
      JSON.stringify(new URL("../../lib/mount/signals.ts", import.meta.url).href)
    };
      await holdSignals(() => {
        Deno.kill(Deno.pid, "SIGTERM");
        const end = Date.now() + 100;
        while (Date.now() < end);
        Deno.writeTextFileSync(Deno.args[0], "finished");
      });
      await new Promise((resolve) => setTimeout(resolve, 5000));
    `;
    const main = prepared.dir.write("main.ts", program);
    const mark = prepared.dir.join("mark");
    const result = await run([Deno.execPath(), "run", "-A", "--quiet", main, mark]);
    assert.equal(result.signal, "SIGTERM");
    assert.equal(Deno.readTextFileSync(mark), "finished");
    await assertNoTraces();
  },
});

/** What ours says instead, where the specification wants it better than the reference. */
const OURS: Record<string, { code: number; message?: string }> = {
  "-o basedir=DIR/repo/objects,noatime IMAGE MNT": { code: 0 },
  "--help": { code: 0 },
};

testWith({
  name: "runMountCommand() does what the recorded runs of the reference did",
  needs: NEEDS,
  fn: async (t) => {
    const text = await Deno.readTextFile(`${ROOT}fixtures/mount/mount.composefs-option-errors.txt`);
    const records = text.split(/^(?=\[)/m).filter((record) => record.startsWith("[rust] "));
    assert.equal(records.length, 15);
    for (const record of records) {
      const lines = record.trimEnd().split("\n");
      const command = lines[0]!.replace("[rust] mount.composefs ", "").trim();
      await t.step(command, async () => {
        using prepared = await new Prepared("disk").make(1);
        const { dir } = prepared;
        const places: Record<string, string> = {
          "DIR/repo/objects": dir.join("objects"),
          "DIR/repo/images/<IMAGE-ID>": dir.join("image"),
          "DIR": dir.path,
          "<IMAGE-ID>": "a".repeat(64),
          "IMAGE": dir.join("image"),
          "MNT": prepared.path,
        };
        const place = (line: string) =>
          line.replace(
            /DIR\/repo\/objects|DIR\/repo\/images\/<IMAGE-ID>|DIR|<IMAGE-ID>|\bIMAGE\b|\bMNT\b/g,
            (name) => places[name]!,
          );
        let error: unknown;
        try {
          const parsed = parseMountCommand(command.split(/ +/).map(place));
          if (!parsed.help) await runMountCommand(parsed);
        } catch (thrown) {
          error = thrown;
        }
        const ours = OURS[command];
        const code = ours?.code ?? Number(lines.at(-1)!.replace("exit=", ""));
        if (code === 0) {
          assert.equal(error, undefined);
          if (command === "--help") return;
          assert.match(prepared.info(), / overlay composefs:composefs /);
          // With verity=require files cannot be read here, where no object has fs-verity.
          if (!prepared.info().includes("verity=require")) prepared.check();
          return;
        }
        assert.ok(error instanceof ComposefsError);
        const said = lines[1]!.replace(/^Error: (error: )?/, "");
        assert.equal(error.message, place(said));
        const cause = lines.indexOf("Caused by:");
        if (cause > 0) {
          const { message } = error.cause as Error;
          assert.ok(message.endsWith(lines[cause + 1]!.trim()), message);
        } else assert.equal(error.cause, undefined);
      });
    }
  },
});

testWith({
  name:
    "runMountCommand() mounts writable, with a digest refused on a file system without fs-verity",
  needs: NEEDS,
  fn: async () => {
    using prepared = await new Prepared("memory").make(2);
    const { dir } = prepared;
    const options = `basedir=${dir.join("objects")},upperdir=${dir.join("upper")},workdir=${
      dir.join("work")
    }`;
    await runMountCommand(parseMountCommand(["-o", options, dir.join("image"), prepared.path]));
    prepared.check();
    assert.match(prepared.info(), / rw,relatime .* overlay composefs:composefs rw,/);
    Deno.removeSync(`${prepared.path}/usr/link`);
    unmount(prepared.path);
    const fake = parseMountCommand(["-f", "-o", options, dir.join("image"), prepared.path]);
    await runMountCommand(fake);
    assert.equal(prepared.info(), "");
  },
});
