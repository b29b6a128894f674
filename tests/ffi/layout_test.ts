import assert from "node:assert/strict";
import * as ffi from "../../ffi/mod.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

/** Adds `prefix + key` for each entry of a table, offsets from their tuples. */
function rows(
  prefix: string,
  table: Record<string, number | readonly unknown[]>,
  names: Record<string, string> = {},
): [string, number][] {
  return Object.entries(table).map(([key, value]) => [
    prefix + (names[key] ?? key),
    typeof value === "number" ? value : value[0] as number,
  ]);
}

const ours: [string, number][] = [
  ...rows("statx.stx_", ffi.STATX, {
    mtimeSec: "mtime.tv_sec",
    mtimeNsec: "mtime.tv_nsec",
    rdevMajor: "rdev_major",
    rdevMinor: "rdev_minor",
    devMajor: "dev_major",
    devMinor: "dev_minor",
  }),
  ["sizeof statx", ffi.STATX_SIZE],
  ...rows("statfs.f_", ffi.STATFS),
  ["sizeof statfs", ffi.STATFS_SIZE],
  ...rows("dirent64.d_", ffi.DIRENT),
  ...rows("fsverity_enable_arg.", ffi.VERITY_ENABLE_ARG, {
    hashAlgorithm: "hash_algorithm",
    blockSize: "block_size",
  }),
  ["sizeof fsverity_enable_arg", ffi.VERITY_ENABLE_ARG_SIZE],
  ...rows("fsverity_digest.", ffi.VERITY_DIGEST, {
    algorithm: "digest_algorithm",
    size: "digest_size",
  }),
  ["sizeof fsverity_digest", ffi.VERITY_DIGEST.digest[0]],
  ...rows("FS_IOC_", ffi.VERITY_IOCTL),
  ["FICLONE", ffi.FICLONE],
  ...rows("open_how.", ffi.OPEN_HOW),
  ["sizeof open_how", ffi.OPEN_HOW_SIZE],
  ...rows("loop_config.", ffi.LOOP_CONFIG, {
    blockSize: "block_size",
    offset: "info.lo_offset",
    sizeLimit: "info.lo_sizelimit",
    flags: "info.lo_flags",
    fileName: "info.lo_file_name",
  }),
  ["sizeof loop_config", ffi.LOOP_CONFIG_SIZE],
  ...rows("LOOP_", ffi.LOOP),
  ...rows("LO_FLAGS_", ffi.LO_FLAGS),
  ...rows("mount_attr.", ffi.MOUNT_ATTR_STRUCT, {
    set: "attr_set",
    clear: "attr_clr",
    userns: "userns_fd",
  }),
  ["sizeof mount_attr", ffi.MOUNT_ATTR_SIZE],
  ...rows("MOUNT_ATTR_", ffi.MOUNT_ATTR),
  ...rows("FSCONFIG_", ffi.FSCONFIG),
  ...rows("SYS_", ffi.MOUNT_SYSCALL),
  ...rows("O_", ffi.O),
  ...rows("AT_", ffi.AT),
  ["-AT_FDCWD", -ffi.AT_FDCWD],
  ...rows("RESOLVE_", ffi.RESOLVE),
  ...rows("DT_", ffi.DT),
  ...rows("S_IF", ffi.S_IF),
  ...rows("LOCK_", ffi.LOCK, { shared: "SH", exclusive: "EX", unlock: "UN" }),
  ...rows("CLONE_", ffi.CLONE),
  ...rows("CAP_", ffi.CAP),
];

testWith({
  name: "structures and constants are those of the C headers",
  needs: [needTool("cc")],
  fn: async (t) => {
    using dir = new TempDir({ on: "disk" });
    const source = new URL("./layout_probe.c", import.meta.url).pathname;
    await runOk(["cc", "-o", dir.join("probe"), source]);
    const { stdout } = await runOk([dir.join("probe")]);
    const theirs = new Map(
      stdout.trimEnd().split("\n").map((line) => {
        const at = line.lastIndexOf(" ");
        return [line.slice(0, at), Number(line.slice(at + 1))];
      }),
    );
    for (const [name, value] of ours) {
      await t.step(name, () => assert.equal(value, theirs.get(name)));
    }
    await t.step("the probe prints nothing that is not compared", () => {
      const names = new Set(ours.map(([name]) => name));
      assert.deepEqual([...theirs.keys()].filter((name) => !names.has(name)), []);
    });
  },
});

testWith({
  name: "error numbers and their texts are those of the C library",
  needs: [needTool("cc")],
  fn: async () => {
    using dir = new TempDir({ on: "disk" });
    const names = Object.keys(ffi.ERRNO_TABLE) as ffi.ErrnoName[];
    const lines = names.map((name) => `printf("${name} %d %s\\n", ${name}, strerror(${name}));`);
    const source = dir.write(
      "probe.c",
      `#include <errno.h>\n#include <stdio.h>\n#include <string.h>\nint main(void){${
        lines.join("")
      }return 0;}`,
    );
    await runOk(["cc", "-o", dir.join("probe"), source]);
    const { stdout } = await runOk([dir.join("probe")]);
    const expected = names.map((name) => `${name} ${ffi.ERRNO_TABLE[name].join(" ")}`);
    assert.deepEqual(stdout.trimEnd().split("\n"), expected);
    assert.equal(ffi.errnoText(2), "No such file or directory (os error 2)");
  },
});
