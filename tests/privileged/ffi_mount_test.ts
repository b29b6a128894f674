import assert from "node:assert/strict";
import {
  AT_FDCWD,
  cloneTree,
  Fd,
  FsContext,
  isErrno,
  MOUNT_ATTR,
  MountError,
  moveMount,
  moveMountOn,
  O,
  openLoopDevice,
  openPath,
  setMountAttributes,
  umount,
} from "../../ffi/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { needRoot, testWith } from "../helpers/needs.ts";
import { TempDir } from "../helpers/temp.ts";

loadNative();

const NEEDS = [needRoot()];

function infoOf(path: string): string {
  const lines = Deno.readTextFileSync("/proc/self/mountinfo").split("\n");
  return lines.find((line) => line.split(" ")[4] === path) ?? "";
}

testWith({
  name: "FsContext makes mounts that can be attached, changed, cloned and taken down",
  needs: NEEDS,
  fn: () => {
    using dir = new TempDir();
    for (const name of ["a", "b"]) Deno.mkdirSync(dir.join(name));
    const before = [...Deno.readDirSync("/proc/self/fd")].length;
    {
      using context = new FsContext("tmpfs");
      context.setString("size", "1m");
      context.setFlag("noswap");
      context.create();
      using mount = context.mount(MOUNT_ATTR.NOSUID);
      setMountAttributes(mount, { set: MOUNT_ATTR.NODEV, clear: MOUNT_ATTR.NOSUID });
      using target = openPath(dir.join("a"), { flags: O.PATH });
      moveMountOn(mount, target);
    }
    assert.match(infoOf(dir.join("a")), / rw,nodev,relatime.* - tmpfs none rw,size=1024k/);
    Deno.writeTextFileSync(dir.join("a", "file"), "x");
    {
      using clone = cloneTree(AT_FDCWD, dir.join("a"), { recursive: true });
      setMountAttributes(clone, { set: MOUNT_ATTR.RDONLY, recursive: true });
      moveMount(clone, AT_FDCWD, dir.join("b"));
    }
    assert.equal(Deno.readTextFileSync(dir.join("b", "file")), "x");
    assert.throws(() => Deno.writeTextFileSync(dir.join("b", "file"), ""), /Read-only/);
    assert.equal(umount(dir.join("b")), true);
    assert.equal(umount(dir.join("b")), false);
    assert.equal(umount(dir.join("a"), { detach: true }), true);
    assert.equal([...Deno.readDirSync("/proc/self/fd")].length, before);
  },
});

testWith({
  name: "MountError carries what the kernel said",
  needs: NEEDS,
  fn: () => {
    using context = new FsContext("tmpfs");
    assert.throws(() => context.setString("bogus", "1"), (error) => {
      assert.ok(error instanceof MountError);
      assert.ok(isErrno(error, "EINVAL"));
      assert.equal(error.messages, "tmpfs: Unknown parameter 'bogus'");
      assert.equal(
        error.message,
        "fsconfig tmpfs bogus: Invalid argument (os error 22): tmpfs: Unknown parameter 'bogus'",
      );
      return true;
    });
    assert.throws(() => context.setFlag("bogus"), MountError);
    assert.throws(() => context.setFd("bogus", 0), MountError);
    assert.throws(() => context.mount(), (error) => isErrno(error, "EINVAL"));
    assert.throws(() => new FsContext("nosuchfs"), (error) => {
      assert.ok(error instanceof MountError);
      assert.equal(error.message, "fsopen nosuchfs: No such device (os error 19)");
      return true;
    });
  },
});

testWith({
  name: "openLoopDevice() makes read-only devices that vanish with their last user",
  needs: NEEDS,
  fn: async (t) => {
    for (const on of ["disk", "memory"] as const) {
      await t.step(on, () => {
        using dir = new TempDir({ on });
        using file = openPath(dir.write("backing", new Uint8Array(8192).fill(65)));
        const name = "é".repeat(60);
        const loop = openLoopDevice(file, { name });
        const sys = loop.path.replace("/dev/", "/sys/block/");
        assert.equal(Deno.readTextFileSync(`${sys}/ro`).trim(), "1");
        assert.equal(Deno.readTextFileSync(`${sys}/loop/autoclear`).trim(), "1");
        assert.ok(Deno.readTextFileSync(`${sys}/loop/backing_file`).endsWith("/backing\n"));
        assert.equal(Deno.readTextFileSync(`${sys}/size`).trim(), "16");
        assert.equal(Deno.readFileSync(loop.path)[5000], 65);
        loop.fd.close();
        assert.throws(() => Deno.statSync(`${sys}/loop`), Deno.errors.NotFound);
      });
    }
    await t.step("of what is not open", () => {
      assert.throws(() => openLoopDevice(new Fd(9999)), (error) => isErrno(error, "EBADF"));
    });
  },
});
