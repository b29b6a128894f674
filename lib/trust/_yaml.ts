/** The one door to the YAML parser, which is loaded when there is something to parse. */

/** Parses one document into plain values; the library throws errors of its own for bad ones. */
export async function parseYaml(text: string): Promise<unknown> {
  const { parse } = await import("npm:yaml@2.9.1");
  // Go's reader follows version 1.1, in which "yes" is true. Aliases could blow a text up.
  return parse(text, { version: "1.1", maxAliasCount: 0, logLevel: "error" });
}
