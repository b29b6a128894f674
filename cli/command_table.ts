/**
 * Every command by name, with the line the help list shows and the module to load. Kept by hand so
 * that help and completion of names load no command, and a command loads only itself; a test
 * compares it with the declarations.
 *
 * @module
 */
import type { CommandModule } from "./declare.ts";

/** A command's place in the table. */
export interface CommandEntry {
  /** Its words, for example `oci pull`. */
  readonly name: string;
  /** The line in the help list. */
  readonly summary: string;
  /** Other names for it. */
  readonly aliases?: readonly string[];
  /** Not shown in help. */
  readonly hidden?: boolean;
  /** Loads its module. */
  readonly load: () => Promise<CommandModule>;
}

/** A word that stands for a group of commands. */
export interface GroupEntry {
  /** The word. */
  readonly name: string;
  /** The line in the help list. */
  readonly summary: string;
}

/** The groups. */
export const GROUPS: readonly GroupEntry[] = [
  { name: "oci", summary: "Commands for dealing with OCI images and layers" },
  { name: "ostree", summary: "Commands for dealing with OSTree commits" },
  { name: "trust", summary: "Commands for dealing with policies and signatures" },
];

/** The commands, in the order the help shows them. */
export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "init",
    summary: "Initialize a new composefs repository with a metadata file",
    load: () => import("./commands/init.ts"),
  },
  {
    name: "transaction",
    summary: "Take a transaction lock on the repository",
    load: () => import("./commands/transaction.ts"),
  },
  {
    name: "cat",
    summary: "Reconstitutes a split stream and writes it to stdout",
    load: () => import("./commands/cat.ts"),
  },
  {
    name: "gc",
    summary: "Perform garbage collection",
    load: () => import("./commands/gc.ts"),
  },
  {
    name: "import-image",
    summary: "Imports a composefs image from standard input",
    load: () => import("./commands/import_image.ts"),
  },
  {
    name: "images",
    summary: "List all named image references in the repository",
    aliases: ["list-images"],
    load: () => import("./commands/images.ts"),
  },
  {
    name: "mount",
    summary: "Mounts a composefs image",
    load: () => import("./commands/mount.ts"),
  },
  {
    name: "umount",
    summary: "Unmounts a composefs image",
    load: () => import("./commands/umount.ts"),
  },
  {
    name: "create-image",
    summary: "Read rootfs located at a path, add all files to the repo",
    load: () => import("./commands/create_image.ts"),
  },
  {
    name: "compute-id",
    summary: "Read rootfs located at a path and compute the composefs image object id",
    load: () => import("./commands/compute_id.ts"),
  },
  {
    name: "compute-karg",
    summary: "Read rootfs located at a path and compute the composefs kernel argument string",
    load: () => import("./commands/compute_karg.ts"),
  },
  {
    name: "create-dumpfile",
    summary: "Read rootfs located at a path and dump it to a composefs dumpfile",
    load: () => import("./commands/create_dumpfile.ts"),
  },
  {
    name: "image-objects",
    summary: "Lists all object IDs referenced by an image",
    load: () => import("./commands/image_objects.ts"),
  },
  {
    name: "dump-files",
    summary: "Extract file information from a composefs image",
    load: () => import("./commands/dump_files.ts"),
  },
  {
    name: "fsck",
    summary: "Check repository integrity",
    load: () => import("./commands/fsck.ts"),
  },
  {
    name: "oci import-layer",
    summary: "Import a tar layer from standard input as a splitstream in the repository",
    load: () => import("./commands/oci_import_layer.ts"),
  },
  {
    name: "oci dump",
    summary: "Dump the rootfs of a stored OCI image as a composefs dumpfile to stdout",
    load: () => import("./commands/oci_dump.ts"),
  },
  {
    name: "oci plan",
    summary: "Tell what pulling an image would have to fetch",
    load: () => import("./commands/oci_plan.ts"),
  },
  {
    name: "oci pull",
    summary: "Pull an OCI image into the repository",
    load: () => import("./commands/oci_pull.ts"),
  },
  {
    name: "oci push",
    summary: "Push a stored image to a registry, a layout, an archive or a directory",
    load: () => import("./commands/oci_push.ts"),
  },
  {
    name: "oci delta",
    summary: "Make deltas between images, and look into them",
    load: () => import("./commands/oci_delta.ts"),
  },
  {
    name: "oci copy",
    summary: "Copy an OCI image (and its layers) from another composefs repository",
    load: () => import("./commands/oci_copy.ts"),
  },
  {
    name: "oci repair",
    summary: "Repair a damaged image from wherever it can be had",
    load: () => import("./commands/oci_repair.ts"),
  },
  {
    name: "oci images",
    summary: "List all tagged OCI images in the repository",
    load: () => import("./commands/oci_images.ts"),
  },
  {
    name: "oci inspect",
    summary: "Show information about an OCI image",
    load: () => import("./commands/oci_inspect.ts"),
  },
  {
    name: "oci inspect-toc",
    summary: "Show the tables of contents of zstd:chunked layers",
    load: () => import("./commands/oci_inspect_toc.ts"),
  },
  {
    name: "oci tag",
    summary: "Tag an image with a new name",
    load: () => import("./commands/oci_tag.ts"),
  },
  {
    name: "oci untag",
    summary: "Remove a tag from an image",
    load: () => import("./commands/oci_untag.ts"),
  },
  {
    name: "oci layer",
    summary: "Inspect a stored layer",
    load: () => import("./commands/oci_layer.ts"),
  },
  {
    name: "oci mount",
    summary: "Mount an OCI image's composefs EROFS at the given mountpoint",
    load: () => import("./commands/oci_mount.ts"),
  },
  {
    name: "oci compute-id",
    summary: "Compute the composefs image ID of a stored OCI image's rootfs",
    load: () => import("./commands/oci_compute_id.ts"),
  },
  {
    name: "oci linked-erofs-images",
    summary: "List all EROFS images linked to the same OCI image",
    load: () => import("./commands/oci_linked_erofs_images.ts"),
  },
  {
    name: "oci fsck",
    summary: "Check integrity of OCI images in the repository",
    load: () => import("./commands/oci_fsck.ts"),
  },
  {
    name: "ostree pull-local",
    summary: "Pull an ostree commit from a local repository",
    load: () => import("./commands/ostree_pull_local.ts"),
  },
  {
    name: "ostree apply-delta",
    summary: "Apply a static delta from local files",
    load: () => import("./commands/ostree_apply_delta.ts"),
  },
  {
    name: "ostree delta",
    summary: "Make a static delta between stored ostree commits",
    load: () => import("./commands/ostree_delta.ts"),
  },
  {
    name: "ostree pull",
    summary: "Pull ostree commits from a server",
    load: () => import("./commands/ostree_pull.ts"),
  },
  {
    name: "ostree remote",
    summary: "Add, list, show or delete the ostree remotes of the repository",
    load: () => import("./commands/ostree_remote.ts"),
  },
  {
    name: "ostree verify",
    summary: "Check the signatures of a stored ostree commit",
    load: () => import("./commands/ostree_verify.ts"),
  },
  {
    name: "ostree mount",
    summary: "Mount an ostree commit's composefs EROFS at the given mountpoint",
    load: () => import("./commands/ostree_mount.ts"),
  },
  {
    name: "ostree dump",
    summary: "Dump the filesystem of an ostree commit as a composefs dumpfile to stdout",
    load: () => import("./commands/ostree_dump.ts"),
  },
  {
    name: "ostree compute-id",
    summary: "Compute the composefs image ID of an ostree commit",
    load: () => import("./commands/ostree_compute_id.ts"),
  },
  {
    name: "ostree create-image",
    summary: "Make the composefs image of an ostree commit and give it a name",
    load: () => import("./commands/ostree_create_image.ts"),
  },
  {
    name: "ostree inspect",
    summary: "Show the contents of an ostree commit",
    load: () => import("./commands/ostree_inspect.ts"),
  },
  {
    name: "ostree log",
    summary: "Show an ostree commit and its ancestors",
    load: () => import("./commands/ostree_log.ts"),
  },
  {
    name: "ostree diff",
    summary: "Compare the files of two ostree commits",
    load: () => import("./commands/ostree_diff.ts"),
  },
  {
    name: "ostree fsck",
    summary: "Check every object of ostree commits",
    load: () => import("./commands/ostree_fsck.ts"),
  },
  {
    name: "ostree tag",
    summary: "Tag an ostree commit with a name",
    load: () => import("./commands/ostree_tag.ts"),
  },
  {
    name: "ostree untag",
    summary: "Remove a named ostree reference",
    load: () => import("./commands/ostree_untag.ts"),
  },
  {
    name: "ostree commit",
    summary: "Create an ostree commit from a composefs image in the repository",
    load: () => import("./commands/ostree_commit.ts"),
  },
  {
    name: "ostree export",
    summary: "Export an ostree commit to a local ostree repository",
    load: () => import("./commands/ostree_export.ts"),
  },
  {
    name: "ostree images",
    summary: "List all ostree commits in the repository",
    load: () => import("./commands/ostree_images.ts"),
  },
  {
    name: "ostree list-refs",
    summary: "List refs available in an ostree repository",
    load: () => import("./commands/ostree_list_refs.ts"),
  },
  {
    name: "trust check",
    summary: "Tell what ties an image to its signatures and its files",
    load: () => import("./commands/trust_check.ts"),
  },
  {
    name: "trust show",
    summary: "Show the policy that decides which images are accepted",
    load: () => import("./commands/trust_show.ts"),
  },
  {
    name: "trust lint",
    summary: "Tell all that is wrong or strange in a policy",
    load: () => import("./commands/trust_lint.ts"),
  },
  {
    name: "trust export",
    summary: "Write the documents and signatures of an image to a file",
    load: () => import("./commands/trust_export.ts"),
  },
  {
    name: "completions",
    summary: "Print the completion script of a shell",
    load: () => import("./commands/completions.ts"),
  },
  {
    name: "man",
    summary: "Print the manual page",
    load: () => import("./commands/man.ts"),
  },
];

/**
 * Finds the entry that words name.
 *
 * @param words Command words, for example `["oci", "pull"]`.
 */
export function findCommand(words: readonly string[]): CommandEntry | undefined {
  const group = GROUPS.some(({ name }) => name === words[0]) ? words[0] : undefined;
  const last = group === undefined ? words[0] : words[1];
  if (last === undefined) return undefined;
  const prefix = group === undefined ? "" : `${group} `;
  return COMMANDS.find(({ name, aliases }) =>
    name === prefix + last ||
    (name.startsWith(prefix) && (name.includes(" ") === (group !== undefined)) &&
      aliases?.includes(last) === true)
  );
}
