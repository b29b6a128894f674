import { printable } from "./printable.ts";

/** What each kind of rule is drawn with: left end, line, crossing, right end. */
const RULES = {
  top: ["┌", "─", "┬", "┐"],
  header: ["╞", "═", "╪", "╡"],
  row: ["├", "╌", "┼", "┤"],
  bottom: ["└", "─", "┴", "┘"],
} as const;

/** Characters that a terminal shows two columns wide: East Asian wide letters and emoji. */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
/** Characters that take no column. */
const ZERO = /[\p{Mn}\p{Me}\p{Cf}]/u;

/** Columns that text takes on a terminal. */
function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) width += ZERO.test(character) ? 0 : WIDE.test(character) ? 2 : 1;
  return width;
}

/**
 * Draws a table as the reference does (spec: boot-and-mount 12).
 *
 * @param header Column titles.
 * @param rows Cells, as many a row as there are titles.
 * @returns Lines, each with its newline.
 */
export function boxTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows].map((cells) => cells.map(printable));
  const widths = header.map((_, column) =>
    Math.max(...lines.map((cells) => displayWidth(cells[column] ?? "")))
  );
  function rule([left, line, cross, right]: typeof RULES[keyof typeof RULES]): string {
    return left + widths.map((width) => line.repeat(width + 2)).join(cross) + right + "\n";
  }
  function row(cells: readonly string[]): string {
    const padded = widths.map((width, i) => {
      const cell = cells[i] ?? "";
      return ` ${cell}${" ".repeat(width - displayWidth(cell))} `;
    });
    return "│" + padded.join("┆") + "│\n";
  }
  const [titles, ...bodies] = lines;
  return rule(RULES.top) + row(titles!) + rule(RULES.header) +
    bodies.map(row).join(rule(RULES.row)) + rule(RULES.bottom);
}
