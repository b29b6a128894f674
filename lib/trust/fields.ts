/** Reading the members of JSON objects of which every member must be known (spec: trust 2). */
import { type Faults, kindOf } from "./faults.ts";
import type { JsonNode, JsonObject } from "./json.ts";

/** An object in a policy, with its place. */
export class Fields {
  /** Path of the object in the document. */
  readonly path: string;
  /** Where it begins. */
  readonly at: number;
  readonly #object: JsonObject;
  readonly #faults: Faults;

  private constructor(object: JsonObject, path: string, faults: Faults) {
    this.#object = object;
    this.path = path;
    this.at = object.at;
    this.#faults = faults;
  }

  /** The object at `node`; a fault and `undefined` when it is something else. */
  static of(node: JsonNode, path: string, faults: Faults): Fields | undefined {
    if (node.kind === "object") return new Fields(node, path, faults);
    return faults.error(`JSON object expected, got ${kindOf(node)}`, path, node.at);
  }

  /** Keys and values in the order of the text. */
  *entries(): Generator<{ key: string; keyAt: number; value: JsonNode }> {
    for (const [key, { keyAt, value }] of this.#object.members) yield { key, keyAt, value };
  }

  /** Finds fault with every member that is none of these. */
  only(known: readonly string[]): void {
    for (const { key, keyAt } of this.entries()) {
      if (known.includes(key)) continue;
      this.#faults.error(`Unknown key ${JSON.stringify(key)}`, this.path, keyAt);
    }
  }

  /** Whether the member is there, whatever it is. */
  has(key: string): boolean {
    return this.#object.members.has(key);
  }

  /** The member, also when it is `null`. */
  node(key: string): JsonNode | undefined {
    return this.#object.members.get(key)?.value;
  }

  /** The path of a member. */
  pathOf(key: string): string {
    return this.path === "" ? key : `${this.path}.${key}`;
  }

  /** A fault about this object as a whole, or about a member. */
  fault(reason: string, key?: string): undefined {
    const node = key === undefined ? undefined : this.node(key);
    const path = key === undefined ? this.path : this.pathOf(key);
    return this.#faults.error(reason, path, node?.at ?? this.at);
  }

  /** A string; `undefined` when it is unset, or something else, which is a fault. */
  string(key: string): string | undefined {
    const node = this.node(key);
    if (node === undefined || node.kind === "null") return undefined;
    if (node.kind === "string") return node.value;
    return this.fault(`string expected, got ${kindOf(node)}`, key);
  }

  /** A string that must be there. */
  required(key: string): string | undefined {
    if (!this.has(key)) {
      return this.fault(`Key ${JSON.stringify(key)} missing in a JSON object`);
    }
    return this.string(key) ?? "";
  }

  /** A list of strings; `undefined` when it is unset or something else. */
  strings(key: string): string[] | undefined {
    const node = this.node(key);
    if (node === undefined || node.kind === "null") return undefined;
    if (node.kind !== "array") return this.fault(`array expected, got ${kindOf(node)}`, key);
    const out: string[] = [];
    for (const [i, element] of node.elements.entries()) {
      if (element.kind === "string") out.push(element.value);
      else {
        const reason = `string expected, got ${kindOf(element)}`;
        this.#faults.error(reason, `${this.pathOf(key)}[${i}]`, element.at);
      }
    }
    return out;
  }

  /** Bytes in base64; `undefined` when they are unset or something else. */
  bytes(key: string): Uint8Array | undefined {
    const text = this.string(key);
    return text === undefined ? undefined : this.#decode(text, key);
  }

  /** A list of bytes in base64. */
  byteList(key: string): Uint8Array[] | undefined {
    const texts = this.strings(key);
    if (texts === undefined) return undefined;
    return texts.map((text) => this.#decode(text, key)).filter((bytes) => bytes !== undefined);
  }

  #decode(text: string, key: string): Uint8Array | undefined {
    const bytes = decodeGoBase64(text);
    return bytes ?? this.fault("illegal base64 data", key);
  }
}

/** Standard base64 with padding, in which line ends do not count; `undefined` for others. */
export function decodeGoBase64(text: string): Uint8Array | undefined {
  const plain = text.replace(/[\r\n]/g, "");
  if (plain.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(plain)) return undefined;
  return Uint8Array.fromBase64(plain);
}
