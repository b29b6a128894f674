/** A process that collects garbage, and says how much. Argument: repository. */
import { Repository } from "../../lib/repository/mod.ts";

using repository = Repository.open(Deno.args[0]!);
const { objectsRemoved } = repository.gc();
Deno.stdout.writeSync(new TextEncoder().encode(`${objectsRemoved}\n`));
