/**
 * Progress on standard error: bars for people, lines for logs, JSON lines for scripts.
 *
 * @module
 */
import type { ProgressEvent } from "../lib/base/mod.ts";
import type { ProgressMode } from "./globals.ts";
import type { Output } from "./output.ts";
import type { ProgressBars } from "./progress_bars.ts";
import type { ProgressDisplay } from "./progress_display.ts";
import { formatSize } from "./size.ts";

/** Running counts that come sooner than this after the last, in ms, are not worth a line. */
const JSON_EVERY = 100;

/** One JSON object a line, exactly the events, but no more counts than a reader can follow. */
function jsonDisplay(stderr: Output): ProgressDisplay {
  const shown = new Map<string, number>();
  return {
    sink(event) {
      if (event.type === "progress") {
        const now = performance.now();
        if (now - (shown.get(event.id) ?? -JSON_EVERY) < JSON_EVERY) return;
        shown.set(event.id, now);
      }
      stderr.jsonLine(event);
      stderr.flush();
    },
    [Symbol.dispose]() {},
  };
}

type Unit = "bytes" | "objects";

/** The line for an event that is worth one; running counts are not. */
function plainLine(event: ProgressEvent, unit: Unit = "bytes"): string | undefined {
  switch (event.type) {
    case "started":
      return event.total === undefined
        ? `${event.id}: started`
        : `${event.id}: started, ${amount(event.total, event.unit)}`;
    case "progress":
      return undefined;
    case "skipped":
      return `${event.id}: skipped`;
    case "done":
      return `${event.id}: done, ${amount(event.transferred, unit)}`;
    case "message":
      return event.text;
    case "warning":
      return `warning: ${event.text}`;
  }
}

function amount(count: number, unit: Unit): string {
  return unit === "bytes" ? formatSize(count) : `${count} objects`;
}

function plainDisplay(stderr: Output): ProgressDisplay {
  const units = new Map<string, Unit>();
  return {
    sink(event) {
      if (event.type === "started") units.set(event.id, event.unit);
      const line = plainLine(event, "id" in event ? units.get(event.id) : undefined);
      if (line === undefined) return;
      stderr.line(line);
      stderr.flush();
    },
    [Symbol.dispose]() {},
  };
}

/**
 * Starts the bars when the first event comes: small commands end before there is one, and until then
 * signals end the program at once, even while it waits for a lock.
 */
function barDisplay(stderr: Output, start: () => ProgressBars): ProgressDisplay {
  let bars: ProgressBars | undefined;
  return {
    sink(event) {
      if (event.type === "message" || event.type === "warning") {
        bars?.clear();
        stderr.line(plainLine(event)!);
        stderr.flush();
      } else (bars ??= start()).show(event);
    },
    [Symbol.dispose]() {
      bars?.stop();
    },
  };
}

/**
 * Starts showing progress.
 *
 * @param mode How; `auto` is bars.
 * @param stderr Where.
 */
export async function progressDisplay(
  mode: ProgressMode,
  stderr: Output,
): Promise<ProgressDisplay> {
  if (mode === "json") return jsonDisplay(stderr);
  if (mode === "plain") return plainDisplay(stderr);
  const { ProgressBars } = await import("./progress_bars.ts");
  return barDisplay(stderr, () => new ProgressBars());
}
