/**
 * How the help arranges commands: a heading, and the commands below it.
 *
 * @module
 */

import type { CommandUnknownOpts } from "./commander.ts";

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

type Help = ReturnType<CommandUnknownOpts["createHelp"]>;

/**
 * The parser's help of what has commands, with these before the options: they are what one looks for.
 *
 * @param command What has commands.
 * @param help The parser's way to write help, with our settings.
 */
export function commandsFirst(command: CommandUnknownOpts, help: Help): string {
  const original = Object.getPrototypeOf(help) as Help;
  const sections = original.formatHelp.call(help, command, help).trimEnd().split(/\n\n(?=\S)/);
  const isOptions = (section: string) => section.startsWith("Options:\n");
  const ordered = [
    ...sections.filter((section) => !isOptions(section)),
    ...sections.filter(isOptions),
  ];
  return `${ordered.join("\n\n")}\n`;
}
