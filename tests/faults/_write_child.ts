/** A process that writes what its siblings write, too. Argument: repository. */
import { Repository } from "../../lib/repository/mod.ts";

using repository = Repository.open(Deno.args[0]!);
for (let i = 0; i < 400; i++) {
  const bytes = new Uint8Array(1000).fill(i % 40);
  const { id } = repository.objects.write(bytes);
  using writer = repository.newStream(1n);
  writer.addExternal(id, bytes.length);
  const name = `s${i % 20}`;
  // The same name, in turn for different content; the same reference, for different entries.
  repository.writeStream(name, writer.finish(), { ref: `dir${i % 2}/r${i % 10}` });
}
