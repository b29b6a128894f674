/**
 * A process that pulls an image, for tests that kill it: says `ready` when everything is loaded and
 * `done` when the image is there.
 * Arguments: repository, image, tag.
 */
import { pullImage } from "../../lib/oci/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";

const [path, image, tag] = Deno.args as [string, string, string];
Deno.stdout.writeSync(new TextEncoder().encode("ready\n"));
using repository = Repository.open(path);
// Registries of tests speak plain HTTP.
await pullImage(repository, image, { name: tag, registry: { tlsVerify: false } });
Deno.stdout.writeSync(new TextEncoder().encode("done\n"));
