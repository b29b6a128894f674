/**
 * Text of others on a terminal, which takes some characters for commands.
 *
 * @module
 */

// deno-lint-ignore no-control-regex
const CONTROLS = /[\x00-\x1f\x7f-\x9f]/g;
// deno-lint-ignore no-control-regex
const CONTROLS_IN_LINES = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;

function escaped(control: string): string {
  return "\\x" + control.charCodeAt(0).toString(16).padStart(2, "0");
}

/**
 * Names may hold anything; what would move the cursor is shown as an escape.
 *
 * @param text One line.
 */
export function printable(text: string): string {
  return text.replace(CONTROLS, escaped);
}

/**
 * Messages quote what images and servers say; line ends and tabs stay, as some have several lines.
 *
 * @param text Any number of lines.
 */
export function printableLines(text: string): string {
  return text.replace(CONTROLS_IN_LINES, escaped);
}

/**
 * JSON has escapes for the first control characters, and leaves the others as they are.
 *
 * @param text A JSON document.
 * @returns The same document.
 */
export function printableJson(text: string): string {
  return text.replace(
    /[\x7f-\x9f]/g,
    (control) => `\\u00${control.charCodeAt(0).toString(16)}`,
  );
}
