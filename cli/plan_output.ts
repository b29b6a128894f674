/** Showing what a pull would do. */
import type { PlannedLayer, PlannedWay, PullPlan } from "../lib/oci/mod.ts";
import type { Context } from "./context.ts";
import { formatSize } from "./size.ts";

function way({ blobs, bytes }: PlannedWay): string {
  return `${blobs} ${blobs === 1 ? "blob" : "blobs"}, ${formatSize(bytes)}`;
}

/**
 * Shows a plan.
 *
 * @param context The command's context.
 * @param plan The plan.
 */
export function showPlan(context: Context, plan: PullPlan): void {
  const { stdout } = context;
  const missing = plan.layers.filter(({ present }) => !present).length;
  stdout.line(`manifest ${plan.manifestDigest}`);
  if (plan.sourceDigest !== undefined) stdout.line(`source   ${plan.sourceDigest}`);
  stdout.line(`config   ${plan.configDigest}`);
  stdout.line(`layers   ${missing} missing + ${plan.layers.length - missing} already present`);
  if (plan.full !== undefined) stdout.line(`full     ${way(plan.full)}`);
  if (plan.parts !== undefined) stdout.line(`parts    ${way(plan.parts)}`);
  if (plan.delta !== undefined) stdout.line(`delta    ${way(plan.delta)}: ${plan.delta.digest}`);
  const held = plan.layers.reduce((sum, layer) => sum + layer.held, 0);
  if (held > 0) stdout.line(`held     ${formatSize(held)} of an interrupted pull`);
  stdout.line(`pull     ${TEXT[plan.way]}`);
  const needed = plan.way === "none" ? 0 : plan[plan.way]?.bytes ?? 0;
  if (needed <= plan.available) return;
  stdout.flush();
  context.warn(`only ${formatSize(plan.available)} are free for it`);
}

const TEXT = {
  none: "nothing to fetch",
  full: "whole layers",
  parts: "layers in parts",
  delta: "the delta",
} as const;

/** How a layer comes. */
function stateOf({ present, parts, delta }: Pick<PlannedLayer, "present" | "parts" | "delta">) {
  if (present) return "present";
  if (delta !== undefined) return "delta";
  return parts === undefined ? "full" : "partial";
}

/**
 * A plan as JSON.
 *
 * @param plan The plan.
 */
export function planJson(plan: PullPlan): Record<string, unknown> {
  const { delta, full, parts } = plan;
  return {
    manifest_digest: plan.manifestDigest,
    source_digest: plan.sourceDigest ?? null,
    config_digest: plan.configDigest,
    complete: plan.complete,
    way: plan.way,
    full: full === undefined ? null : { blobs: full.blobs, bytes: full.bytes },
    parts: parts === undefined ? null : { blobs: parts.blobs, bytes: parts.bytes },
    delta: delta === undefined
      ? null
      : { manifest_digest: delta.digest, blobs: delta.blobs, bytes: delta.bytes },
    available_bytes: plan.available,
    layers: plan.layers.map(({ id, digest, size, present, held, parts, delta }) => ({
      id,
      digest,
      size,
      present,
      held,
      state: stateOf({ present, parts, delta }),
      ...(delta === undefined ? {} : { delta_bytes: delta }),
      ...(parts === undefined ? {} : {
        fetch_bytes: parts.fetchBytes,
        requests: parts.requests,
        reused_bytes: parts.reusedBytes,
        toc_bytes: parts.tocBytes,
      }),
    })),
  };
}
