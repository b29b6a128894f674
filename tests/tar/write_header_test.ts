import assert from "node:assert/strict";
import { InvalidNameError } from "../../lib/base/mod.ts";
import { locateTarMembers, writeTarHeader } from "../../lib/tar/mod.ts";
import { runOk } from "../helpers/run.ts";

const BLOCK = 512;

/** An archive of one file whose content is left out: only its header is of interest. */
function located(size: number) {
  const bytes = new Uint8Array(4096);
  writeTarHeader(bytes, 0, { name: "blobs/sha256/ab", size });
  const total = Math.ceil(size / BLOCK) * BLOCK + 3 * BLOCK;
  const read = (buffer: Uint8Array, offset: number) => {
    buffer.fill(0);
    buffer.set(bytes.subarray(offset, offset + buffer.length));
    return Math.min(buffer.length, total - offset);
  };
  return [...locateTarMembers(read, total)];
}

Deno.test("writeTarHeader() writes what the tar reader reads, also sizes beyond octal", () => {
  for (const size of [65, 1000, 8 ** 11 - 1, 8 ** 11, 2 ** 40 + 7]) {
    const [member] = located(size);
    assert.deepEqual(member, {
      path: "blobs/sha256/ab",
      type: "file",
      size,
      offset: BLOCK,
      target: "",
    });
  }
});

Deno.test("writeTarHeader() writes what tar(1) lists", async () => {
  const bytes = new Uint8Array(BLOCK * 5);
  writeTarHeader(bytes, 0, { name: "blobs/", type: "directory" });
  writeTarHeader(bytes, BLOCK, { name: "blobs/x", size: 3 });
  bytes.set([97, 98, 99], BLOCK * 2);
  const { stdout } = await runOk(["tar", "-tvf", "-", "--utc", "--numeric-owner"], {
    stdin: bytes,
  });
  assert.deepEqual(stdout.split("\n").slice(0, 2), [
    "drwxr-xr-x 0/0               0 1970-01-01 00:00 blobs/",
    "-rw-r--r-- 0/0               3 1970-01-01 00:00 blobs/x",
  ]);
});

Deno.test("writeTarHeader() refuses a name that does not fit", () => {
  assert.throws(
    () => writeTarHeader(new Uint8Array(BLOCK), 0, { name: "x".repeat(101) }),
    InvalidNameError,
  );
});
