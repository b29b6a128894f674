/** What is wrong with a policy, and what in it is hardly meant (spec: trust 2). */
import { AT_FDCWD, lstatAt } from "../../ffi/mod.ts";
import { Faults, type PolicyFault } from "./faults.ts";
import { JsonError, type JsonNode, parseStrictJson } from "./json.ts";
import { readPolicy } from "./policy_parse.ts";
import type { RegistriesD } from "./registries_d.ts";

/** How to lint. */
export interface LintOptions {
  /** What `registries.d` says; without it nothing is said about attachments. */
  registries?: RegistriesD | undefined;
}

/** Fields that name files, wherever they are. */
const PATH_FIELDS: readonly string[] = [
  "keyPath",
  "keyPaths",
  "rekorPublicKeyPath",
  "rekorPublicKeyPaths",
  "caPath",
  "caRootsPath",
  "caIntermediatesPath",
];

const PATH_TRANSPORTS: readonly string[] = ["dir", "oci", "oci-archive"];

/** Rules that take names without a tag, as cosign signs them. */
const COSIGN_RULES: readonly string[] = ["matchRepository", "exactRepository"];

/** Reads a policy and tells everything that is wrong or strange, in the order of the text. */
export function lintPolicy(bytes: Uint8Array, options: LintOptions = {}): PolicyFault[] {
  const { faults, text } = readPolicy(bytes);
  const lint = new Lint(text, options);
  try {
    lint.policy(parseStrictJson(text, "policy.json"));
  } catch (error) {
    // That it is no JSON is among the faults already.
    if (!(error instanceof JsonError)) throw error;
  }
  return [...faults, ...lint.faults.found].sort((a, b) =>
    a.position.line - b.position.line || a.position.column - b.position.column
  );
}

class Lint {
  readonly faults: Faults;
  readonly #registries: RegistriesD | undefined;

  constructor(text: string, options: LintOptions) {
    this.faults = new Faults(text);
    this.#registries = options.registries;
  }

  policy(root: JsonNode): void {
    const fallback = member(root, "default");
    if (fallback !== undefined) {
      this.#requirements(fallback, { path: "default", transport: "", scope: "" });
      if (acceptsAnything(fallback)) {
        const reason = "images that nothing else applies to are accepted unsigned";
        this.faults.warning(reason, "default", fallback.at);
      }
    }
    for (const [transport, { value }] of members(member(root, "transports"))) {
      for (const [scope, { keyAt, value: list }] of members(value)) {
        const path = `transports.${transport}[${JSON.stringify(scope)}]`;
        const why = scope === "" ? undefined : neverMatches(transport, scope);
        if (why !== undefined) this.faults.warning(`this scope never matches: ${why}`, path, keyAt);
        this.#requirements(list, { path, transport, scope });
      }
    }
  }

  #requirements(
    list: JsonNode,
    place: { path: string; transport: string; scope: string },
  ): void {
    const elements = list.kind === "array" ? list.elements : [];
    for (const [i, node] of elements.entries()) {
      const path = `${place.path}[${i}]`;
      const type = text(member(node, "type"));
      this.#files(node, path);
      this.#files(member(node, "fulcio"), `${path}.fulcio`);
      this.#files(member(node, "pki"), `${path}.pki`);
      if (type !== "sigstoreSigned") continue;
      const identity = text(member(member(node, "signedIdentity"), "type"));
      if (identity === undefined || !COSIGN_RULES.includes(identity)) {
        const reason = "cosign signs names without a tag, which only matchRepository and " +
          "exactRepository accept";
        this.faults.warning(reason, path, node.at);
      }
      if (place.transport !== "docker" || this.#registries === undefined) continue;
      if (!this.#registries.attachmentsFor(widerScopes(place.scope))) {
        const reason = "registries.d does not enable sigstore attachments for this scope";
        this.faults.warning(reason, path, node.at);
      }
    }
  }

  /** Files that are not there. */
  #files(node: JsonNode | undefined, path: string): void {
    for (const [key, { value }] of members(node)) {
      if (!PATH_FIELDS.includes(key)) continue;
      const named = value.kind === "array" ? value.elements : [value];
      for (const one of named) {
        const file = text(one);
        if (file === undefined || file === "" || exists(file)) continue;
        this.faults.warning(`no such file: ${file}`, `${path}.${key}`, one.at);
      }
    }
  }
}

function member(node: JsonNode | undefined, key: string): JsonNode | undefined {
  return node?.kind === "object" ? node.members.get(key)?.value : undefined;
}

function members(
  node: JsonNode | undefined,
): Iterable<[string, { readonly keyAt: number; readonly value: JsonNode }]> {
  return node?.kind === "object" ? node.members : [];
}

function text(node: JsonNode | undefined): string | undefined {
  return node?.kind === "string" ? node.value : undefined;
}

function acceptsAnything(list: JsonNode): boolean {
  return list.kind === "array" && list.elements.length > 0 &&
    list.elements.every((node) => text(member(node, "type")) === "insecureAcceptAnything");
}

function exists(path: string): boolean {
  return lstatAt(AT_FDCWD, path) !== undefined;
}

/** A scope and those around it, as `registries.d` looks them up. */
function widerScopes(scope: string): string[] {
  const scopes: string[] = [];
  let rest = scope.replace(/(?:@.*|:[^/:]*)$/, (tail) => scope.includes("/") ? "" : tail);
  if (rest !== scope) scopes.push(scope);
  for (;;) {
    scopes.push(rest);
    const slash = rest.lastIndexOf("/");
    if (slash < 0) return scopes;
    rest = rest.slice(0, slash);
  }
}

/** Why no image can have a scope. */
function neverMatches(transport: string, scope: string): string | undefined {
  if (transport === "docker" || transport === "atomic") return neverMatchesName(scope);
  if (!PATH_TRANSPORTS.includes(transport) || !scope.startsWith("/")) return undefined;
  const stat = lstatAt(AT_FDCWD, scope);
  if (stat === undefined) return "there is no such file or directory";
  try {
    const real = Deno.realPathSync(scope);
    return real === scope ? undefined : `its path without symbolic links is ${real}`;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return "it is a symbolic link that leads nowhere";
  }
}

function neverMatchesName(scope: string): string | undefined {
  if (scope.startsWith("*.")) {
    if (scope.includes(":")) return "wildcards are compared with hosts without their port";
    if (scope.slice(2).includes("*") || scope.includes("/")) return WILDCARD;
    return undefined;
  }
  if (scope.includes("*")) return WILDCARD;
  const host = scope.split("/", 1)[0]!;
  const named = /[.:A-Z]/.test(host) || host === "localhost";
  if (!named) return "names are completed first, so that it would have to begin with a host";
  return undefined;
}

const WILDCARD = "a wildcard is the first label of a host, and nothing follows the host";
