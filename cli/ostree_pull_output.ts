/** What the commands that pull commits print, and the options they share. */
import type { OstreePullResult } from "../lib/ostree/mod.ts";
import type { Context } from "./context.ts";

function counts({ stats }: OstreePullResult, applied: boolean): string {
  const { delta } = stats;
  if (applied) return `${delta?.metadata ?? 0} metadata + ${delta?.files ?? 0} files applied`;
  if (delta !== undefined) {
    return `${delta.metadata} metadata + ${delta.files} files via ${delta.parts} delta parts`;
  }
  return `${stats.metadata} metadata + ${stats.files} files fetched`;
}

/**
 * Prints what a pull of any number of commits came to; as JSON that is one document: an object for
 * one commit, else a list of them.
 *
 * @param context The command's context.
 * @param results The results.
 * @param options `json`: as JSON.
 */
export function showPulls(
  context: Context,
  results: readonly OstreePullResult[],
  options: { json: boolean },
): void {
  if (options.json && results.length !== 1) return context.stdout.json(results.map(facts));
  for (const result of results) showPull(context, result, options);
}

function facts({ commit, stream, image, tag, present, stats }: OstreePullResult) {
  return {
    commit,
    verity: stream,
    image,
    tag: tag ?? null,
    present,
    stats: {
      metadata_fetched: stats.metadata,
      files_fetched: stats.files,
      objects_inherited: stats.inherited,
      files_reflinked: stats.cloned,
      files_copied: stats.copied,
      bytes_stored: stats.bytesStored,
      delta: stats.delta ?? null,
    },
  };
}

/**
 * Prints what a pull came to: the result on standard output, what else there is to know on standard
 * error.
 *
 * @param context The command's context.
 * @param result The result.
 * @param options `json`: one document instead of lines; `applied`: a delta was asked for, not a
 *   pull.
 */
export function showPull(
  context: Context,
  result: OstreePullResult,
  options: { json: boolean; applied?: boolean },
): void {
  const { stdout } = context;
  const { stats } = result;
  if (options.json) return stdout.json(facts(result));
  stdout.line(`commit  ${result.commit}`);
  stdout.line(`verity  ${result.stream}`);
  stdout.line(`image   ${result.image}`);
  if (result.tag !== undefined) stdout.line(`tagged  ${result.tag}`);
  stdout.line(`objects ${counts(result, options.applied ?? false)}`);
  if (stats.cloned > 0) {
    context.note(`${stats.cloned} files share their blocks, ${stats.copied} were copied`);
  }
  if (result.tag === undefined) context.note("not tagged; gc will remove it");
}
