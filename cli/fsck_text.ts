/** The human form of what an integrity check found (spec: repository 9). */
import type { FsckReport } from "../lib/repository/mod.ts";
import type { Context } from "./context.ts";
import { printable } from "./printable.ts";

/**
 * Writes the report as the reference does.
 *
 * @param context Where to.
 * @param report What was found.
 */
export function showFsck(context: Context, report: FsckReport): void {
  const { stdout } = context;
  const broken = report.errors.some((line) => line.startsWith("fsck: metadata-"));
  stdout.line(`meta.json: ${broken ? "error" : report.has_metadata ? "ok" : "absent"}`);
  for (const kind of ["objects", "streams", "images"] as const) {
    const checked = report[`${kind}_checked`];
    stdout.line(`${kind}: ${checked - report[`${kind}_corrupted`]}/${checked} ok`);
  }
  if (report.broken_links > 0) stdout.line(`broken symlinks: ${report.broken_links}`);
  if (report.missing_objects > 0) stdout.line(`missing objects: ${report.missing_objects}`);
  stdout.line(`status: ${report.ok ? "ok" : `${report.errors.length} error(s)`}`);
  for (const error of report.errors) stdout.line(printable(`  - ${error}`));
}

/**
 * Says on standard error who is affected by the damage, and what was left over.
 *
 * @param context Where to.
 * @param report What was found.
 */
export function warnFsck(context: Context, report: FsckReport): void {
  context.stdout.flush();
  for (const { object, user, refs, path } of report.affected) {
    const names = refs.length === 0 ? "" : ` (${refs.join(", ")})`;
    context.warn(
      `object ${object} is used by ${user}${names}${path === undefined ? "" : `: ${path}`}`,
    );
  }
  for (const warning of report.warnings) context.warn(warning);
}
