/** What a user is told of a policy's verdict (spec: trust 4). */
import { PolicyError } from "../base/mod.ts";
import type { SignatureFault } from "./signature.ts";
import type { PolicyVerdict, SignatureVerdict } from "./verdict.ts";

/** The clock of a machine that says less than this was never set. */
const EARLIEST = new Date("2026-11-01T00:00:00Z");

/** Most signatures that an error tells of. */
const MAX_TOLD = 16;

/**
 * The error for an image that a policy does not let in: the reason, then a line a signature.
 *
 * @param options `faults`: what could not be read; `now`: the time that was taken for the present
 */
export function rejection(
  verdict: PolicyVerdict,
  options: { faults?: readonly SignatureFault[]; now?: Date } = {},
): PolicyError {
  const { faults = [], now = new Date() } = options;
  const lines = [`Source image rejected: ${verdict.reason ?? "no reason"}`];
  const told = verdict.requirements.flatMap(({ signatures }) => signatures).slice(0, MAX_TOLD);
  lines.push(...told.map((one) => `  ${formatSignature(one)}`));
  for (const { place, reason } of faults.slice(0, MAX_TOLD)) {
    lines.push(`  unreadable at ${place}: ${reason}`);
  }
  if (now < EARLIEST) {
    lines.push(`  the clock says ${now.toISOString()}, which is before this program was made`);
  }
  return new PolicyError(lines.join("\n"), { detail: "policy-refused" });
}

/** A signature and what came of it, in a line. */
export function formatSignature(one: SignatureVerdict): string {
  const doubt = one.verified ? "" : " (unverified)";
  const parts = [`${one.kind} signature at ${one.place}`];
  if (one.signer !== undefined && one.signer !== "") parts.push(`by ${one.signer}`);
  if (one.identity !== undefined) parts.push(`for ${one.identity}${doubt}`);
  if (one.digest !== undefined) parts.push(`of ${one.digest}${doubt}`);
  if (one.time !== undefined) parts.push(`made ${one.time.toISOString()}`);
  return `${parts.join(", ")}: ${one.accepted ? "accepted" : one.reason}`;
}
