/** Worker module of those who make static deltas. */
import { handle } from "../base/mod.ts";
import { encodeFiles, type EncodeTask } from "./delta_encode.ts";
import { packPart } from "./delta_part_write.ts";

handle("encode-files", (task: EncodeTask, { transfer }) => {
  const encoded = encodeFiles(task);
  transfer(encoded.bytes.buffer);
  return encoded;
});
handle("pack-part", (task: { plain: Uint8Array; compress: boolean }, { transfer }) => {
  const packed = packPart(task);
  transfer(packed.bytes.buffer);
  return packed;
});
