import { ComposefsError, type ObjectId, parseObjectId, withContext } from "../base/mod.ts";
import { MOUNT_ATTR } from "../../ffi/mod.ts";
import type { VerityMode } from "./overlay_mount.ts";

/** The options of `mount.composefs -o` (spec: boot and mount 3). */
export interface HelperOptions {
  /** Object directories, at least one. */
  readonly basedirs: readonly string[];
  /** fs-verity digest that the image must have. */
  readonly digest: ObjectId | undefined;
  /** Whether files must have their digests. */
  readonly verity: VerityMode;
  /** Path of a user namespace. */
  readonly idmap: string | undefined;
  /** Upper layer. */
  readonly upperdir: string | undefined;
  /** Work directory of the upper layer. */
  readonly workdir: string | undefined;
  /** Whether the mount is writable. */
  readonly readWrite: boolean;
  /** Bits of {@linkcode MOUNT_ATTR}. */
  readonly attributes: number;
}

/** Options of mount(8) that become attributes of the mount; 0 is the kernel's default. */
const ATTRIBUTES: Readonly<Record<string, { set: number; clear: number }>> = {
  nosuid: { set: MOUNT_ATTR.NOSUID, clear: 0 },
  suid: { set: 0, clear: MOUNT_ATTR.NOSUID },
  nodev: { set: MOUNT_ATTR.NODEV, clear: 0 },
  dev: { set: 0, clear: MOUNT_ATTR.NODEV },
  noexec: { set: MOUNT_ATTR.NOEXEC, clear: 0 },
  exec: { set: 0, clear: MOUNT_ATTR.NOEXEC },
  nodiratime: { set: MOUNT_ATTR.NODIRATIME, clear: 0 },
  diratime: { set: 0, clear: MOUNT_ATTR.NODIRATIME },
  noatime: { set: MOUNT_ATTR.NOATIME, clear: MOUNT_ATTR.STRICTATIME },
  strictatime: { set: MOUNT_ATTR.STRICTATIME, clear: MOUNT_ATTR.NOATIME },
  relatime: { set: 0, clear: MOUNT_ATTR.NOATIME | MOUNT_ATTR.STRICTATIME },
};

/** Options that mount(8) and fstab pass on and that mean nothing here. */
const IGNORED = new Set(["defaults", "nofail", "_netdev", "noauto", "auto", "nouser", "comment"]);

/** Options that have to have a value. */
const VALUED = ["basedir", "digest", "idmap", "upperdir", "workdir"] as const;

type ValuedOption = typeof VALUED[number];

function fail(message: string): ComposefsError {
  return new ComposefsError("CFS_FAILED", message);
}

/** One option: its name, and its value with backslashes taken out. */
interface Option {
  readonly name: string;
  readonly value: string | undefined;
}

/** Splits at commas that no backslash stands before; one comma at the end means nothing. */
function splitOptions(text: string): Option[] {
  const options: Option[] = [];
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === ",") {
      options.push(splitOption(text.slice(start, at)));
      start = at + 1;
    }
  }
  if (start < text.length) options.push(splitOption(text.slice(start)));
  return options;
}

function splitOption(entry: string): Option {
  const equals = entry.indexOf("=");
  if (equals < 0) return { name: entry, value: undefined };
  return {
    name: entry.slice(0, equals),
    value: entry.slice(equals + 1).replace(/\\(.?)/gs, "$1"),
  };
}

/**
 * Parses the argument of `mount.composefs -o` (spec: boot and mount 3).
 *
 * @throws {ComposefsError} in the reference's words for each fault
 */
export function parseMountOptions(text: string): HelperOptions {
  const values: Partial<Record<ValuedOption, string>> = {};
  let verity: VerityMode = "disabled";
  let readWrite = true;
  let attributes = 0;
  for (const { name, value } of splitOptions(text)) {
    const valued = VALUED.find((one) => one === name);
    const attribute = Object.hasOwn(ATTRIBUTES, name) ? ATTRIBUTES[name] : undefined;
    if (valued !== undefined) {
      if (value === undefined) throw fail(`No value specified for ${name} option`);
      values[valued] = value;
    } else if (name === "verity") verity = "required";
    else if (name === "tryverity") verity = verity === "required" ? verity : "try";
    else if (name === "ro") readWrite = false;
    else if (name === "rw") readWrite = true;
    else if (attribute !== undefined) {
      attributes = (attributes & ~attribute.clear) | attribute.set;
    } else if (!IGNORED.has(name) && !name.startsWith("x-")) {
      throw fail(`Unsupported option: ${name}`);
    }
  }
  const basedirs = (values.basedir ?? "").split(":").filter((path) => path !== "");
  if (basedirs.length === 0) throw fail("No object dirs specified");
  if ((values.upperdir === undefined) !== (values.workdir === undefined)) {
    throw fail("Both workdir and upperdir must be specified if used");
  }
  const digest = values.digest === undefined ? undefined : parseDigest(values.digest);
  return {
    basedirs,
    digest,
    verity: digest === undefined ? verity : "required",
    idmap: values.idmap,
    upperdir: values.upperdir,
    workdir: values.workdir,
    readWrite,
    attributes,
  };
}

function parseDigest(text: string): ObjectId {
  try {
    if (text.length % 2 !== 0) throw fail("Odd number of digits");
    return parseObjectId(text);
  } catch (cause) {
    throw withContext("Invalid digest value", cause);
  }
}
