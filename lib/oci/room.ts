/** Whether there is room for what is to be fetched. */
import { ComposefsError } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { chunkedSupport } from "../chunked/mod.ts";
import type { WantedLayer } from "./layer_supply.ts";
import type { ImageSource } from "../transport/mod.ts";

/**
 * Checks, before anything is fetched, that the repository's disk can take the blobs: what they
 * unpack to is not known, but hardly less. Layers that can be fetched in parts do not count: what of
 * them is missing shows when they are looked at.
 *
 * @throws {ComposefsError} when it surely cannot
 */
export function assertRoom(
  repository: Repository,
  source: ImageSource,
  missing: readonly WantedLayer[],
): void {
  let needed = 0;
  for (const { descriptor } of missing) {
    if (chunkedSupport(descriptor.annotations, descriptor.size).kind !== "whole") continue;
    needed += descriptor.size - (source.held?.(descriptor) ?? 0);
  }
  assertRoomFor(repository, needed);
}

/**
 * Checks that the repository's disk can take what is to be fetched.
 *
 * @param needed its size in bytes
 * @throws {ComposefsError} when it cannot
 */
export function assertRoomFor(repository: Repository, needed: number): void {
  const { available } = repository;
  if (needed <= available) return;
  throw new ComposefsError(
    "CFS_FAILED",
    `No room to fetch ${needed} bytes: ${available} bytes are free in ${repository.path}`,
    { detail: "no-space" },
  );
}
