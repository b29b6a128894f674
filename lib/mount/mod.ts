/**
 * Mounting images: EROFS below an overlay, by the mount API of the running kernel or what stands
 * for it in older ones.
 *
 * @example Parse the options of the mount helper
 * ```ts
 * import { parseMountOptions } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const { basedirs, verity } = parseMountOptions("basedir=/a:/b,verity");
 * assert.deepEqual(basedirs, ["/a", "/b"]);
 * assert.equal(verity, "required");
 * ```
 *
 * @module
 */
export {
  attachMount,
  composeMount,
  type ComposeOptions,
  mountComposefs,
  type MountOptions,
  openMountpoint,
  unmount,
} from "./mount.ts";
export type { LayerMethod, VerityMode } from "./overlay_mount.ts";
export { type HelperOptions, parseMountOptions } from "./options.ts";
export { HELPER_USAGE, type HelperCommand, parseMountCommand, runMountCommand } from "./helper.ts";
