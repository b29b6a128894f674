/** Changing JSON documents so that they stay JSON. */
import { mutate, type Rng } from "./_mutate.ts";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const VALUES: Json[] = [null, true, 0, -1, 2 ** 53, 1e300, "", "x", "sha256:00", {}, [], [[]]];

/** Replaces, removes or moves one value of a document. */
function rearranged(document: Json, rng: Rng): Json {
  const places: { holder: Record<string, Json>; key: string }[] = [];
  const open: Json[] = [document];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (next === null || typeof next !== "object") continue;
    const holder = next as Record<string, Json>;
    for (const key of Object.keys(holder)) {
      places.push({ holder, key });
      open.push(holder[key]!);
    }
  }
  const { holder, key } = rng.pick(places);
  const other = rng.pick(places);
  const choice = rng.below(3);
  if (choice === 0) delete holder[key];
  else holder[key] = choice === 1 ? rng.pick(VALUES) : structuredClone(other.holder[other.key]!);
  return document;
}

/** A changed document: mostly one that still is JSON, since changed bytes mostly are not. */
export function changedDocument(bytes: Uint8Array, rng: Rng): Uint8Array<ArrayBuffer> {
  if (rng.oneIn(4)) return mutate(bytes, rng);
  const text = JSON.stringify(rearranged(JSON.parse(new TextDecoder().decode(bytes)), rng));
  return new TextEncoder().encode(text);
}
