/** Worker module: takes checksums from a queue until it is closed. */
import { handle } from "../../lib/base/mod.ts";
import { ChecksumQueue, type ChecksumQueueMemory } from "../../lib/ostree/checksum_queue.ts";

handle("take", (memory: ChecksumQueueMemory): number[] => {
  const queue = new ChecksumQueue(memory);
  const positions: number[] = [];
  for (let taken = queue.waitAndTake(7); taken !== undefined; taken = queue.waitAndTake(7)) {
    positions.push(...taken.checksums.map((_, i) => taken!.first + i));
  }
  return positions;
});
