/** The tree of a stored image, for the commands that show or digest it. */
import {
  type Algorithm,
  Digest,
  DigestMismatchError,
  NotFoundError,
  type ObjectId,
  parseObjectId,
  UnsupportedError,
} from "../lib/base/mod.ts";
import { buildTree, layerObject, openConfig } from "../lib/oci/mod.ts";
import type { Repository } from "../lib/repository/mod.ts";
import { type FileTree, parseXattrMode, type XattrMode } from "../lib/tree/mod.ts";
import { makeBootable } from "./bootable.ts";
import { type CommandUnknownOpts, Option } from "./commander.ts";
import type { Context } from "./context.ts";
import { parsed } from "./declare.ts";
import { openImageArgument } from "./oci_names.ts";

/** How to transform the tree of an image. */
export interface TreeFlags {
  /** `--bootable`. */
  bootable?: true;
  /** `--xattrs`. */
  xattrs?: XattrMode;
}

/**
 * Declares the options that the commands share which need the tree of an image.
 *
 * @param command The command.
 */
export function addTreeOptions(command: CommandUnknownOpts): void {
  command
    .option("--bootable", "Whether bootable transformation should be performed on the image rootfs")
    .addOption(
      new Option(
        "--xattrs <XATTRS>",
        "Which extended attributes to keep: allowlist-only (default) or keep-user-xattrs",
      ).argParser(parsed(parseXattrMode)),
    );
}

/** Which image, and how to transform its tree. */
export interface ImageTreeOptions {
  /** Tag, or digest of manifest or config. */
  image: string;
  /** Expected object id of the stream that describes the image. */
  verity?: string | undefined;
  /** How to transform it. */
  flags: TreeFlags;
}

interface Layers {
  readonly stream: ObjectId;
  readonly layers: readonly { id: Digest; object: ObjectId }[];
}

/** `@D` means a manifest, or else a config as in the reference. */
function findLayers(repository: Repository, name: string): Layers {
  try {
    const image = openImageArgument(repository, name);
    if (image.config === undefined) {
      throw new UnsupportedError(`${image.manifestDigest} is an artifact, not a container image`);
    }
    const layers = image.layerIds.map((id) => ({ id, object: layerObject(image, id) }));
    return { stream: image.manifestStream.stream, layers };
  } catch (error) {
    const digest = name.startsWith("@") ? name.slice(1) : name;
    if (!(error instanceof NotFoundError) || !digest.startsWith("sha256:")) throw error;
    return layersOfConfig(repository, Digest.parse(digest), error);
  }
}

function layersOfConfig(repository: Repository, digest: Digest, missing: NotFoundError): Layers {
  let opened: ReturnType<typeof openConfig>;
  try {
    opened = openConfig(repository, digest);
  } catch (error) {
    // Neither is there: what was asked for first is the news.
    if (error instanceof NotFoundError) throw missing;
    throw error;
  }
  const { config, document } = opened;
  const layers = config.diffIds.map((id) => {
    const object = document.refs.get(id.toString());
    if (object === undefined) throw new NotFoundError("layer", id.toString());
    return { id, object };
  });
  return { stream: document.stream, layers };
}

function checkVerity(algorithm: Algorithm, stream: ObjectId, given: string): void {
  const expected = parseObjectId(given.replace(/^@?sha(256|512):/, ""), algorithm.hash);
  if (stream === expected) return;
  throw new DigestMismatchError("input", expected, stream, {
    message: `The stored image has verity ${stream}, not ${expected}`,
  });
}

/**
 * Builds the tree of a stored image.
 *
 * @param context For warnings.
 * @param repository Where it is.
 * @param options Which image, and how to transform its tree.
 * @throws {ComposefsError} when there is no such image, or it cannot be put together
 */
export function imageTree(
  context: Context,
  repository: Repository,
  options: ImageTreeOptions,
): FileTree {
  const { stream, layers } = findLayers(repository, options.image);
  if (options.verity !== undefined) checkVerity(repository.algorithm, stream, options.verity);
  const tree = buildTree(repository, layers, {
    xattrs: options.flags.xattrs ?? "allowlist-only",
    warn: (text) => context.warn(text),
  });
  if (options.flags.bootable) makeBootable(tree);
  return tree;
}
