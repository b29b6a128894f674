/** A process that shows a bar until a signal ends it; says so first. */
import { ProgressBars } from "../../cli/progress_bars.ts";

const bars = new ProgressBars();
bars.show({ type: "started", id: "x", unit: "bytes", total: 10 });
Deno.stdout.writeSync(new TextEncoder().encode("ready\n"));
setTimeout(() => bars.stop(), 60_000);
