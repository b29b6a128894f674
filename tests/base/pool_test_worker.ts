import { DigestMismatchError, FormatError, handle, withContext } from "../../lib/base/mod.ts";
import { ErrnoError } from "../../ffi/mod.ts";

let running = 0;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

handle("double", (value: number) => value * 2);

handle("sleepy", async (ms: number, { signal }) => {
  running++;
  const overlap = running;
  const until = Date.now() + ms;
  while (Date.now() < until) {
    signal.throwIfAborted();
    await sleep(2);
  }
  running--;
  return overlap;
});

handle("buffer", (bytes: Uint8Array<ArrayBuffer>, { transfer }) => {
  bytes[0] = bytes[0]! + 1;
  transfer(bytes.buffer);
  return bytes;
});

handle("events", (count: number, { emit }) => {
  for (let i = 0; i < count; i++) emit({ step: i });
  return "end";
});

const errors: Record<string, () => unknown> = {
  format: () => new FormatError("tar", "bad header", { offset: 512 }),
  errno: () => new ErrnoError("openat", 2, "/nowhere"),
  mismatch: () => new DigestMismatchError("layer", "a", "b"),
  context: () => withContext("while working", new FormatError("tar", "inner")),
  type: () => new TypeError("wrong type"),
  text: () => "just text",
};

handle("throw", (which: string) => {
  throw errors[which]!();
});

handle("die", async () => {
  setTimeout(() => {
    throw new Error("out of band");
  });
  await sleep(1000);
});
