/** Writing GLib key files (spec: ostree 3). */
import type { Keyfile } from "./keyfile.ts";

const ESCAPES: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/** The text of a key file, with what readers would strip or take for something else escaped. */
export function formatKeyfile(file: Keyfile): string {
  const groups = [...file].map(([name, keys]) =>
    `[${name}]\n` + [...keys].map(([key, value]) => `${key}=${escapeValue(value)}\n`).join("")
  );
  return groups.join("\n");
}

function escapeValue(value: string): string {
  return value.replace(/[\\\n\r\t]/g, (char) => ESCAPES[char]!)
    .replace(/^ +| +$/g, (spaces) => "\\s".repeat(spaces.length));
}
