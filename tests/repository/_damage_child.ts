/** Puts objects on the list of damaged ones, one by one, and takes every second one off again. */
import type { ObjectId } from "../../lib/base/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";

const [path, ...ids] = Deno.args as [string, ...ObjectId[]];
using repository = Repository.open(path);
for (const id of ids) repository.noteDamage({ damaged: [id] });
for (const [i, id] of ids.entries()) if (i % 2 === 0) repository.noteDamage({ sound: [id] });
