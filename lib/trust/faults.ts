/** What is wrong with a policy, and where (spec: trust 2). */
import type { JsonNode, TextPosition } from "./json.ts";
import { textPosition } from "./json.ts";

/** A fault of a policy, or something about it that is hardly meant. */
export interface PolicyFault {
  /** Whether the policy is refused for it. */
  readonly severity: "error" | "warning";
  /** What is wrong, in the reference's words where it has some. */
  readonly reason: string;
  /** The place in the document, for example `transports.docker["a"][0].keyPath`. */
  readonly path: string;
  /** The place in the text. */
  readonly position: TextPosition;
}

/** Gathers faults. */
export class Faults {
  /** Those found so far, in the order of reading. */
  readonly found: PolicyFault[] = [];
  readonly #text: string;

  /** Starts without faults in `text`. */
  constructor(text: string) {
    this.#text = text;
  }

  /** Adds an error; returns `undefined`, so that it can be what there is in place of a value. */
  error(reason: string, path: string, at: number): undefined {
    return this.#add("error", reason, path, at);
  }

  /** Adds a warning. */
  warning(reason: string, path: string, at: number): undefined {
    return this.#add("warning", reason, path, at);
  }

  #add(severity: PolicyFault["severity"], reason: string, path: string, at: number): undefined {
    // Many faults say no more than some, and each costs a search for its line.
    if (this.found.length >= MAX_FAULTS) return undefined;
    this.found.push({ severity, reason, path, position: textPosition(this.#text, at) });
  }
}

/** Most faults of one document that are told. */
const MAX_FAULTS = 100;

/** A fault in a line: what, where in the document, where in the text. */
export function formatFault(fault: PolicyFault): string {
  const { line, column } = fault.position;
  const where = fault.path === "" ? "" : `${fault.path}, `;
  return `${fault.reason} (${where}line ${line}, column ${column})`;
}

/** Names of the kinds of values, as people know them. */
export function kindOf(node: JsonNode): string {
  return node.kind === "boolean" ? String(node.value) : node.kind;
}
