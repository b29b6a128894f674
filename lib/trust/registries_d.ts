/** `registries.d`: where signatures are, by name of the image (spec: trust 7). */
import { FormatError, NotFoundError } from "../base/mod.ts";
import { listKeyDirectory, readKeyFile } from "../signature/mod.ts";
import { parseYaml } from "./_yaml.ts";
import type { DockerName } from "./docker_name.ts";
import { defaultLookaside, registriesDirectory } from "./files.ts";
import { processPlaces, type TrustPlaces } from "./places/mod.ts";
import { nameScopes } from "./scopes.ts";

/** What one section says. */
interface Section {
  readonly file: string;
  readonly lookaside: string | undefined;
  readonly staging: string | undefined;
  readonly attachments: boolean | undefined;
}

/** Where the signatures of an image are. */
export interface SignatureStorage {
  /** Base URL of simple signatures: `file:`, `http:` or `https:`. */
  readonly lookaside: string;
  /** Base URL to which new ones are written. */
  readonly staging: string;
  /** Whether sigstore attachments are looked at; `undefined` when nothing says so. */
  readonly attachments: boolean | undefined;
}

/** Which files to load. */
export interface RegistriesChoice {
  /** A directory, which must be there. @default the user's, else the system's, else none */
  readonly directory?: string | undefined;
  /** Where directories are looked for. @default those of the process */
  readonly places?: TrustPlaces | undefined;
}

const decoder = new TextDecoder();

/** The files of a directory, read. */
export class RegistriesD {
  /** The directory; `undefined` when there is none. */
  readonly directory: string | undefined;
  readonly #fallback: Section | undefined;
  readonly #scopes: ReadonlyMap<string, Section>;
  readonly #builtin: string;

  private constructor(
    directory: string | undefined,
    sections: { fallback: Section | undefined; scopes: Map<string, Section>; builtin: string },
  ) {
    this.directory = directory;
    this.#fallback = sections.fallback;
    this.#scopes = sections.scopes;
    this.#builtin = sections.builtin;
  }

  /**
   * Loads the files that apply.
   *
   * @throws {NotFoundError} when the named directory is not there
   * @throws {FormatError} for a file that is malformed, and for a scope that two files have
   */
  static async load(choice: RegistriesChoice = {}): Promise<RegistriesD> {
    const places = choice.places ?? processPlaces();
    const directory = choice.directory ?? registriesDirectory(places);
    const names = directory === undefined ? [] : listKeyDirectory(directory);
    if (names === undefined) throw new NotFoundError("directory", directory ?? "");
    const scopes = new Map<string, Section>();
    let fallback: Section | undefined;
    for (const name of names) {
      if (!name.endsWith(".yaml")) continue;
      const file = `${directory}/${name}`;
      const document = await readYaml(file);
      const defaults = document["default-docker"];
      if (defaults !== undefined && defaults !== null) {
        if (fallback !== undefined) throw twice("default-docker", fallback.file, file);
        fallback = readSection(defaults, file);
      }
      for (const [scope, section] of Object.entries(asRecord(document["docker"] ?? {}, file))) {
        const other = scopes.get(scope);
        if (other !== undefined) throw twice(`docker namespace ${scope}`, other.file, file);
        scopes.set(scope, readSection(section ?? {}, file));
      }
    }
    return new RegistriesD(directory, { fallback, scopes, builtin: defaultLookaside(places) });
  }

  /**
   * Where the signatures of an image are; each field comes from the most specific scope that has it.
   *
   * @param name the name after mirrors and other locations
   */
  storageFor(name: DockerName): SignatureStorage {
    const exact = name.withLatest();
    const sections = [exact.toString(), ...nameScopes(exact)]
      .map((scope) => this.#scopes.get(scope)).concat(this.#fallback)
      .filter((section) => section !== undefined);
    const first = <T>(pick: (section: Section) => T | undefined): T | undefined =>
      sections.map(pick).find((value) => value !== undefined);
    const lookaside = first((section) => section.lookaside) ?? this.#builtin;
    return {
      lookaside,
      staging: first((section) => section.staging) ?? lookaside,
      attachments: first((section) => section.attachments),
    };
  }

  /** Whether a scope, or one around it, enables sigstore attachments; for what lint says. */
  attachmentsFor(scopes: readonly string[]): boolean {
    const sections = scopes.map((scope) => this.#scopes.get(scope)).concat(this.#fallback);
    return sections.find((section) => section?.attachments !== undefined)?.attachments ?? false;
  }
}

async function readYaml(file: string): Promise<Record<string, unknown>> {
  const bytes = readKeyFile(file) ?? new Uint8Array(0);
  let document: unknown;
  try {
    document = await parseYaml(decoder.decode(bytes));
  } catch (cause) {
    // The library throws errors of its own kinds for what is no YAML.
    throw new FormatError("registries.d", `Invalid YAML in ${file}`, { cause });
  }
  return asRecord(document ?? {}, file);
}

function asRecord(value: unknown, file: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new FormatError("registries.d", `Invalid configuration in ${file}: mapping expected`);
}

function readSection(value: unknown, file: string): Section {
  const section = asRecord(value, file);
  const url = (name: string, old: string): string | undefined => {
    const text = section[name] ?? section[old];
    if (text === undefined || text === null || text === "") return undefined;
    if (typeof text !== "string") {
      throw new FormatError("registries.d", `Invalid configuration in ${file}: ${name} is no text`);
    }
    if (!URL.canParse(text) || !/^(?:file|https?):$/.test(new URL(text).protocol)) {
      const message = `Invalid configuration in ${file}: ${name} is no URL of a kind that is known`;
      throw new FormatError("registries.d", message);
    }
    return text;
  };
  const attachments = section["use-sigstore-attachments"];
  if (attachments !== undefined && attachments !== null && typeof attachments !== "boolean") {
    const message = `Invalid configuration in ${file}: use-sigstore-attachments is no boolean`;
    throw new FormatError("registries.d", message);
  }
  return {
    file,
    lookaside: url("lookaside", "sigstore"),
    staging: url("lookaside-staging", "sigstore-staging"),
    attachments: attachments ?? undefined,
  };
}

function twice(what: string, first: string, second: string): FormatError {
  return new FormatError(
    "registries.d",
    `Error parsing signature storage configuration: ${JSON.stringify(what)} defined both in ` +
      `${JSON.stringify(first)} and ${JSON.stringify(second)}`,
  );
}
