/**
 * A store in a directory, for the suite and its likes.
 *
 * @module
 */
import { type Algorithm, objectPath } from "../../lib/base/mod.ts";
import { DiskObjectStore } from "../../lib/repository/mod.ts";
import { AT_FDCWD, openDir } from "../../ffi/mod.ts";
import "../helpers/libraries.ts";
import { TempDir } from "../helpers/temp.ts";
import type { StoreUnderTest } from "./object_store.ts";

/**
 * Makes an empty store.
 *
 * @param algorithm Of its objects.
 * @param options Where, and whether fs-verity is required.
 */
export function makeDiskStore(
  algorithm: Algorithm,
  options: { dir?: string; secure?: boolean } = {},
): StoreUnderTest {
  const dir = new TempDir(options.dir === undefined ? {} : { dir: options.dir });
  const root = openDir(AT_FDCWD, dir.path);
  const secure = options.secure ?? false;
  const store = new DiskObjectStore(root, { algorithm, secure });
  return {
    store,
    strict: secure,
    damage(id, bytes) {
      // A new file: one that has fs-verity cannot be written to.
      const path = dir.join("objects", objectPath(id));
      Deno.removeSync(path);
      Deno.writeFileSync(path, bytes);
    },
    leftovers() {
      return [...Deno.readDirSync(dir.join("objects"))].map(({ name }) => name)
        .filter((name) => !/^[0-9a-f]{2}$/.test(name));
    },
    [Symbol.dispose]() {
      store[Symbol.dispose]();
      root.close();
      dir[Symbol.dispose]();
    },
  };
}
