/** Hashing files of stored commits again; runs on any thread (spec: ostree 2.4). */
import { ComposefsError } from "../base/mod.ts";
import type { ObjectReader } from "../repository/mod.ts";
import { fileEntry } from "./commit_tree.ts";
import type { FileBatch, FileObject } from "./file_batches.ts";
import { corruptedObject } from "./object_kind.ts";
import { PlacedObjects } from "./object_place.ts";
import { checksumOfFile } from "./stored_file.ts";

/** What is wrong with each file of a batch; undefined for those that are sound. */
export function checkFiles({ place, files }: FileBatch): (string | undefined)[] {
  using placed = new PlacedObjects(place);
  return files.map((file) => {
    try {
      checkFile(placed.objects, file);
      return undefined;
    } catch (error) {
      if (error instanceof ComposefsError) return error.message;
      throw error;
    }
  });
}

function checkFile(objects: ObjectReader, { checksum, data, external }: FileObject): void {
  const file = fileEntry(checksum, { data, external });
  const { checksum: actual, size } = checksumOfFile(objects, file);
  if (size !== file.header.size) {
    const message = `header says ${file.header.size} bytes, content has ${size}`;
    throw new ComposefsError("CFS_FORMAT", message);
  }
  if (actual !== checksum) throw corruptedObject("file", checksum, actual);
}
