/** Where a repository's objects are, as told to workers. */
import type { Algorithm } from "../base/mod.ts";
import { type Fd, openDir } from "../../ffi/mod.ts";
import { DiskObjectStore, type Repository } from "../repository/mod.ts";

/** A repository's objects; plain data, so that it can be sent to a worker. */
export interface ObjectPlace {
  /** Descriptor number of the repository's directory. */
  readonly root: number;
  /** Algorithm of the repository. */
  readonly algorithm: Algorithm;
  /** Whether every object must have fs-verity enabled. */
  readonly secure: boolean;
}

/** The place of an open repository, which must stay open as long as the place is used. */
export function objectPlace({ directory, algorithm, secure }: Repository): ObjectPlace {
  return { root: directory.number, algorithm, secure };
}

/** Objects read by way of descriptors of their own. */
export class PlacedObjects implements Disposable {
  readonly #root: Fd;
  /** The objects. */
  readonly objects: DiskObjectStore;

  /** Opens a place. */
  constructor(place: ObjectPlace) {
    this.#root = openDir(place.root, ".");
    this.objects = new DiskObjectStore(this.#root, place);
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.objects[Symbol.dispose]();
    this.#root.close();
  }
}
