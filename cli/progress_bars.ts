import type { ProgressEvent } from "../lib/base/mod.ts";
import { EXIT } from "./exit_codes.ts";
import cliProgress from "./progress_bar.ts";
import { printable } from "./printable.ts";
import { formatSize } from "./size.ts";

/** Exit code of a program that was asked to end. */
const TERMINATED = 143;

type BarEvent = Exclude<ProgressEvent, { type: "message" | "warning" }>;

interface Bar {
  bar: ReturnType<InstanceType<typeof cliProgress.MultiBar>["create"]>;
  unit: "bytes" | "objects";
  started: number;
}

/** Names of layers are long digests; their first digits tell them apart. */
function shortName(id: string): string {
  return printable(id).replace(/\b([0-9a-f]{12})[0-9a-f]{20,}\b/g, "$1");
}

function amountOf(unit: Bar["unit"], done: number, total: number): string {
  return unit === "bytes" ? `${formatSize(done)}/${formatSize(total)}` : `${done}/${total} objects`;
}

/** One bar a component, removed when the work is done. */
export class ProgressBars {
  readonly #multi = new cliProgress.MultiBar({
    format: "[eta {eta_formatted}] {bar} {amount} {rate} {id}",
    barCompleteChar: "#",
    barIncompleteChar: "-",
    barsize: 40,
    hideCursor: true,
    clearOnComplete: true,
    stopOnComplete: false,
    // The package would catch the interrupt key and then go on working.
    gracefulExit: false,
    fps: 10,
  }, cliProgress.Presets.legacy);
  readonly #bars = new Map<string, Bar>();
  readonly #listeners: readonly (readonly [Deno.Signal, () => void])[];

  /** Starts without bars; from now on signals give the terminal its cursor back. */
  constructor() {
    const end = (code: number) => () => {
      this.stop();
      Deno.exit(code);
    };
    this.#listeners = [["SIGINT", end(EXIT.interrupted)], ["SIGTERM", end(TERMINATED)]];
    for (const [signal, listener] of this.#listeners) Deno.addSignalListener(signal, listener);
  }

  /**
   * Shows an event.
   *
   * @param event What happened.
   */
  show(event: BarEvent): void {
    const bar = this.#bars.get(event.id);
    switch (event.type) {
      case "started":
        if (bar === undefined) this.#start(event.id, event.unit, event.total ?? 0);
        break;
      case "progress":
        if (bar === undefined) break;
        // An unknown total grows with what was seen, so the bar only tells amount and rate.
        if (bar.bar.getTotal() < event.done) bar.bar.setTotal(event.done);
        bar.bar.update(event.done, this.#payload(event.id, bar, event));
        break;
      case "done":
      case "skipped":
        if (bar === undefined) break;
        this.#multi.remove(bar.bar);
        this.#bars.delete(event.id);
    }
  }

  /** Makes room for a line of text; the bars are drawn again below it. */
  clear(): void {
    if (this.#bars.size === 0) return;
    Deno.stderr.writeSync(new TextEncoder().encode("\r\x1b[J"));
  }

  /** Removes the bars. */
  stop(): void {
    for (const [signal, listener] of this.#listeners) Deno.removeSignalListener(signal, listener);
    this.#multi.stop();
    this.#bars.clear();
  }

  #start(id: string, unit: Bar["unit"], total: number): void {
    const empty = { id: shortName(id), amount: amountOf(unit, 0, total), rate: "" };
    const bar = this.#multi.create(total, 0, empty);
    this.#bars.set(id, { bar, unit, started: performance.now() });
  }

  #payload(
    id: string,
    { bar, unit, started }: Bar,
    event: { done: number; objects?: number },
  ): { id: string; amount: string; rate: string } {
    const total = bar.getTotal();
    const seconds = Math.max((performance.now() - started) / 1000, 0.001);
    const amount = amountOf(unit, event.done, total);
    const objects = event.objects === undefined ? "" : ` ${event.objects} objects`;
    const rate = unit === "bytes" ? `${formatSize(Math.round(event.done / seconds))}/s` : "";
    return { id: shortName(id), amount: amount + objects, rate };
  }
}
