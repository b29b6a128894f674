import { FormatError } from "../base/mod.ts";

/**
 * Rejects valid JSON in which an object has a key twice: two readers could take different values.
 * `JSON.parse` keeps the last one silently, so the tokens are looked at once more.
 *
 * @throws {FormatError} naming the key
 */
export function checkDuplicateKeys(text: string, format: string): void {
  const objects: (Set<string> | undefined)[] = [];
  for (const match of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}[\]]/g)) {
    const [token, colon] = match;
    if (token === "{") objects.push(new Set());
    else if (token === "[") objects.push(undefined);
    else if (token === "}" || token === "]") objects.pop();
    else if (colon !== undefined) {
      const key: string = JSON.parse(token.slice(0, token.lastIndexOf('"') + 1));
      const keys = objects.at(-1);
      if (keys?.has(key)) {
        throw new FormatError(format, `duplicate field \`${key}\``, { offset: match.index });
      }
      keys?.add(key);
    }
  }
}
