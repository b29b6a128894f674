/** Reading `policy.json` (spec: trust 2). */
import { FormatError, InvalidNameError } from "../base/mod.ts";
import { DockerName, isNamePrefix } from "./docker_name.ts";
import { Faults, formatFault, kindOf, type PolicyFault } from "./faults.ts";
import { Fields } from "./fields.ts";
import { JsonError, type JsonNode, jsonText, parseStrictJson } from "./json.ts";
import {
  type FulcioTrust,
  type IdentityRule,
  KEY_TYPES,
  type KeySource,
  type KeyType,
  type PkiTrust,
  type Policy,
  type Requirement,
  type SigstoreSigned,
} from "./policy.ts";
import { isValidScope } from "./scopes.ts";

/** A policy with everything that is wrong with it. */
export interface PolicyReading {
  /** The policy; only to be used when there are no errors. */
  readonly policy: Policy;
  /** The faults, in the order of reading. */
  readonly faults: readonly PolicyFault[];
  /** Where each list of demands is, by transport and scope; the default under `""` and `""`. */
  readonly text: string;
}

const WHAT = "policy.json";

/**
 * Reads a policy.
 *
 * @param name what it is called in errors, usually its path
 * @throws {FormatError} `invalid policy in "NAME": REASON`, with the place, for the first fault
 */
export function parsePolicy(bytes: Uint8Array, name: string): Policy {
  const { policy, faults } = readPolicy(bytes);
  const [fault] = faults.filter(({ severity }) => severity === "error");
  if (fault === undefined) return policy;
  throw new FormatError(WHAT, `invalid policy in ${JSON.stringify(name)}: ${formatFault(fault)}`);
}

/** Reads a policy and gathers all its faults. */
export function readPolicy(bytes: Uint8Array): PolicyReading {
  let text = "";
  let faults = new Faults(text);
  const policy: Policy = { default: [], transports: new Map() };
  try {
    text = jsonText(bytes, WHAT);
    faults = new Faults(text);
    return {
      policy: new Reading(faults).policy(parseStrictJson(text, WHAT)),
      faults: faults.found,
      text,
    };
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    faults.error(error.message, "", error.offset ?? 0);
    return { policy, faults: faults.found, text };
  }
}

const NO_KEYS: KeySource = { paths: [], data: [] };
const DEFAULT_IDENTITY: IdentityRule = { type: "matchRepoDigestOrExact" };

/** Field names of a way to name keys or certificates. */
interface SourceFields {
  readonly path?: string;
  readonly paths?: string;
  readonly data?: string;
  readonly datas?: string;
}

const SIGNED_BY_KEYS: SourceFields = { path: "keyPath", paths: "keyPaths", data: "keyData" };
const SIGSTORE_KEYS: SourceFields = { ...SIGNED_BY_KEYS, datas: "keyDatas" };
const REKOR_KEYS: SourceFields = {
  path: "rekorPublicKeyPath",
  paths: "rekorPublicKeyPaths",
  data: "rekorPublicKeyData",
  datas: "rekorPublicKeyDatas",
};
const FULCIO_CA: SourceFields = { path: "caPath", data: "caData" };
const PKI_ROOTS: SourceFields = { path: "caRootsPath", data: "caRootsData" };
const PKI_INTERMEDIATES: SourceFields = {
  path: "caIntermediatesPath",
  data: "caIntermediatesData",
};

class Reading {
  readonly #faults: Faults;

  constructor(faults: Faults) {
    this.#faults = faults;
  }

  policy(root: JsonNode): Policy {
    const transports = new Map<string, ReadonlyMap<string, readonly Requirement[]>>();
    const fields = Fields.of(root, "", this.#faults);
    if (fields === undefined) return { default: [], transports };
    fields.only(["default", "transports"]);
    const fallback = fields.node("default");
    const requirements = fallback === undefined
      ? fields.fault("Default policy is missing") ?? []
      : this.#requirements(fallback, "default");
    const node = fields.node("transports");
    const named = node === undefined ? undefined : Fields.of(node, "transports", this.#faults);
    for (const { key, value } of named?.entries() ?? []) {
      transports.set(key, this.#scopes(value, key));
    }
    return { default: requirements, transports };
  }

  #scopes(node: JsonNode, transport: string): Map<string, readonly Requirement[]> {
    const path = `transports.${/^[\w-]+$/.test(transport) ? transport : JSON.stringify(transport)}`;
    const scopes = new Map<string, readonly Requirement[]>();
    const fields = Fields.of(node, path, this.#faults);
    for (const { key, keyAt, value } of fields?.entries() ?? []) {
      const place = `${path}[${JSON.stringify(key)}]`;
      // The reference says it like this, as a scope that is not allowed is a key that is not.
      if (!isValidScope(transport, key)) {
        this.#faults.error(`Unknown key ${JSON.stringify(key)}`, place, keyAt);
      }
      scopes.set(key, this.#requirements(value, place));
    }
    return scopes;
  }

  #requirements(node: JsonNode, path: string): Requirement[] {
    if (node.kind !== "array" && node.kind !== "null") {
      return this.#faults.error(`array expected, got ${kindOf(node)}`, path, node.at) ?? [];
    }
    const elements = node.kind === "array" ? node.elements : [];
    if (elements.length === 0) {
      const reason = "List of verification policy requirements must not be empty";
      this.#faults.error(reason, path, node.at);
    }
    return elements.map((element, i) => this.#requirement(element, `${path}[${i}]`))
      .filter((requirement) => requirement !== undefined);
  }

  #requirement(node: JsonNode, path: string): Requirement | undefined {
    const fields = Fields.of(node, path, this.#faults);
    if (fields === undefined) return undefined;
    const typeNode = fields.node("type");
    const type = fields.string("type");
    if (type === undefined && typeNode !== undefined && typeNode.kind !== "null") return undefined;
    switch (type) {
      case "insecureAcceptAnything":
      case "reject":
        fields.only(["type"]);
        return { type };
      case "signedBy":
        return this.#signedBy(fields);
      case "sigstoreSigned":
        return this.#sigstoreSigned(fields);
      case "signedBaseLayer": {
        fields.only(["type", "baseLayerIdentity"]);
        const identity = fields.node("baseLayerIdentity");
        if (identity === undefined) {
          return fields.fault('Key "baseLayerIdentity" missing in a JSON object');
        }
        this.#identityAt(identity, fields.pathOf("baseLayerIdentity"));
        return { type };
      }
      default: {
        const reason = `Unknown policy requirement type ${JSON.stringify(type ?? "")}`;
        return fields.fault(reason, fields.has("type") ? "type" : undefined);
      }
    }
  }

  #signedBy(fields: Fields): Requirement {
    fields.only(["type", "keyType", "keyPath", "keyPaths", "keyData", "signedIdentity"]);
    const keyType = fields.string("keyType") ?? "";
    if (keyType === "") fields.fault('invalid keyType ""');
    else if (!(KEY_TYPES as readonly string[]).includes(keyType)) {
      fields.fault(`Unrecognized keyType value ${JSON.stringify(keyType)}`, "keyType");
    }
    const identity = this.#identity(fields);
    const names = ["keyPath", "keyPaths", "keyData"];
    const given = names.filter((name) => fields.has(name));
    const { source, count } = this.#source(fields, SIGNED_BY_KEYS);
    if (given.length !== 1) {
      const how = given.length === 0 ? "none of them present" : "more than one present";
      fields.fault(
        `Exactly one of keyPath, keyPaths and keyData must be specified, ${how}`,
        given[1],
      );
    } else if (count !== 1) {
      fields.fault("exactly one of keyPath, keyPaths and keyData must be specified", given[0]);
    }
    return { type: "signedBy", keyType: keyType as KeyType, keys: source, identity };
  }

  #sigstoreSigned(fields: Fields): Requirement | undefined {
    const keyNames = Object.values(SIGSTORE_KEYS) as string[];
    const rekorNames = Object.values(REKOR_KEYS) as string[];
    fields.only(["type", ...keyNames, "fulcio", "pki", ...rekorNames, "signedIdentity"]);
    const identity = this.#identity(fields);
    const { source: keys, count } = this.#source(fields, SIGSTORE_KEYS);
    const fulcio = this.#member(fields, "fulcio");
    const pki = this.#member(fields, "pki");
    const ways = count + Number(fulcio !== undefined) + Number(pki !== undefined);
    if (ways !== 1) {
      fields.fault(
        "exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio, and pki must be specified",
      );
    }
    for (const name of ["keyPaths", "keyDatas", "rekorPublicKeyPaths", "rekorPublicKeyDatas"]) {
      if (fields.strings(name)?.length === 0) fields.fault(`"${name}" contains no entries`, name);
    }
    const rekor = this.#source(fields, REKOR_KEYS);
    if (rekor.count > 1) {
      fields.fault(
        "at most one of rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData and " +
          "rekorPublicKeyDatas can be specified",
      );
    }
    if (fulcio !== undefined && rekor.count === 0) {
      fields.fault(
        "At least one of rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData and " +
          "rekorPublicKeyDatas must be specified if fulcio is used",
        "fulcio",
      );
    }
    if (pki !== undefined && rekor.count > 0) {
      fields.fault("rekorPublicKey* are not supported if pki is used", "pki");
    }
    const trust: SigstoreSigned["trust"] = fulcio !== undefined
      ? this.#fulcio(fulcio)
      : pki !== undefined
      ? this.#pki(pki)
      : { kind: "keys", keys };
    return {
      type: "sigstoreSigned",
      trust,
      rekor: rekor.count === 0 ? undefined : rekor.source,
      identity,
    };
  }

  /** A member that is an object; `undefined` when it is unset or something else. */
  #member(fields: Fields, key: string): Fields | undefined {
    const node = fields.node(key);
    if (node === undefined || node.kind === "null") return undefined;
    return Fields.of(node, fields.pathOf(key), this.#faults);
  }

  #fulcio(fields: Fields): FulcioTrust {
    fields.only(["caPath", "caData", "oidcIssuer", "subjectEmail"]);
    const { source, count } = this.#source(fields, FULCIO_CA);
    if (count === 0) fields.fault("At least one of caPath and caData must be specified");
    if (count > 1) fields.fault("caPath and caData cannot be used simultaneously");
    const oidcIssuer = fields.string("oidcIssuer") ?? "";
    if (oidcIssuer === "") fields.fault("oidcIssuer not specified");
    const subjectEmail = fields.string("subjectEmail") ?? "";
    if (subjectEmail === "") fields.fault("subjectEmail not specified");
    return { kind: "fulcio", ca: source, oidcIssuer, subjectEmail };
  }

  #pki(fields: Fields): PkiTrust {
    fields.only([
      "caRootsPath",
      "caRootsData",
      "caIntermediatesPath",
      "caIntermediatesData",
      "subjectEmail",
      "subjectHostname",
    ]);
    const roots = this.#source(fields, PKI_ROOTS);
    if (roots.count === 0) {
      fields.fault("At least one of caRootsPath and caRootsData must be specified");
    }
    if (roots.count > 1) fields.fault("caRootsPath and caRootsData cannot be used simultaneously");
    const intermediates = this.#source(fields, PKI_INTERMEDIATES);
    if (intermediates.count > 1) {
      fields.fault("caIntermediatesPath and caIntermediatesData cannot be used simultaneously");
    }
    const subjectEmail = fields.string("subjectEmail") || undefined;
    const subjectHostname = fields.string("subjectHostname") || undefined;
    if (subjectEmail === undefined && subjectHostname === undefined) {
      fields.fault("At least one of subjectEmail and subjectHostname must be specified");
    }
    return {
      kind: "pki",
      roots: roots.source,
      intermediates: intermediates.source,
      subjectEmail,
      subjectHostname,
    };
  }

  /** What the fields name, and how many of them do; an empty path or text names nothing. */
  #source(fields: Fields, names: SourceFields): { source: KeySource; count: number } {
    const path = names.path === undefined ? undefined : fields.string(names.path) || undefined;
    const paths = names.paths === undefined ? undefined : fields.strings(names.paths);
    const data = names.data === undefined ? undefined : fields.bytes(names.data);
    const datas = names.datas === undefined ? undefined : fields.byteList(names.datas);
    const given = [path, paths, data, datas].filter((one) => one !== undefined).length;
    if (given === 0) return { source: NO_KEYS, count: 0 };
    const source = {
      paths: [...path === undefined ? [] : [path], ...paths ?? []],
      data: [...data === undefined ? [] : [data], ...datas ?? []],
    };
    return { source, count: given };
  }

  #identity(fields: Fields): IdentityRule {
    const node = fields.node("signedIdentity");
    if (node === undefined) return DEFAULT_IDENTITY;
    const path = fields.pathOf("signedIdentity");
    return this.#identityAt(node, path) ?? DEFAULT_IDENTITY;
  }

  #identityAt(node: JsonNode, path: string): IdentityRule | undefined {
    if (node.kind === "null") {
      return this.#faults.error('Unknown policy reference match type ""', path, node.at);
    }
    const fields = Fields.of(node, path, this.#faults);
    if (fields === undefined) return undefined;
    const type = fields.string("type") ?? "";
    switch (type) {
      case "matchExact":
      case "matchRepoDigestOrExact":
      case "matchRepository":
        fields.only(["type"]);
        return { type };
      case "exactReference": {
        fields.only(["type", "dockerReference"]);
        const reference = this.#name(fields, "dockerReference");
        if (reference === undefined) return undefined;
        if (reference.isExact) return { type, reference };
        const shown = JSON.stringify(fields.string("dockerReference"));
        return fields.fault(
          `dockerReference ${shown} contains neither a tag nor digest`,
          "dockerReference",
        );
      }
      case "exactRepository": {
        fields.only(["type", "dockerRepository"]);
        const repository = this.#name(fields, "dockerRepository");
        return repository === undefined ? undefined : { type, repository };
      }
      case "remapIdentity": {
        fields.only(["type", "prefix", "signedPrefix"]);
        const [prefix, signedPrefix] = ["prefix", "signedPrefix"].map((key) => {
          const text = fields.required(key);
          if (text === undefined || isNamePrefix(text)) return text;
          return fields.fault(`prefix ${JSON.stringify(text)} is not valid`, key);
        });
        if (prefix === undefined || signedPrefix === undefined) return undefined;
        return { type, prefix, signedPrefix };
      }
      default:
        return fields.fault(
          `Unknown policy reference match type ${JSON.stringify(type)}`,
          fields.has("type") ? "type" : undefined,
        );
    }
  }

  #name(fields: Fields, key: string): DockerName | undefined {
    const text = fields.required(key);
    if (text === undefined) return undefined;
    try {
      return DockerName.parse(text);
    } catch (error) {
      if (!(error instanceof InvalidNameError)) throw error;
      return fields.fault(
        `Invalid format of ${key} ${JSON.stringify(text)}: ${error.message}`,
        key,
      );
    }
  }
}
