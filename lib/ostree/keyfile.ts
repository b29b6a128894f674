/** GLib key files, as OSTree configs are written (spec: ostree 3). */
import { FormatError } from "../base/mod.ts";

/** Groups of keys; of a key that occurs twice the last one counts. */
export type Keyfile = ReadonlyMap<string, ReadonlyMap<string, string>>;

const ESCAPES: Readonly<Record<string, string>> = {
  s: " ",
  n: "\n",
  t: "\t",
  r: "\r",
  "\\": "\\",
};

/**
 * Parses a key file. Values are unescaped, but lists are not split.
 *
 * @throws {FormatError} with the number of the line that is no group, key or comment
 */
export function parseKeyfile(text: string): Keyfile {
  const groups = new Map<string, Map<string, string>>();
  let group: Map<string, string> | undefined;
  text.split("\n").forEach((raw, index) => {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) return;
    if (line.startsWith("[") && line.endsWith("]")) {
      const name = line.slice(1, -1);
      group = groups.get(name) ?? new Map();
      groups.set(name, group);
      return;
    }
    const equals = line.indexOf("=");
    if (equals <= 0 || group === undefined) {
      const message = `Key file contains line '${line.slice(0, 80)}' which is not a key-value pair`;
      throw new FormatError("key file", message, { offset: index + 1 });
    }
    const value = line.slice(equals + 1).trimStart();
    group.set(
      line.slice(0, equals).trimEnd(),
      value.replace(/\\(.)/g, (whole, escape: string) => ESCAPES[escape] ?? whole),
    );
  });
  return groups;
}

/**
 * A boolean of a key file; `undefined` when the key is not there.
 *
 * @throws {FormatError} for anything but `true`, `false`, `1`, `0`
 */
export function keyfileBoolean(file: Keyfile, group: string, key: string): boolean | undefined {
  const text = file.get(group)?.get(key);
  if (text === undefined) return undefined;
  if (text === "true" || text === "1") return true;
  if (text === "false" || text === "0") return false;
  throw new FormatError("key file", `Key '${key}' in group '${group}' is not a boolean: '${text}'`);
}

/** A list of a key file, split at semicolons; empty when the key is not there. */
export function keyfileList(file: Keyfile, group: string, key: string): string[] {
  const text = file.get(group)?.get(key) ?? "";
  return text.split(";").map((part) => part.trim()).filter((part) => part !== "");
}
