/** Keeping documents in step with streams that get another object (spec: oci 1.2, 1.4). */
import { ComposefsError, type ObjectId } from "../base/mod.ts";
import { type OpenStream, type Repository, singleObject } from "../repository/mod.ts";

/** A stream that is stored and waits for its name. */
export interface StoredStream {
  /** Its content id. */
  readonly name: string;
  /** Object of the splitstream file. */
  readonly object: ObjectId;
}

/** Documents by what they refer to: configs to layers, manifests to both. */
const PREFIXES = ["oci-config-", "oci-manifest-"] as const;

/**
 * Stores documents again that refer to streams by an object that their names are about to leave.
 * Collectors follow a reference only to an object that a stream's name leads to, so what such a
 * stream needs would be lost with the next collection.
 *
 * @param replaced objects of the new streams by those of the old ones
 * @param options.except names of streams that are written anyway
 * @returns the streams to link once everything is durable
 */
export function relinkDocuments(
  repository: Repository,
  replaced: ReadonlyMap<ObjectId, ObjectId>,
  options: { except: ReadonlySet<string> },
): StoredStream[] {
  if (replaced.size === 0) return [];
  const all = new Map(replaced);
  const stored: StoredStream[] = [];
  const names = repository.listStreams().filter((name) => !options.except.has(name));
  for (const prefix of PREFIXES) {
    for (const name of names) {
      if (!name.startsWith(prefix)) continue;
      const stream = openDocument(repository, name);
      if (stream === undefined || !stream.streamRefs.some((id) => all.has(id))) continue;
      const object = writeAgain(repository, stream, all);
      all.set(stream.id, object);
      stored.push({ name, object });
    }
  }
  return stored;
}

function openDocument(
  repository: Repository,
  name: string,
): OpenStream & { streamRefs: ObjectId[] } | undefined {
  try {
    const stream = repository.openStream(name);
    return Object.assign(stream, { streamRefs: [...stream.streamRefs] });
  } catch (error) {
    if (error instanceof ComposefsError) return undefined; // damaged: there is nothing to keep
    throw error;
  }
}

function writeAgain(
  repository: Repository,
  stream: OpenStream & { streamRefs: ObjectId[] },
  replaced: ReadonlyMap<ObjectId, ObjectId>,
): ObjectId {
  using writer = repository.newStream(stream.contentType);
  writer.addExternal(singleObject(stream), Number(stream.streamSize));
  const order = new Map(stream.streamRefs.map((id, position) => [id, position]));
  const refs = [...stream.namedRefs].sort((a, b) => order.get(a[1])! - order.get(b[1])!);
  for (const [name, id] of refs) writer.addNamedRef(name, replaced.get(id) ?? id);
  return repository.objects.write(writer.finish()).id;
}
