import assert from "node:assert/strict";
import { Turns } from "../../lib/base/mod.ts";

Deno.test("Turns lets timers in once work has gone on for long, and not before", async () => {
  const turns = new Turns();
  let fired = false;
  const timer = setTimeout(() => fired = true, 0);
  while (!turns.due) assert.equal(fired, false);
  while (!fired) await turns.give();
  clearTimeout(timer);
});

Deno.test("Turns tells when the work is to be given up", async () => {
  const turns = new Turns();
  await turns.give(new AbortController().signal);
  const reason = new Error("enough");
  await assert.rejects(turns.give(AbortSignal.abort(reason)), reason);
});
