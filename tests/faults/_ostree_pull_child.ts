/**
 * Pulls `r` from a URL into a repository, to be killed on the way; keeps the number of bytes that
 * have come in a file, since what the kernel still holds when it is killed has not.
 */
import { pullRemote, RemoteSource } from "../../lib/ostree/mod.ts";
import { Repository } from "../../lib/repository/mod.ts";

const [url, path, journals, counter] = Deno.args as [string, string, string, string];

const file = Deno.openSync(counter, { write: true, create: true });
const count = new BigUint64Array(1);
const connect = Deno.connect as (options: Deno.ConnectOptions) => Promise<Deno.TcpConn>;

async function counting(options: Deno.ConnectOptions): Promise<Deno.TcpConn> {
  const connection = await connect(options);
  const read = connection.read.bind(connection);
  connection.read = async (buffer) => {
    const got = await read(buffer);
    count[0]! += BigInt(got ?? 0);
    file.seekSync(0, Deno.SeekMode.Start);
    file.writeSync(new Uint8Array(count.buffer));
    return got;
  };
  return connection;
}
Deno.connect = counting as typeof Deno.connect;

using repository = Repository.open(path);
using source = new RemoteSource(url);
await pullRemote(repository, source, { references: ["r"], journals });
