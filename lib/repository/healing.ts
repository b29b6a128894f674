/** Putting right the objects that are on the list of damaged ones, and taking them off it. */
import { ComposefsError, type ObjectId } from "../base/mod.ts";
import { reasonOf } from "./fsck_report.ts";
import type { ObjectDirectoryOptions } from "./object_write.ts";
import type { Repository } from "./repository.ts";

/** How content is stored where what is there may be damaged: listed objects are compared with it. */
export function healingWrites(repository: Repository): ObjectDirectoryOptions {
  const { algorithm, secure, objects } = repository;
  const known = repository.knownDamage();
  return {
    dir: objects.makeDirectory().number,
    algorithm,
    secure,
    ...(known === undefined ? {} : { thorough: known.all, suspects: [...known.ids] }),
  };
}

/** Tells which objects are there; those on the list only when they are sound. */
export function soundObjects(repository: Repository): (id: ObjectId) => boolean {
  const { objects } = repository;
  const isThere = objects.snapshot();
  const known = repository.knownDamage();
  if (known === undefined) return isThere;
  return (id) => isThere(id) && (!(known.all || known.ids.has(id)) || objects.isSound(id));
}

/**
 * Takes the objects that a stream leads to off the list of damaged ones, those of them that are
 * sound, when they are durable. Who is killed before this only leaves objects on the list that the
 * next pull looks at.
 *
 * @param stream name of the stream, for example of an image's manifest
 * @param warn told when the list cannot be written
 */
export function forgetHealed(
  repository: Repository,
  stream: string,
  warn: (text: string) => void,
): void {
  const ids = repository.knownDamage()?.ids ?? new Set();
  if (ids.size === 0) return;
  const sound: ObjectId[] = [];
  for (const id of reachableObjects(repository, stream)) {
    if (ids.has(id) && repository.objects.isSound(id)) sound.push(id);
  }
  if (sound.length === 0) return;
  try {
    // What somebody else has healed need not be durable yet, and would be damaged without a word.
    repository.sync();
    repository.noteDamage({ sound });
  } catch (error) {
    // They are looked at once more by the next pull, which is all that it costs.
    if (!(error instanceof ComposefsError)) throw error;
    warn(`healed objects stay on the list of damaged ones: ${reasonOf(error)}`);
  }
}

/** Everything that a stream leads to, itself first and each object once. */
function reachableObjects(repository: Repository, name: string): Set<ObjectId> {
  const found = new Set<ObjectId>();
  const start = repository.streamObject(name);
  const streams = new Set(start === undefined ? [] : [start]);
  // A set that grows while it is walked.
  for (const id of streams) {
    found.add(id);
    try {
      const stream = repository.openStreamObject(id);
      for (const object of stream.objectRefs) found.add(object);
      for (const object of stream.streamRefs) streams.add(object);
    } catch (error) {
      // An image, or something that cannot be read: it leads no further.
      if (!(error instanceof ComposefsError)) throw error;
    }
  }
  return found;
}
