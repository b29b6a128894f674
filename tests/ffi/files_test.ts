import assert from "node:assert/strict";
import { fromByteString, toByteString } from "../../lib/base/mod.ts";
import * as ffi from "../../ffi/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";

loadNative();

/** A directory with some entries, open. */
class Place implements Disposable {
  readonly dir: TempDir = new TempDir({ on: "disk" });
  readonly fd: ffi.Fd = ffi.openPath(this.dir.path, { flags: ffi.O.DIRECTORY });
  readonly bad: ffi.Fd = new ffi.Fd(9999);

  constructor() {
    this.dir.write("file", "hello");
    this.dir.write("sub/inner", "x");
    Deno.symlinkSync("file", this.dir.join("link"));
    Deno.symlinkSync("/etc", this.dir.join("abs"));
  }

  [Symbol.dispose](): void {
    this.fd.close();
    this.bad.release();
    this.dir[Symbol.dispose]();
  }
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Each wrapper that fails, and with what. */
// The kernel asks for the right to mount before it looks at the arguments.
const MOUNT_ERRNO = ffi.hasCapability(ffi.CAP.SYS_ADMIN) ? "EBADF" : "EPERM";

const failures: { name: string; errno: ffi.ErrnoName; call: (at: Place) => unknown }[] = [
  { name: "openAt none", errno: "ENOENT", call: (at) => ffi.openAt(at.fd, "none") },
  { name: "openAt below a file", errno: "ENOTDIR", call: (at) => ffi.openAt(at.fd, "file/x") },
  {
    name: "openAt exclusive",
    errno: "EEXIST",
    call: (at) => ffi.openAt(at.fd, "file", { flags: ffi.O.CREAT | ffi.O.EXCL }),
  },
  {
    name: "openAt link",
    errno: "ELOOP",
    call: (at) => ffi.openAt(at.fd, "link", { flags: ffi.O.NOFOLLOW }),
  },
  { name: "openNumber none", errno: "ENOENT", call: (at) => ffi.openNumber(at.fd, "none") },
  { name: "openIfExists", errno: "ENOTDIR", call: (at) => ffi.openIfExists(at.fd, "file/x") },
  { name: "openDir of a file", errno: "ENOTDIR", call: (at) => ffi.openDir(at.fd, "file") },
  { name: "openOrMakeDir", errno: "ENOTDIR", call: (at) => ffi.openOrMakeDir(at.fd, "file") },
  { name: "openTmpfile", errno: "EBADF", call: (at) => ffi.openTmpfile(at.bad) },
  {
    name: "openAt2 no links",
    errno: "ELOOP",
    call: (at) => ffi.openAt2(at.fd, "link", { resolve: ffi.RESOLVE.NO_SYMLINKS }),
  },
  {
    name: "openAt2 beneath",
    errno: "EXDEV",
    call: (at) => ffi.openAt2(at.fd, "abs", { resolve: ffi.RESOLVE.BENEATH }),
  },
  { name: "linkFd", errno: "ENOENT", call: (at) => ffi.linkFd(at.fd, at.fd, "none/x") },
  { name: "linkAt", errno: "ENOENT", call: (at) => ffi.linkAt(at.fd, "none", at.fd, "x") },
  { name: "linkAt taken", errno: "EEXIST", call: (at) => ffi.linkAt(at.fd, "file", at.fd, "link") },
  { name: "symlinkAt", errno: "EEXIST", call: (at) => ffi.symlinkAt("t", at.fd, "file") },
  { name: "readlinkAt", errno: "EINVAL", call: (at) => ffi.readlinkAt(at.fd, "file") },
  { name: "readlinkBytes", errno: "ENOENT", call: (at) => ffi.readlinkBytes(at.fd.number, "none") },
  { name: "renameAt", errno: "ENOENT", call: (at) => ffi.renameAt(at.fd, "none", at.fd, "x") },
  {
    name: "renameNoReplace",
    errno: "ENOENT",
    call: (at) => ffi.renameNoReplace(at.fd, "none", at.fd, "x"),
  },
  { name: "mkdirAt", errno: "ENOENT", call: (at) => ffi.mkdirAt(at.fd, "none/x") },
  { name: "unlinkAt directory", errno: "EISDIR", call: (at) => ffi.unlinkAt(at.fd, "sub") },
  {
    name: "unlinkAt full directory",
    errno: "ENOTEMPTY",
    call: (at) => ffi.unlinkAt(at.fd, "sub", { directory: true }),
  },
  { name: "fstat", errno: "EBADF", call: (at) => ffi.fstat(at.bad) },
  { name: "lstatAt", errno: "ENOTDIR", call: (at) => ffi.lstatAt(at.fd, "file/x") },
  { name: "statAt", errno: "ENOTDIR", call: (at) => ffi.statAt(at.fd, "file/x") },
  { name: "sizeAt", errno: "ENOTDIR", call: (at) => ffi.sizeAt(at.fd, "file/x") },
  { name: "fstatfs", errno: "EBADF", call: (at) => ffi.fstatfs(at.bad) },
  { name: "checkWritable", errno: "EBADF", call: (at) => ffi.checkWritable(at.bad) },
  { name: "readDir", errno: "EBADF", call: (at) => ffi.readDir(at.bad) },
  {
    name: "readDir of a file",
    errno: "ENOTDIR",
    call: (at) => {
      using fd = ffi.openAt(at.fd, "file");
      ffi.readDir(fd);
    },
  },
  { name: "pread", errno: "EBADF", call: (at) => ffi.pread(at.bad, ffi.addressable(10), 0) },
  {
    name: "pread directory",
    errno: "EISDIR",
    call: (at) => ffi.pread(at.fd, ffi.addressable(9), 0),
  },
  {
    name: "preadAddress",
    errno: "EFAULT",
    call: (at) => {
      using fd = ffi.openAt(at.fd, "file");
      ffi.preadAddress(fd.number, { address: 1, length: 4, offset: 0 });
    },
  },
  {
    name: "preadFull",
    errno: "EBADF",
    call: (at) => ffi.preadFull(at.bad, ffi.addressable(10), 0),
  },
  { name: "read", errno: "EBADF", call: (at) => ffi.read(at.bad, ffi.addressable(10)) },
  { name: "writeAll", errno: "EBADF", call: (at) => ffi.writeAll(at.bad, ffi.addressable(10)) },
  { name: "pwriteAll", errno: "EBADF", call: (at) => ffi.pwriteAll(at.bad, ffi.addressable(9), 0) },
  { name: "copyFileRange", errno: "EBADF", call: (at) => ffi.copyFileRange(at.bad, at.bad, 1) },
  { name: "reflink", errno: "EBADF", call: (at) => ffi.reflink(at.bad, at.bad) },
  { name: "ftruncate", errno: "EBADF", call: (at) => ffi.ftruncate(at.bad, 1) },
  { name: "fallocate", errno: "EBADF", call: (at) => ffi.fallocate(at.bad, 1) },
  { name: "fsync", errno: "EBADF", call: (at) => ffi.fsync(at.bad) },
  { name: "syncfs", errno: "EBADF", call: (at) => ffi.syncfs(at.bad) },
  { name: "flock", errno: "EBADF", call: (at) => ffi.flock(at.bad, "shared") },
  { name: "tryFlock", errno: "EBADF", call: (at) => ffi.tryFlock(at.bad, "shared") },
  { name: "mknodAt", errno: "EEXIST", call: (at) => ffi.mknodAt(at.fd, "file", { mode: 0o644 }) },
  {
    name: "chownAt",
    errno: "ENOENT",
    call: (at) => ffi.chownAt(at.fd, "none", { uid: 0, gid: 0 }),
  },
  { name: "chmodAt", errno: "ENOENT", call: (at) => ffi.chmodAt(at.fd, "none", 0o600) },
  {
    name: "utimeAt",
    errno: "ENOENT",
    call: (at) => ffi.utimeAt(at.fd, "none", { sec: 1n, nsec: 0 }),
  },
  { name: "sealMemfd", errno: "EBADF", call: (at) => ffi.sealMemfd(at.bad) },
  { name: "memfd long name", errno: "EINVAL", call: () => ffi.memfd("x".repeat(300)) },
  { name: "setNamespace", errno: "EBADF", call: (at) => ffi.setNamespace(at.bad) },
  { name: "setNamespace wrong", errno: "EINVAL", call: (at) => ffi.setNamespace(at.fd) },
  { name: "unshare", errno: "EINVAL", call: () => ffi.unshare(ffi.CLONE.NEWUSER) },
  { name: "openNamespace", errno: "ENOENT", call: () => ffi.openNamespace("/proc/self/ns/none") },
  { name: "fdXattrs", errno: "ENOENT", call: (at) => ffi.fdXattrs(at.fd.number + 5000) },
  { name: "nameXattrs", errno: "ENOENT", call: (at) => ffi.nameXattrs(at.fd, "none") },
  { name: "getXattr", errno: "ENOENT", call: (at) => ffi.getXattr(at.bad, "user.x") },
  {
    name: "setXattr",
    errno: "ENOENT",
    call: (at) => ffi.setXattr(at.dir.join("none"), "user.x", ""),
  },
  {
    name: "setXattr too long",
    errno: "E2BIG",
    call: (at) => ffi.setXattr(at.dir.join("file"), "user.x", "x".repeat(65537)),
  },
  { name: "moveMount", errno: MOUNT_ERRNO, call: (at) => ffi.moveMount(at.bad, at.fd, "sub") },
  { name: "moveMountOn", errno: MOUNT_ERRNO, call: (at) => ffi.moveMountOn(at.bad, at.fd) },
  {
    name: "setMountAttributes",
    errno: MOUNT_ERRNO,
    call: (at) => ffi.setMountAttributes(at.bad, { set: 1 }),
  },
  { name: "umount", errno: "ENOENT", call: (at) => ffi.umount(at.dir.join("none")) },
];

Deno.test("wrappers throw ErrnoError with the right number and leave nothing open", async (t) => {
  using at = new Place();
  const before = [...Deno.readDirSync("/proc/self/fd")].length;
  for (const { name, errno, call } of failures) {
    await t.step(name, () => {
      assert.throws(() => call(at), (error) => {
        assert.ok(error instanceof ffi.ErrnoError, String(error));
        assert.equal(error.errnoName, errno);
        return true;
      });
    });
  }
  assert.equal([...Deno.readDirSync("/proc/self/fd")].length, before);
});

Deno.test("Fd closes once, knows when it is closed, and can be given away", () => {
  using at = new Place();
  const fd = ffi.openAt(at.fd, "file");
  const { number } = fd;
  assert.equal(ffi.fdNumber(fd), number);
  assert.equal(fd.procPath, `/proc/self/fd/${number}`);
  fd.close();
  fd.close();
  assert.ok(fd.closed);
  assert.throws(() => fd.number, TypeError);
  const given = ffi.openAt(at.fd, "file").release();
  assert.equal(ffi.fstat(given).size, 5);
  ffi.closeNumber(given);
  assert.equal(ffi.openIfExists(at.fd, "none"), undefined);
  assert.ok(ffi.tryOpenNumber(at.fd, "none", {}) < 0);
  assert.equal(ffi.errno(), 2);
  assert.equal(ffi.openBytes(at.fd.number, "none", 0), -2);
  const bytes = ffi.openBytes(at.fd.number, "file", ffi.O.RDONLY);
  assert.ok(bytes > 0);
  ffi.closeNumber(bytes);
  const flags = Deno.readTextFileSync(`/proc/self/fdinfo/${at.fd.number}`);
  assert.match(flags, /flags:\s+0?2\d*/, "close-on-exec is set");
});

Deno.test("files are written, read, copied, linked, renamed and removed", () => {
  using at = new Place();
  const { fd } = at;
  const buffer = ffi.addressable(100);
  {
    using file = ffi.openTmpfile(fd);
    ffi.writeAll(file, new TextEncoder().encode("x".repeat(4096)).subarray(0, 70));
    ffi.pwriteAll(file, fromByteString("y".repeat(80)), 70);
    assert.equal(ffi.fstat(file).size, 150);
    using again = ffi.reopenReadOnly(file);
    assert.equal(ffi.preadFull(again, buffer, 100), 50);
    assert.equal(ffi.pread(again, buffer, 150), 0);
    assert.equal(ffi.read(again, buffer.subarray(0, 3)), 3);
    assert.equal(text(buffer.subarray(0, 3)), "xxx");
    assert.equal(ffi.linkFd(file, fd, "named"), true);
    assert.equal(ffi.linkFd(file, fd, "named"), false);
    ffi.fsync(file);
    ffi.syncfs(file);
  }
  {
    using from = ffi.openAt(fd, "named");
    using to = ffi.openAt(fd, "copy", { flags: ffi.O.CREAT | ffi.O.RDWR });
    assert.equal(typeof ffi.reflink(from, to), "boolean");
    assert.ok([150, -1].includes(ffi.copyFileRange(from, to, 1000)));
    ffi.ftruncate(to, 10);
    assert.equal(typeof ffi.fallocate(to, 5000), "boolean");
  }
  ffi.linkAt(fd, "named", fd, "second");
  assert.equal(ffi.lstatAt(fd, "second")?.nlink, 2);
  ffi.symlinkAt("target", fd, "new-link");
  assert.equal(text(ffi.readlinkAt(fd, "new-link")!), "target");
  assert.equal(ffi.readlinkAt(fd, "none"), undefined);
  assert.equal(ffi.readlinkBytes(fd.number, "new-link"), "target");
  ffi.renameAt(fd, "second", fd, "third");
  assert.equal(ffi.renameNoReplace(fd, "third", fd, "named"), false);
  assert.equal(ffi.renameNoReplace(fd, "third", fd, "fourth"), true);
  assert.equal(ffi.mkdirAt(fd, "made"), true);
  assert.equal(ffi.mkdirAt(fd, "made"), false);
  ffi.openOrMakeDir(fd, "made").close();
  ffi.openOrMakeDir(fd, "made2").close();
  assert.equal(ffi.unlinkAt(fd, "made", { directory: true }), true);
  assert.equal(ffi.unlinkAt(fd, "fourth"), true);
  assert.equal(ffi.unlinkAt(fd, "fourth"), false);
  using beneath = ffi.openAt2(fd, "sub/inner", { resolve: ffi.RESOLVE.BENEATH });
  assert.equal(ffi.fstat(beneath).size, 1);
});

Deno.test("metadata comes back as it was set", () => {
  using at = new Place();
  const { fd } = at;
  ffi.chmodAt(fd, "file", 0o4751);
  ffi.utimeAt(fd, "file", { sec: -5n, nsec: 999_999_999 });
  ffi.utimeAt(fd, "link", { sec: 2n ** 32n, nsec: 7 });
  const stat = ffi.lstatAt(fd, "file")!;
  assert.equal(stat.mode, ffi.S_IF.REG | 0o4751);
  assert.deepEqual([stat.mtimeSec, stat.mtimeNsec], [-5n, 999_999_999]);
  assert.ok(stat.isFile && !stat.isDirectory && !stat.isSymlink);
  assert.ok(ffi.lstatAt(fd, "link")!.isSymlink);
  assert.ok(ffi.statAt(fd, "link")!.isFile);
  assert.equal(ffi.statAt(fd, "none"), undefined);
  assert.ok(ffi.fstat(fd).isDirectory);
  assert.equal(ffi.sizeAt(fd, "file"), 5);
  assert.equal(ffi.sizeAt(fd, "none"), -1);
  const info = Deno.statSync(at.dir.join("file"));
  assert.equal(Number(stat.ino), info.ino);
  assert.equal(ffi.statInto(fd.number, ffi.cPath("file")), 0);
  const { mode, uid, gid, size, ino, dev, rdev, mtimeSec, mtimeNsec } = ffi.lastStat;
  assert.deepEqual(
    { mode, uid, gid, size, ino: BigInt(ino), dev, rdev, mtimeSec, mtimeNsec },
    {
      ...{ mode: stat.mode, uid: stat.uid, gid: stat.gid, size: stat.size, ino: stat.ino },
      ...{ dev: stat.dev, rdev: stat.rdev, mtimeSec: stat.mtimeSec, mtimeNsec: stat.mtimeNsec },
    },
  );
  assert.equal(ffi.statInto(fd.number, ffi.cPath("none")), 2);
  assert.equal(ffi.encodeDevice(300, 70000), 286338160);
  assert.equal(ffi.encodeDevice(4095, 2 ** 20 - 1), 2 ** 32 - 1);
  ffi.ftruncate(ffi.openAt(fd, "huge", { flags: ffi.O.CREAT | ffi.O.RDWR }), 5 * 2 ** 32 + 3);
  assert.equal(ffi.sizeAt(fd, "huge"), 5 * 2 ** 32 + 3);
  const fs = ffi.fstatfs(fd);
  assert.equal(fs.readOnly, false);
  assert.ok(fs.available > 0 && fs.type > 0);
  ffi.checkWritable(fd);
});

Deno.test("directories are listed whole, however many and odd the names", () => {
  using dir = new TempDir();
  using fd = ffi.openPath(dir.path);
  const names = ["\xff\xfe", "a", "x".repeat(255), "...", "..a", ".a"];
  for (let i = 0; i < 3000; i++) names.push(`a-rather-long-name-to-fill-the-buffer-${i}`);
  for (const name of names) ffi.mknodAt(fd, fromByteString(name), { mode: ffi.S_IF.REG | 0o600 });
  ffi.mkdirAt(fd, "directory");
  for (let i = 0; i < 2; i++) { // the second time from the start again
    const entries = ffi.readDir(fd);
    assert.deepEqual(
      entries.map(({ name }) => name).sort(),
      [...names, "directory"].sort(),
    );
    assert.equal(entries.find(({ name }) => name === "directory")?.type, ffi.DT.DIR);
    assert.equal(entries.find(({ name }) => name === "a")?.type, ffi.DT.REG);
  }
  const reader = new ffi.DirReader(fd.number, ffi.addressable(1024));
  let count = 0;
  while (reader.next()) {
    count++;
    assert.equal(ffi.statInto(fd.number, reader.nameAddress), 0);
  }
  assert.equal(count, names.length + 1);
  assert.equal(reader.next(), false);
});

Deno.test("locks exclude each other between open files", () => {
  using at = new Place();
  using one = ffi.openAt(at.fd, "file");
  using two = ffi.openAt(at.fd, "file");
  ffi.flock(one, "shared");
  assert.equal(ffi.tryFlock(two, "shared"), true);
  assert.equal(ffi.tryFlock(two, "exclusive"), false);
  ffi.flock(one, "unlock");
  assert.equal(ffi.tryFlock(two, "exclusive"), true);
  assert.equal(ffi.tryFlock(one, "shared"), false);
});

Deno.test("extended attributes of files come back as bytes", () => {
  using at = new Place();
  const path = at.dir.join("file");
  using fd = ffi.openPath(path);
  using handle = ffi.openPath(path, { flags: ffi.O.PATH });
  assert.equal(ffi.fdXattrs(fd), undefined);
  assert.equal(ffi.fdXattrs(handle), undefined);
  assert.equal(ffi.getXattr(fd, "user.none"), undefined);
  const all = toByteString(Uint8Array.from({ length: 256 }, (_, i) => i));
  ffi.setXattr(path, "user.all", all);
  ffi.setXattr(path, "user.empty", "");
  const want = new Map([["user.all", all], ["user.empty", ""]]);
  const pairs = (flat: string[] | undefined) =>
    new Map(flat!.flatMap((name, i) => i % 2 === 0 ? [[name, flat![i + 1]!] as const] : []));
  assert.deepEqual(pairs(ffi.fdXattrs(fd)), want);
  assert.deepEqual(pairs(ffi.fdXattrs(handle)), want, "through a descriptor opened with O_PATH");
  assert.deepEqual(pairs(ffi.nameXattrs(at.fd, "file")), want);
  assert.equal(ffi.nameXattrs(at.fd, "link"), undefined, "of the link, not of the file");
  assert.equal(ffi.getXattr(fd, "user.all"), all);
  assert.equal(ffi.getXattr(handle, "user.empty"), "");
});

Deno.test("files in memory can be sealed", () => {
  using file = ffi.memfd("test");
  ffi.writeAll(file, new TextEncoder().encode("x".repeat(100)));
  ffi.sealMemfd(file);
  assert.throws(() => ffi.writeAll(file, ffi.addressable(1)), (e) => ffi.isErrno(e, "EPERM"));
  assert.equal(ffi.fstat(file).size, 100);
});

Deno.test("the process knows its user, mask and capabilities", () => {
  assert.equal(ffi.effectiveUser(), Deno.uid());
  const mask = ffi.setUmask(0o27);
  assert.equal(ffi.setUmask(mask), 0o27);
  const effective = BigInt(
    "0x" + /^CapEff:\s*([0-9a-f]+)/m.exec(Deno.readTextFileSync("/proc/self/status"))![1],
  );
  for (const [name, capability] of Object.entries(ffi.CAP)) {
    assert.equal(
      ffi.hasCapability(capability),
      (effective >> BigInt(capability)) % 2n === 1n,
      name,
    );
  }
});

Deno.test("fs-verity ioctls say when the file system has none", () => {
  using dir = new TempDir(); // tmpfs never has it
  using fd = ffi.openPath(dir.write("file", "x"));
  const algorithm = { hash: "sha256", lgBlockSize: 12, kernelId: 1, size: 32, id: "" } as const;
  assert.equal(ffi.enableVerity(fd, algorithm), "unsupported");
  assert.equal(ffi.measureVerity(fd, algorithm), "unsupported");
  assert.throws(() => ffi.measureVerity(9999, algorithm), (e) => ffi.isErrno(e, "EBADF"));
  assert.throws(() => ffi.enableVerity(9999, algorithm), (e) => ffi.isErrno(e, "EBADF"));
  assert.equal(ffi.verityUnsupported().message, "Filesystem does not support fs-verity");
});

Deno.test("readDir gives names of every length", () => {
  using dir = new TempDir();
  const names = ["..."];
  for (let length = 1; length <= 255; length++) names.push("x".repeat(length));
  for (const name of names) dir.write(name, "");
  using fd = ffi.openDir(ffi.AT_FDCWD, dir.path);
  assert.deepEqual(ffi.readDir(fd).map(({ name }) => name).sort(), names.sort());
});
