const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Turns of the event loop in which a signal that has arrived is certainly seen. */
const TURNS = 4;

/**
 * Runs something that must not stop half-way: a signal that would end the process is held back
 * until it is done, and then sent again.
 */
export async function holdSignals<T>(work: () => T): Promise<T> {
  let caught: Deno.Signal | undefined;
  const listeners = SIGNALS.map((signal) => [signal, () => void (caught ??= signal)] as const);
  for (const [signal, listener] of listeners) Deno.addSignalListener(signal, listener);
  try {
    return work();
  } finally {
    for (let i = 0; i < TURNS; i++) await new Promise<void>((resolve) => setImmediate(resolve));
    for (const [signal, listener] of listeners) Deno.removeSignalListener(signal, listener);
    if (caught !== undefined) Deno.kill(Deno.pid, caught);
  }
}
