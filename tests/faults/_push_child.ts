/**
 * A process that pushes an image, for tests that kill it: says `ready` when everything is loaded
 * and `done` when the image is there.
 * Arguments: repository, tag, destination.
 */
import { pushImage } from "../../lib/oci/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";

const [path, tag, destination] = Deno.args as [string, string, string];
Deno.stdout.writeSync(new TextEncoder().encode("ready\n"));
using repository = Repository.open(path);
await pushImage(repository, tag, {
  destination,
  access: {
    tlsVerify: false,
    surroundings: { variable: () => undefined, uid: 0, root: "/nothing" },
  },
});
Deno.stdout.writeSync(new TextEncoder().encode("done\n"));
