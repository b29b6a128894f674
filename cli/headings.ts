/**
 * How the help arranges commands: a heading, and the commands below it.
 *
 * @module
 */

/** A heading with the last words of its commands, in order. */
export type Heading = readonly [string, readonly string[]];

/** The headings by the group they are in; those of the program by the empty word. */
export const HEADINGS: Readonly<Record<string, readonly Heading[]>> = {
  "": [
    ["Images from elsewhere:", ["oci", "ostree", "trust"]],
    ["Images of the repository:", [
      ...["images", "mount", "umount", "create-image", "import-image"],
      ...["image-objects", "dump-files"],
    ]],
    ["The repository itself:", ["init", "fsck", "gc", "transaction", "cat"]],
    ["Directories, without a repository:", ["compute-id", "compute-karg", "create-dumpfile"]],
    ["This program:", ["completions", "man"]],
  ],
  "oci": [
    ["From and to other places:", [
      ...["pull", "plan", "push", "copy", "delta", "import-layer", "inspect-toc"],
    ]],
    ["Stored images:", [
      ...["images", "inspect", "tag", "untag", "mount", "dump", "layer", "compute-id"],
      "linked-erofs-images",
    ]],
    ["Checking:", ["fsck", "repair"]],
  ],
  "ostree": [
    ["From and to other places:", [
      ...["pull", "pull-local", "remote", "list-refs", "apply-delta", "delta", "export"],
    ]],
    ["Stored commits:", [
      ...["images", "inspect", "log", "diff", "tag", "untag", "mount", "dump", "compute-id"],
      ...["create-image", "commit"],
    ]],
    ["Checking:", ["fsck", "verify"]],
  ],
  "trust": [["Commands:", ["check", "show", "lint", "export"]]],
};
