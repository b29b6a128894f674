/** Choosing an image for a platform (spec: oci 5.1). */
import { InvalidNameError } from "../base/mod.ts";
import type { Platform } from "./documents.ts";

/** Go's architecture names by Deno's. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: "amd64", aarch64: "arm64" };

/** Variants from best to worst; an absent variant ranks after them. */
const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  arm: ["v8", "v7", "v6", "v5"],
  amd64: ["v3", "v2", "v1"],
};

/** The platform that this program runs on. */
export function nativePlatform(): Platform {
  return { os: "linux", architecture: ARCHITECTURES[Deno.build.arch] ?? Deno.build.arch };
}

/**
 * Parses `os/architecture[/variant]`.
 *
 * @throws {InvalidNameError} for anything else
 */
export function parsePlatform(text: string): Platform {
  const parts = text.split("/");
  if (parts.length < 2 || parts.length > 3 || parts.some((part) => !/^[a-z0-9_.-]+$/i.test(part))) {
    throw new InvalidNameError(`Invalid platform "${text}": expected os/architecture[/variant]`);
  }
  const [os, architecture, variant] = parts;
  return { os: os!, architecture: architecture!, ...(variant === undefined ? {} : { variant }) };
}

/**
 * How well `found` serves `wanted`: lower is better, `undefined` not at all. Without a wanted
 * variant the best one of the architecture comes first.
 */
export function platformRank(wanted: Platform, found: Platform): number | undefined {
  if (found.os !== wanted.os || found.architecture !== wanted.architecture) return undefined;
  if (wanted.variant) {
    // arm64 without a variant is v8, its only one.
    const actual = found.variant ?? (found.architecture === "arm64" ? "v8" : undefined);
    return actual === wanted.variant ? 0 : undefined;
  }
  const order = VARIANTS[found.architecture] ?? [];
  const at = order.indexOf(found.variant ?? "");
  return at < 0 ? order.length : at;
}

/** `os/architecture[/variant]`. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform;
  return `${os}/${architecture}${variant ? `/${variant}` : ""}`;
}
