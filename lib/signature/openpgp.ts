/**
 * The one door to OpenPGP. The library is large, and most runs have nothing to do with it: it is
 * loaded on first use.
 *
 * @module
 */
import type * as OpenPgp from "npm:openpgp@6.3.0";

export type { OpenPgp };

let loading: Promise<typeof OpenPgp> | undefined;

/** Loads the library; once. */
export function loadOpenPgp(): Promise<typeof OpenPgp> {
  return loading ??= import("npm:openpgp@6.3.0");
}
