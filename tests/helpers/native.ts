/**
 * Loading the native libraries outside of tests: they stay for the life of the process, which a
 * test that happens to be the first user would be blamed for.
 *
 * @module
 */
import { effectiveUser, setUmask, systemHash } from "../../ffi/mod.ts";

/** Loads libc and libcrypto; for the top level of a test file. */
export function loadNative(): void {
  effectiveUser();
  setUmask(setUmask(0o22)); // one of the functions that are bound late
  systemHash();
}
