/**
 * Reports on trust as text.
 *
 * @module
 */
import type { TrustReport } from "../lib/oci/mod.ts";
import type { Output } from "./output.ts";
import { printable } from "./printable.ts";

/** A demand in a line. */
export function requirementLine(requirement: Record<string, unknown>): string {
  const { type, ...rest } = requirement;
  const shown = Object.entries(rest).filter(([, value]) => value !== null)
    .map(([key, value]) => `${key} ${oneLine(value)}`);
  return [String(type), ...shown].join("; ");
}

function oneLine(value: unknown): string {
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value !== "object" || value === null) return String(value);
  return Object.entries(value).filter(([, one]) => one !== null)
    .map(([key, one]) => key === "type" ? String(one) : `${key} ${oneLine(one)}`).join(" ");
}

/** What a report comes to, in a sentence. */
function verdictLine(report: TrustReport): string {
  const { policy, links, signatures, verdict } = report;
  const failed = links.find(({ status }) => status === "FAIL");
  if (failed !== undefined) {
    return `NOT TRUSTED: ${failed.id} ${failed.subject}: ${failed.detail}`;
  }
  if (verdict === "refused") {
    return `NOT TRUSTED: ${policy === null ? "there is no policy" : policy.reason}`;
  }
  const good = signatures.find(({ accepted }) => accepted);
  const pulled = links.some(({ id, status }) => id === "layer" && status === "ok");
  const content = pulled
    ? "the stored content is what its manifest names"
    : "its content was not looked at";
  if (good === undefined) return `ACCEPTED: the policy asks for no signature; ${content}`;
  const name = good.identity ?? "this image";
  const signed = pulled ? "the stored content is the signed content" : content;
  return `TRUSTED: signed by ${good.signer} for ${name}; ${signed}`;
}

/** Shows a report. */
export function showTrust(stdout: Output, report: TrustReport): void {
  const { image, policy, signatures, notes, links } = report;
  // Names and reasons come from whoever made the signatures.
  const line = (text: string) => stdout.line(printable(text));
  line(`image    ${image.name}`);
  line(`manifest ${image.manifest}`);
  line(`config   ${image.config}`);
  if (policy === null) line("policy   none");
  else {
    line(`policy   ${policy.file ?? "--insecure-policy"}, ${policy.scope}`);
    line(`as       ${policy.image}`);
    for (const one of policy.requirements) line(`  ${requirementLine(one)}`);
    if (policy.by_index !== null) line(`  met by signatures of the index ${policy.by_index}`);
  }
  for (const one of signatures) {
    const doubt = one.verified ? "" : " (unverified)";
    const parts = [
      ...one.signer === null ? [] : [`by ${one.signer}`],
      ...one.identity === null ? [] : [`for ${one.identity}${doubt}`],
      ...one.digest === null ? [] : [`of ${one.digest}${doubt}`],
      ...one.time === null ? [] : [`made ${one.time}`],
    ];
    line(`${one.kind} signature at ${one.source}`);
    if (parts.length > 0) line(`  ${parts.join(", ")}`);
    line(`  ${one.accepted ? "accepted" : `refused: ${one.reason}`}`);
  }
  for (const note of notes) line(`note: ${note}`);
  for (const { status, id, subject, detail } of links) {
    const short = subject.length > MAX_SUBJECT ? `${subject.slice(0, MAX_SUBJECT)}…` : subject;
    line(`${status.padEnd(9)} ${id.padEnd(8)} ${short.padEnd(MAX_SUBJECT + 1)} ${detail}`);
  }
  line(verdictLine(report));
}

/** Characters of a digest that are shown in the table. */
const MAX_SUBJECT = 24;
