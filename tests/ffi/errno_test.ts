import assert from "node:assert/strict";
import { repeated } from "../../ffi/errno.ts";
import { libc } from "../../ffi/libc.ts";
import { cPath } from "../../ffi/memory.ts";
import { AT_FDCWD, ErrnoError, errnoText, flock, isErrno, openPath } from "../../ffi/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

loadNative();

const DOOR = JSON.stringify(new URL("../../ffi/mod.ts", import.meta.url).href);

/** The first call a fresh process makes, and what its error must be called. */
const first: { name: string; call: string; errno: string }[] = [
  { name: "open", call: `ffi.openPath("/nowhere/at/all")`, errno: "ENOENT" },
  { name: "mkdir", call: `ffi.mkdirAt(-100, "/proc/nothing")`, errno: "ENOENT" },
  { name: "close-on-exec", call: `ffi.flock(new ffi.Fd(9999), "shared")`, errno: "EBADF" },
  { name: "statx", call: `ffi.fstat(9999)`, errno: "EBADF" },
  { name: "getdents64", call: `new ffi.DirReader(9999).next()`, errno: "EBADF" },
  { name: "fsopen", call: `new ffi.FsContext("nosuchfs")`, errno: "ENODEV|EPERM" },
];

Deno.test("errno is right for the very first call of a process", async (t) => {
  for (const { name, call, errno } of first) {
    await t.step(name, async () => {
      const program = `import * as ffi from ${DOOR}; let e; ` +
        `try { ${call}; } catch (error) { e = error; } console.log(e?.errnoName ?? String(e));`;
      const file = await Deno.makeTempFile({ suffix: ".ts" });
      try {
        await Deno.writeTextFile(file, program);
        const { stdout } = await runOk([
          Deno.execPath(),
          ...["run", "-A", "--quiet", "--no-check", file],
        ]);
        assert.match(stdout, new RegExp(`^(${errno})\n$`));
      } finally {
        await Deno.remove(file);
      }
    });
  }
});

Deno.test("errno stays right while the garbage collector is busy", () => {
  const garbage: unknown[] = [];
  for (let i = 0; i < 20_000; i++) {
    garbage.push({ i, text: `number ${i}` });
    if (garbage.length > 1000) garbage.length = 0;
    const path = i % 2 === 0 ? "/nowhere/at/all" : "/etc/passwd/below";
    let error: unknown;
    try {
      openPath(path);
    } catch (thrown) {
      error = thrown;
    }
    assert.ok(isErrno(error, i % 2 === 0 ? "ENOENT" : "ENOTDIR"), String(error));
  }
});

Deno.test("ErrnoError tells the call, the path and the reason", () => {
  const error = new ErrnoError("openat", 13, new TextEncoder().encode("/root/x"));
  assert.equal(error.message, "openat /root/x: Permission denied (os error 13)");
  assert.deepEqual(error.toJSON(), {
    code: "CFS_ERRNO",
    name: "ErrnoError",
    message: error.message,
    syscall: "openat",
    errno: "EACCES",
    path: "/root/x",
  });
  assert.equal(new ErrnoError("read", 5).message, "read: Input/output error (os error 5)");
  assert.equal(new ErrnoError("read", 4000).errnoName, "E4000");
  assert.equal(errnoText(4000), "Unknown error (os error 4000)");
  assert.ok(error.is("ENOENT", "EACCES") && !error.is("ENOENT"));
  assert.ok(!isErrno(new Error("EACCES"), "EACCES"));
});

Deno.test("repeated() makes a call again where errno is not the call's own, and not for ever", () => {
  using dir = new TempDir();
  const path = dir.write("file", "");
  using held = openPath(path);
  using other = openPath(path);
  flock(held, "exclusive");
  /** Fails with EAGAIN, as what the runtime does between two calls may. */
  const foreign = () => libc().flock(other.number, 2 | 4);
  const own = () => libc().mkdirat(AT_FDCWD, cPath(path), 0o755);
  for (const times of [0, 1, 3]) {
    let calls = 0;
    const result = repeated(() => calls++ < times ? foreign() : own());
    assert.equal(errnoText(-result), "File exists (os error 17)");
    assert.equal(calls, times + 1);
  }
  let calls = 0;
  assert.equal(repeated(() => (calls++, foreign())), -11);
  assert.equal(calls, 4);
});

Deno.test("repeated() takes no failed call for a success when errno says nothing", () => {
  const library = Deno.dlopen("libc.so.6", {
    __errno_location: { parameters: [], result: "pointer" },
  });
  try {
    const place = library.symbols.__errno_location()!;
    const number = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(place, 4));
    let calls = 0;
    const result = repeated(() => {
      calls++;
      number[0] = 0;
      return -1;
    });
    assert.ok(result < 0, String(result));
    assert.equal(calls, 4);
  } finally {
    library.close();
  }
});
