/**
 * Tests that need something a machine may lack: a program, root, a kernel ability. What is missing
 * stands in the name of the ignored test. With `CFS_TEST_NO_SKIP=1` (in CI) nothing is ignored: the
 * test fails and says what is missing.
 *
 * @module
 */
import assert from "node:assert/strict";
import { present } from "./tool.ts";

/** Something a test needs. */
export interface Need {
  /** Whether this machine has it. */
  met: boolean;
  /** What is missing, to follow "needs". */
  what: string;
}

/** A test with its needs. */
export interface NeedyTest extends Deno.TestDefinition {
  /** What must be there for it to run. */
  needs: readonly Need[];
}

/**
 * A program.
 *
 * @param name Its name, as for `findTool()`.
 */
export function needTool(name: string): Need {
  return { met: present(name), what: `the program ${name}` };
}

/** The right to mount: root outside of restricted containers. */
export function needRoot(): Need {
  return { met: Deno.uid() === 0 && canMount(), what: "root with the right to mount" };
}

/**
 * A file system the kernel knows.
 *
 * @param name As in /proc/filesystems; a module that could be loaded counts as absent until it is.
 */
export function needFileSystem(name: string): Need {
  const known = Deno.readTextFileSync("/proc/filesystems").split("\n");
  return {
    met: known.some((line) => line.split("\t").at(-1) === name),
    what: `${name} in the kernel`,
  };
}

/** Any other condition. */
export function need(met: boolean, what: string): Need {
  return { met, what };
}

let mountable: boolean | undefined;

function canMount(): boolean {
  // Asked by doing it, in a namespace of its own that vanishes with the process.
  mountable ??= present("unshare") &&
    new Deno.Command("unshare", {
        args: ["--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
        stdout: "null",
        stderr: "null",
      }).outputSync().code === 0;
  return mountable;
}

/**
 * Registers a test that runs only where its needs are met.
 *
 * @param definition As for `Deno.test`, with `needs`.
 */
export function testWith(definition: NeedyTest): void {
  const { needs, ...test } = definition;
  const missing = needs.filter((one) => !one.met).map((one) => one.what);
  if (missing.length === 0) return Deno.test(test);
  const reason = `needs ${missing.join(", ")}`;
  if (Deno.env.get("CFS_TEST_NO_SKIP") === "1") {
    return Deno.test(test.name, () => assert.fail(`Cannot run: ${reason}`));
  }
  Deno.test({ ...test, name: `${test.name} [ignored: ${reason}]`, ignore: true });
}
