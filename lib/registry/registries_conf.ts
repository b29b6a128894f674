/** `registries.conf`: where names lead, mirrors, what is blocked (containers-registries.conf(5)). */
import { FormatError, InvalidNameError } from "../base/mod.ts";
import { isRecord } from "./json.ts";
import { type DockerReference, formatDockerReference, parseDockerReference } from "./reference.ts";
import { configHomeOf, listOptional, readOptional, type Surroundings } from "./surroundings.ts";
import { parse, TomlError } from "./_toml.ts";

const MAX_FILE = 1024 * 1024;
const FORMAT = "registries.conf";

/** Which references a mirror serves. */
type Pulls = "all" | "digest-only" | "tag-only";

/** Another place of a registry's repositories. */
export interface Endpoint {
  /** What takes the place of the prefix. */
  readonly location: string;
  /** Whether it need not show a trusted certificate. */
  readonly insecure: boolean;
  /** For which references it is asked. */
  readonly pulls: Pulls;
}

/** One `[[registry]]`. */
export interface RegistryEntry {
  /** What names begin with, or `*.` and a domain. */
  readonly prefix: string;
  /** The place itself. */
  readonly endpoint: Endpoint;
  /** Whether nothing of it may be pulled. */
  readonly blocked: boolean;
  /** Its mirrors, to be asked before. */
  readonly mirrors: readonly Endpoint[];
  /** The file it is from. */
  readonly file: string;
}

/** One place that a reference leads to. */
export interface Place {
  /** The reference there. */
  readonly reference: DockerReference;
  /** Whether the place need not show a trusted certificate. */
  readonly insecure: boolean;
}

/** All places that a reference leads to. */
export interface Places {
  /** Mirrors first, the place itself last. */
  readonly places: readonly Place[];
  /** The entry that forbids it. */
  readonly blocked: RegistryEntry | undefined;
}

/** What the files together say. */
export class RegistriesConf {
  readonly #entries: ReadonlyMap<string, RegistryEntry>;

  /** Takes entries; a later one replaces an earlier one with the same prefix. */
  constructor(entries: Iterable<RegistryEntry>) {
    this.#entries = new Map(Array.from(entries, (entry) => [entry.prefix, entry]));
  }

  /**
   * Reads the user's file, else the machine's, and what is in the directories beside both.
   *
   * @throws {FormatError} when a file cannot be understood
   */
  static load(surroundings: Surroundings): RegistriesConf {
    const config = configHomeOf(surroundings);
    const user = config === undefined ? undefined : `${config}/containers/registries.conf`;
    const system = `${surroundings.root}/etc/containers/registries.conf`;
    const named = surroundings.variable("CONTAINERS_REGISTRIES_CONF");
    const entries: RegistryEntry[] = [];
    const mains = named !== undefined ? [named] : [user, system];
    for (const path of mains) {
      const text = path === undefined ? undefined : readOptional(path);
      if (path === undefined || text === undefined) continue;
      entries.push(...parseRegistriesConf(text, path));
      break;
    }
    for (const dir of [`${system}.d`, user === undefined ? undefined : `${user}.d`]) {
      if (dir === undefined) continue;
      for (const name of listOptional(dir)) {
        if (!name.endsWith(".conf")) continue;
        entries.push(
          ...parseRegistriesConf(readOptional(`${dir}/${name}`) ?? "", `${dir}/${name}`),
        );
      }
    }
    return new RegistriesConf(entries);
  }

  /** The entry for a reference: of those that match, the one with the longest prefix. */
  entry(reference: DockerReference): RegistryEntry | undefined {
    const text = formatDockerReference(reference);
    let best: RegistryEntry | undefined;
    for (const entry of this.#entries.values()) {
      if (matchedLength(text, entry.prefix) === 0) continue;
      if (best === undefined || entry.prefix.length > best.prefix.length) best = entry;
    }
    return best;
  }

  /**
   * Where a reference leads.
   *
   * @throws {InvalidNameError} when a location makes no name of it
   */
  places(reference: DockerReference): Places {
    const entry = this.entry(reference);
    if (entry === undefined) {
      return { places: [{ reference, insecure: false }], blocked: undefined };
    }
    if (entry.blocked) return { places: [], blocked: entry };
    const text = formatDockerReference(reference);
    const endpoints = [
      ...entry.mirrors.filter(({ pulls }) => serves(pulls, reference)),
      entry.endpoint,
    ];
    const length = matchedLength(text, entry.prefix);
    const places = endpoints.map(({ location, insecure }) => {
      // An entry for all hosts of a domain changes nothing when it has no location.
      const moved = location === "" ? text : location + text.slice(length);
      try {
        return { reference: parseDockerReference(moved), insecure };
      } catch (cause) {
        if (!(cause instanceof InvalidNameError)) throw cause;
        throw new InvalidNameError(`${entry.file}: location "${location}": ${cause.message}`);
      }
    });
    return { places, blocked: undefined };
  }
}

function serves(pulls: Pulls, { digest }: DockerReference): boolean {
  return pulls === "all" || (pulls === "digest-only") === (digest !== undefined);
}

/** Characters of a reference that a prefix stands for; 0 when it does not match. */
function matchedLength(text: string, prefix: string): number {
  if (prefix.startsWith("*.")) {
    const domain = prefix.slice(1);
    const slash = text.indexOf("/");
    const host = text.slice(0, slash < 0 ? text.length : slash);
    const at = host.replace(/:\d+$/, "").length;
    return host.slice(0, at).endsWith(domain) && at > domain.length
      ? at
      : host.endsWith(domain) && host.length > domain.length
      ? host.length
      : 0;
  }
  if (!text.startsWith(prefix)) return 0;
  const next = text[prefix.length];
  return next === undefined || "/:@".includes(next) ? prefix.length : 0;
}

/**
 * Parses one file: `[[registry]]` tables, or the older lists of insecure and blocked registries.
 *
 * @param file its path, for messages
 * @throws {FormatError} naming file and fault
 */
export function parseRegistriesConf(text: string, file: string): RegistryEntry[] {
  if (text.length > MAX_FILE) throw fault(file, `more than ${MAX_FILE} bytes`);
  let document: Record<string, unknown>;
  try {
    document = parse(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    throw fault(file, `line ${cause.line}: ${cause.message.split("\n")[0]}`, cause.line);
  }
  const { registry, registries } = document;
  if (registry !== undefined && registries !== undefined) {
    throw fault(file, "old and new tables of registries are mixed");
  }
  if (registries !== undefined) return olderEntries(registries, file);
  return tablesOf(registry, { file, what: "registry" }).map((table) => entryOf(table, file));
}

function entryOf(table: Record<string, unknown>, file: string): RegistryEntry {
  const location = place(textOf(table, "location", file), file);
  const prefix = place(textOf(table, "prefix", file) || location, file);
  if (prefix === "") throw fault(file, "a registry with neither location nor prefix");
  const wild = prefix.startsWith("*.");
  if (location === "" && !wild) throw fault(file, `registry ${prefix} has no location`);
  if (prefix.includes("*") && (!wild || /[*/]/.test(prefix.slice(1)))) {
    throw fault(file, `prefix ${prefix} must begin with *. and be a domain`);
  }
  const byDigest = flagOf(table, "mirror-by-digest-only", file);
  const mirrors = tablesOf(table["mirror"], { file, what: "mirror" }).map((mirror): Endpoint => {
    const pulls = textOf(mirror, "pull-from-mirror", file);
    const to = place(textOf(mirror, "location", file), file);
    if (to === "") throw fault(file, `a mirror of ${prefix} has no location`);
    if (pulls !== "" && byDigest) {
      throw fault(file, `mirrors of ${prefix}: pull-from-mirror and mirror-by-digest-only`);
    }
    if (pulls !== "" && !isPulls(pulls)) throw fault(file, `pull-from-mirror "${pulls}"`);
    return {
      location: to,
      insecure: flagOf(mirror, "insecure", file),
      pulls: pulls !== "" ? pulls : byDigest ? "digest-only" : "all",
    };
  });
  const insecure = flagOf(table, "insecure", file);
  return {
    prefix,
    endpoint: { location, insecure, pulls: "all" },
    blocked: flagOf(table, "blocked", file),
    mirrors,
    file,
  };
}

/** Entries of the first version of the format: lists of names. */
function olderEntries(registries: unknown, file: string): RegistryEntry[] {
  const lists = isRecord(registries) ? registries : {};
  const namesOf = (list: string): string[] => {
    const table = lists[list];
    const names = isRecord(table) ? table["registries"] ?? [] : [];
    if (!Array.isArray(names) || !names.every((name) => typeof name === "string")) {
      throw fault(file, `registries.${list}: not a list of text`);
    }
    return names.map((name) => place(name, file));
  };
  const insecure = new Set(namesOf("insecure"));
  const blocked = new Set(namesOf("block"));
  return [...insecure.union(blocked)].map((prefix) => ({
    prefix,
    endpoint: { location: prefix, insecure: insecure.has(prefix), pulls: "all" },
    blocked: blocked.has(prefix),
    mirrors: [],
    file,
  }));
}

function isPulls(text: string): text is Pulls {
  return text === "all" || text === "digest-only" || text === "tag-only";
}

/** A place as it is compared: without a slash at the end. */
function place(text: string, file: string): string {
  if (/^https?:\/\//i.test(text)) {
    throw fault(file, `location ${JSON.stringify(text)} has a scheme, which it must not have`);
  }
  return text.replace(/\/+$/, "");
}

function tablesOf(
  value: unknown,
  { file, what }: { file: string; what: string },
): Record<string, unknown>[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every(isRecord)) {
    throw fault(file, `${what} is not a list of tables`);
  }
  return value;
}

function textOf(table: Record<string, unknown>, name: string, file: string): string {
  const value = Object.hasOwn(table, name) ? table[name] : "";
  if (typeof value !== "string") throw fault(file, `${name} is not text`);
  return value.trim();
}

function flagOf(table: Record<string, unknown>, name: string, file: string): boolean {
  const value = Object.hasOwn(table, name) ? table[name] : false;
  if (typeof value !== "boolean") throw fault(file, `${name} is neither true nor false`);
  return value;
}

function fault(file: string, message: string, offset?: number): FormatError {
  return new FormatError(FORMAT, `${file}: ${message}`, offset === undefined ? {} : { offset });
}
