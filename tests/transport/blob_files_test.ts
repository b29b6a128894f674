import assert from "node:assert/strict";
import { AT_FDCWD, flock, O, openAt, tryFlock } from "../../ffi/mod.ts";
import {
  openMadeDirectory,
  placeFile,
  readSmallFile,
  replaceFile,
} from "../../lib/transport/blob_files.ts";
import { openDestination, openScratch } from "../../lib/transport/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";

loadNative();

const OPEN = { flags: O.RDWR | O.CREAT, mode: 0o644 };

function names(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name).sort();
}

/** Fills a directory with what a push that was killed leaves, and with what others have there. */
function litter(path: string): void {
  Deno.mkdirSync(path, { recursive: true });
  for (const name of [".cfs-1234-abc", ".cfs-AbCdEfGhIjKl", ".cfsx", "abc"]) {
    Deno.writeTextFileSync(`${path}/${name}`, name);
  }
  Deno.mkdirSync(`${path}/.cfs-directory`);
  Deno.symlinkSync("abc", `${path}/.cfs-link`);
}

Deno.test("a push removes what killed ones have left, and nothing that somebody is at", async (t) => {
  const places = {
    "oci": ["", "/blobs/sha256", "/blobs/sha512"],
    "dir": [""],
  };
  for (const [transport, directories] of Object.entries(places)) {
    await t.step(transport, async () => {
      using dir = new TempDir();
      const path = dir.join("out");
      for (const below of directories) litter(path + below);
      using taken = openAt(AT_FDCWD, `${path}/.cfs-taken`, OPEN);
      flock(taken, "exclusive");
      {
        await using _destination = await openDestination(`${transport}:${path}`);
        for (const below of directories) {
          const left = names(path + below).filter((name) => name.startsWith(".cfs"));
          const others = [".cfs-directory", ".cfs-link", ".cfsx"];
          assert.deepEqual(left, below === "" ? [...others, ".cfs-taken"].sort() : others);
        }
      }
      flock(taken, "unlock");
      await using _destination = await openDestination(`${transport}:${path}`);
      assert.ok(!names(path).includes(".cfs-taken"));
    });
  }
});

Deno.test("files are locked before they have a temporary name, and only their own is left", () => {
  using dir = new TempDir();
  using directory = openMadeDirectory(dir.path);
  for (const text of ["first", "second"]) {
    using fd = openScratch(dir.path);
    Deno.writeTextFileSync(`/proc/self/fd/${fd.number}`, text);
    placeFile(fd, directory, "blob");
    using other = openAt(directory, "blob", { flags: O.RDONLY });
    assert.equal(tryFlock(other, "exclusive"), false);
    assert.equal(new TextDecoder().decode(readSmallFile(directory, "blob", 100)), text);
  }
  replaceFile(directory, "document", new TextEncoder().encode("third"));
  assert.equal(new TextDecoder().decode(readSmallFile(directory, "document", 100)), "third");
  Deno.mkdirSync(dir.join("directory"));
  Deno.writeTextFileSync(dir.join("directory/file"), "");
  assert.throws(() => replaceFile(directory, "directory", new Uint8Array(8)));
  assert.deepEqual(names(dir.path), ["blob", "directory", "document"]);
});
