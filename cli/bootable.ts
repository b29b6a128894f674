/** The transformation for booting, as far as it needs no SELinux labels (spec: boot-and-mount 6, 7). */
import { UnsupportedError, withContext } from "../lib/base/mod.ts";
import {
  bootableTransform,
  type Directory,
  type FileTree,
  filterXattrs,
  findDirectory,
} from "../lib/tree/mod.ts";

const POLICY_KEY = "selinuxtype";

/** Whether a configuration names a policy: the first `SELINUXTYPE=` line decides. */
function namesPolicy(config: string): boolean {
  return config.split("\n").some((line) => {
    const at = line.indexOf("=");
    return at >= 0 && line.slice(0, at).trim().toLowerCase() === POLICY_KEY;
  });
}

/** Whether files of the tree must get labels. */
function needsLabels(root: Directory): boolean {
  const config = findDirectory(root, "etc/selinux")?.entries.get("config");
  if (config === undefined) return false;
  if (config.kind === "directory") return true;
  // A longer one, or one behind a link, would have to be read: it is there to name a policy.
  if (config.content.type !== "inline") return true;
  return namesPolicy(new TextDecoder().decode(config.content.data));
}

/**
 * Transforms a tree for booting; without a policy all labels are removed.
 *
 * @param tree Changed in place.
 * @throws {UnsupportedError} when its files would have to be labelled
 * @throws {ComposefsError} when a directory that must be there is not
 */
export function makeBootable(tree: FileTree): void {
  bootableTransform(tree);
  let labels: boolean;
  try {
    labels = needsLabels(tree.root);
  } catch (cause) {
    throw withContext("Applying SELinux labels to filesystem", cause);
  }
  if (labels) {
    throw new UnsupportedError(
      "Applying SELinux labels to filesystem: /etc/selinux/config names a policy, and labelling is not supported yet",
    );
  }
  filterXattrs(tree, (name) => name !== "security.selinux");
}
