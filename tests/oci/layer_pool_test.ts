import assert from "node:assert/strict";
import { memfd, pwriteAll } from "../../ffi/mod.ts";
import { LayerPool } from "../../lib/oci/layer_pool.ts";
import { blobTask } from "../../lib/oci/layer_supply.ts";
import { Arrival, type Blob } from "../../lib/transport/mod.ts";
import { content, END, header } from "../helpers/make_tar.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import { newRepository, sha256 } from "./_oci.ts";

loadNative();

/** A layer with one file, none of it there yet. */
class SlowBlob implements Blob {
  readonly fd = memfd("layer");
  readonly offset = 0;
  readonly tar: Uint8Array;
  readonly arrival: Arrival;

  constructor(name: string) {
    const data = new TextEncoder().encode(name.repeat(100));
    this.tar = Buffer.concat([header({ name, size: data.length }), content(data), END]);
    this.arrival = new Arrival(this.size);
  }

  get size(): number {
    return this.tar.length;
  }

  arrive(from = 0, to = this.size): void {
    const bytes = new Uint8Array(new ArrayBuffer(8192), 0, to - from);
    bytes.set(this.tar.subarray(from, to));
    pwriteAll(this.fd, bytes, from);
    this.arrival.advance(to - from);
  }

  [Symbol.dispose](): void {
    this.fd.close();
  }
}

Deno.test("a thread that receives layers imports none until all are there", async (t) => {
  for (const jobs of [1, 2, 4]) {
    await t.step(`${jobs} jobs`, async () => {
      using dir = new TempDir();
      using repository = newRepository(dir.join("r"));
      using stack = new DisposableStack();
      const blobs = ["a", "b", "c", "d", "e", "f"].map((name) => stack.use(new SlowBlob(name)));
      const objects = {
        dir: repository.objects.makeDirectory().number,
        algorithm: repository.algorithm,
        secure: false,
        thorough: false,
      };
      await using pool = new LayerPool({ jobs, receives: true });
      // All but the first are there, but who would import them here could not receive the first.
      for (const blob of blobs.slice(1)) blob.arrive();
      blobs[0]!.arrive(0, 700);
      let done = 0;
      const imports = blobs.map((blob) => {
        const digest = sha256(blob.tar);
        const task = {
          blob: blobTask(blob),
          digest,
          diffId: digest,
          tar: "none" as const,
          objects,
        };
        return pool.import("import-layer", task, {
          id: digest,
          total: blob.size,
          arrives: blob.arrival,
        }).finally(() => done++);
      });
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.ok(done < blobs.length);
      assert.equal(blobs[0]!.arrival.isOver, false);
      blobs[0]!.arrive(700);
      await blobs[0]!.arrival.over;
      const sizes = (await Promise.all(imports)).map(({ size }) => size);
      assert.deepEqual(sizes, blobs.map(({ size }) => size));
    });
  }
});

Deno.test("an arrival is over when all is there, or nothing more comes", async () => {
  const empty = new Arrival(0);
  assert.ok(empty.isOver);
  await empty.over;
  const failed = new Arrival(10);
  failed.advance(5);
  assert.equal(failed.isOver, false);
  failed.fail(new Error("gone"));
  assert.ok(failed.isOver);
  await failed.over;
});
