import assert from "node:assert/strict";
import { nodeZstd } from "../../lib/base/mod.ts";
import { formatFooter, SKIPPABLE_HEADER, skippableFrame } from "../../lib/chunked/mod.ts";
import "../helpers/libraries.ts";
import { TempDir } from "../helpers/temp.ts";
import { callCfs } from "../repository/_fixtures.ts";

/** A blob of nothing but a table of contents. */
function blob(toc: string): Uint8Array {
  const text = new TextEncoder().encode(toc);
  const packed = nodeZstd.compress(text);
  const at = { offset: SKIPPABLE_HEADER, length: packed.length, size: text.length };
  const footer = formatFooter(at, { offset: 0, length: 0, size: 0 });
  return Uint8Array.from([...skippableFrame(packed), ...footer]);
}

Deno.test("oci inspect-toc shows what should be text and is not, without failing", async (t) => {
  const cases: Record<string, string> = {
    '{"type":"reg","name":"a","size":7,"mode":420,"uid":1,"gid":2}': 'reg      0644 1:2 7 "a"\n',
    '{"type":{"toString":1,"valueOf":1},"name":{"toString":1,"valueOf":1},"linkName":[[]]}':
      '?        0000 0:0 0 "" -> ""\n',
    '{"type":"\\u001b[2J","name":"\\u001b[2J\\u202e","size":"7"}':
      '????     0000 0:0 0 "\\u001b[2J\\u202e"\n',
    "[]": '?        0000 0:0 0 ""\n',
    "1": "",
    "null": "",
  };
  using dir = new TempDir();
  for (const [entry, line] of Object.entries(cases)) {
    await t.step(entry, async () => {
      Deno.writeFileSync(dir.join("blob"), blob(`{"version":1,"entries":[${entry}]}`));
      const { code, stdout, stderr } = await callCfs(["oci", "inspect-toc", dir.join("blob")]);
      assert.deepEqual([code, stdout, stderr], [0, line, ""]);
    });
  }
});
