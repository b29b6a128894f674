import { NotFoundError, objectPath, utf8ByteString, withContext } from "../../lib/base/mod.ts";
import { readTree } from "../../lib/erofs/mod.ts";
import { countLinks, type Directory, lookupNode, type Node } from "../../lib/tree/mod.ts";
import type { Repository } from "../../lib/repository/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { dumpSubtree } from "../dump_subtree.ts";
import { FailedError } from "../errors.ts";
import { openRepository } from "../open_repository.ts";

const DESCRIPTION =
  `Extract file information from a composefs image for specified files or directories

By default, outputs information in composefs dumpfile format. Of a directory everything below is
shown too.`;

function find(root: Directory, path: string): Node {
  try {
    return lookupNode(root, utf8ByteString(path));
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    throw new NotFoundError("file", path, { message: `${path} not found` });
  }
}

function backingPath(node: Node, path: string): string {
  if (node.kind === "directory") throw new FailedError(`${path} is a directory`);
  const { content } = node;
  const external = content.type === "external" || content.type === "external-no-verity";
  return external ? objectPath(content.digest) : "inline";
}

function readImageTree(repository: Repository, name: string) {
  try {
    const image = repository.readImage(repository.findImage(name));
    return readTree(image, { hash: repository.algorithm.hash });
  } catch (cause) {
    throw withContext(`Opening image '${name}'`, cause);
  }
}

/** Declares `dump-files`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("dump-files")
    .description(DESCRIPTION)
    .argument("<IMAGE_NAME>", "The image, either an object ID digest or refs/…")
    .argument("[FILES...]", "File or directory paths to process")
    .option(
      "--backing-path-only",
      'For each file, print "inline" or the path of its object in the object store instead',
    )
    .action((name, files, options) => {
      using repository = openRepository(context);
      const tree = readImageTree(repository, name);
      const links = countLinks(tree);
      for (const path of files) {
        const node = find(tree.root, path);
        if (options.backingPathOnly) context.stdout.line(`${path} ${backingPath(node, path)}`);
        else for (const line of dumpSubtree(node, { path, links })) context.stdout.write(line);
      }
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r dump-files myimage /etc /usr/bin/env",
      "cfs dump-files --backing-path-only myimage /usr/bin/env",
    ],
    complete: { "0": "image", "1": "image-path" },
  });
}
