/** Pulls `r` from a URL into a repository, to be killed on the way. */
import { pullRemote, RemoteSource } from "../../lib/ostree/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";

const [url, path, journals] = Deno.args as [string, string, string];
using repository = Repository.open(path);
using source = new RemoteSource(url);
await pullRemote(repository, source, { references: ["r"], journals });
