import { withContext } from "../../lib/base/mod.ts";
import { writeImage } from "../../lib/erofs/mod.ts";
import {
  checkRefName,
  healingWrites,
  objectSinkSource,
  type Repository,
} from "../../lib/repository/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { openRepository } from "../open_repository.ts";
import { addRootOptions, readRoot, type RootOptions } from "../scan_root.ts";
import type { FileTree } from "../../lib/tree/mod.ts";

/** Stores the image in every format of the repository; only the first one gets the name. */
function storeImages(repository: Repository, tree: FileTree, name: string | undefined): string {
  const { hash } = repository.algorithm;
  const [first, ...others] = repository.formats.map((version) =>
    writeImage(tree, { version, hash })
  );
  for (const bytes of others) repository.writeImage(bytes);
  return repository.writeImage(first!, name === undefined ? {} : { name });
}

/** Declares `create-image`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("create-image")
    .description(
      "Read rootfs located at a path, add all files to the repo, then create the composefs image of\n" +
        "the rootfs, commit it to the repo, and print its image object ID",
    )
    .argument("<PATH>", "The path to the filesystem")
    .argument("[IMAGE_NAME]", "Optional reference name for the image, use as refs/<name> elsewhere")
    .action(async (path, name, options: RootOptions) => {
      using repository = openRepository(context);
      if (name !== undefined) checkRefName(name);
      repository.assertWritable();
      const { algorithm } = repository;
      const tree = await readRoot(context, path, {
        scan: {
          hash: algorithm.hash,
          objects: objectSinkSource(healingWrites(repository)),
        },
        root: options,
      });
      let id: string;
      try {
        id = storeImages(repository, tree, name);
      } catch (cause) {
        throw withContext("Committing filesystem as EROFS image", cause);
      }
      context.stdout.line(`${algorithm.hash}:${id}`);
    });
  addRootOptions(declared, { bootable: true });
  return withNotes(declared, {
    examples: ["cfs --repo r create-image /srv/root myimage"],
    complete: { "0": "directory", "--xattrs": "xattrs" },
  });
}
