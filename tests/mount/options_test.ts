import assert from "node:assert/strict";
import { ComposefsError } from "../../lib/base/mod.ts";
import { MOUNT_ATTR } from "../../ffi/mod.ts";
import { type HelperOptions, parseMountCommand, parseMountOptions } from "../../lib/mount/mod.ts";

const DEFAULTS: HelperOptions = {
  basedirs: ["/o"],
  digest: undefined,
  verity: "disabled",
  idmap: undefined,
  upperdir: undefined,
  workdir: undefined,
  readWrite: true,
  attributes: 0,
};

const A64 = "a".repeat(64);

const good: { text: string; want: Partial<HelperOptions> }[] = [
  { text: "basedir=/o", want: {} },
  { text: "basedir=/o,", want: {} },
  { text: "basedir=:/a::/b:", want: { basedirs: ["/a", "/b"] } },
  { text: "basedir=/a\\,b\\=\\\\c", want: { basedirs: ["/a,b=\\c"] } },
  { text: "basedir=/a=b", want: { basedirs: ["/a=b"] } },
  { text: "basedir=/o\\", want: {} },
  { text: "basedir=/x,basedir=/o", want: {} },
  { text: "ro,basedir=/o", want: { readWrite: false } },
  { text: "ro=1,verity=x,basedir=/o", want: { readWrite: false, verity: "required" } },
  { text: "ro,rw,basedir=/o", want: {} },
  { text: "rw,ro,basedir=/o", want: { readWrite: false } },
  { text: "basedir=/o,tryverity", want: { verity: "try" } },
  { text: "basedir=/o,verity,tryverity", want: { verity: "required" } },
  {
    text: `basedir=/o,digest=${A64.toUpperCase()}`,
    want: { digest: A64 as HelperOptions["digest"], verity: "required" },
  },
  {
    text: `basedir=/o,digest=${A64}${A64}`,
    want: { digest: (A64 + A64) as HelperOptions["digest"], verity: "required" },
  },
  { text: "basedir=/o,upperdir=/u,workdir=/w", want: { upperdir: "/u", workdir: "/w" } },
  { text: "basedir=/o,idmap=/proc/1/ns/user", want: { idmap: "/proc/1/ns/user" } },
  {
    text:
      "basedir=/o,defaults,nofail,x-systemd.automount,x-a=b,_netdev,noauto,auto,nouser,comment=c",
    want: {},
  },
  {
    text: "basedir=/o,nosuid,nodev,noexec,noatime,nodiratime",
    want: {
      attributes: MOUNT_ATTR.NOSUID + MOUNT_ATTR.NODEV + MOUNT_ATTR.NOEXEC + MOUNT_ATTR.NOATIME +
        MOUNT_ATTR.NODIRATIME,
    },
  },
  { text: "basedir=/o,nosuid,suid,noatime,relatime", want: {} },
];

Deno.test("parseMountOptions() understands what the reference does, and mount(8)'s own", async (t) => {
  for (const { text, want } of good) {
    await t.step(text, () => assert.deepEqual(parseMountOptions(text), { ...DEFAULTS, ...want }));
  }
});

const bad: { text: string; message: string; cause?: string }[] = [
  { text: "", message: "No object dirs specified" },
  { text: "basedir", message: "No value specified for basedir option" },
  { text: "basedir=", message: "No object dirs specified" },
  { text: "basedir=:", message: "No object dirs specified" },
  { text: "basedir=/o,idmap", message: "No value specified for idmap option" },
  { text: "basedir=/o,frobnicate", message: "Unsupported option: frobnicate" },
  { text: "basedir=/o,frobnicate=1", message: "Unsupported option: frobnicate" },
  { text: "basedir=/o,,ro", message: "Unsupported option: " },
  { text: "basedir=/o,toString", message: "Unsupported option: toString" },
  {
    text: "basedir=/o,upperdir=/u",
    message: "Both workdir and upperdir must be specified if used",
  },
  { text: "basedir=/o,workdir=/w", message: "Both workdir and upperdir must be specified if used" },
  {
    text: "basedir=/o,digest=abc",
    message: "Invalid digest value",
    cause: "Odd number of digits",
  },
  {
    text: "basedir=/o,digest=abcd",
    message: "Invalid digest value",
    cause: "Invalid string length",
  },
  {
    text: `basedir=/o,digest=${"g".repeat(64)}`,
    message: "Invalid digest value",
    cause: "Invalid character 'g' at position 0",
  },
];

Deno.test("parseMountOptions() refuses in the reference's words", async (t) => {
  for (const { text, message, cause } of bad) {
    await t.step(text, () => {
      assert.throws(() => parseMountOptions(text), (error) => {
        assert.ok(error instanceof ComposefsError);
        assert.equal(error.message, message);
        assert.equal((error.cause as Error | undefined)?.message, cause);
        return true;
      });
    });
  }
});

const O = "-obasedir=/o";

const commands: { args: string[]; want: { image: string; mountpoint: string; fake?: boolean } }[] =
  [
    { args: ["-o", "basedir=/o", "I", "M"], want: { image: "I", mountpoint: "M" } },
    { args: ["I", "M", O, "-t", "composefs"], want: { image: "I", mountpoint: "M" } },
    { args: ["I", O, "M", "-n", "-sv", "-N", "/ns"], want: { image: "I", mountpoint: "M" } },
    { args: [O, "-f", "I", "M"], want: { image: "I", mountpoint: "M", fake: true } },
    { args: [O, "--", "-I", "-M"], want: { image: "-I", mountpoint: "-M" } },
  ];

Deno.test("parseMountCommand() takes arguments as mount(8) gives them", async (t) => {
  for (const { args, want } of commands) {
    await t.step(args.join(" "), () => {
      const { help, ...command } = parseMountCommand(args);
      assert.equal(help, false);
      assert.deepEqual(command, { fake: false, ...want, options: DEFAULTS });
    });
  }
  await t.step("--help", () => {
    assert.equal(parseMountCommand(["--help"]).help, true);
    assert.equal(parseMountCommand(["I", "-h"]).help, true);
  });
});

const badCommands: { args: string[]; message: string }[] = [
  { args: [O], message: "missing IMAGE and MOUNTPOINT" },
  { args: [O, "I"], message: "missing MOUNTPOINT" },
  { args: [O, "I", "M", "X"], message: "unexpected argument 'X' found" },
  { args: [O, "--bogus", "I", "M"], message: "unexpected argument '--bogus' found" },
  { args: ["I", "M", "-o"], message: "a value is required for '-o'" },
  { args: ["-t", "xfs", O, "I", "M"], message: "Unsupported fs type 'xfs'" },
  {
    args: [O, "-o", "ro", "I", "M"],
    message: "the argument '-o <OPTIONS>' cannot be used multiple times",
  },
];

Deno.test("parseMountCommand() refuses wrong arguments", async (t) => {
  for (const { args, message } of badCommands) {
    await t.step(args.join(" "), () => {
      assert.throws(() => parseMountCommand(args), { name: "ComposefsError", message });
    });
  }
});
