/** The options of remotes, named as in OSTree's config (spec: ostree 8.5, 9.2). */
import { ConflictError, FormatError, InvalidNameError, NotFoundError } from "../base/mod.ts";
import { type Keyfile, keyfileBoolean } from "./keyfile.ts";
import { isSignType } from "./sign_keys.ts";
import type { SignRequirement } from "./verify_policy.ts";

/** What the value of an option must be. */
type OptionKind = "text" | "url" | "boolean" | "sign";

/** An option of a remote that is understood. */
export type RemoteOption =
  | "url"
  | "contenturl"
  | "branches"
  | "proxy"
  | "http2"
  | "tls-permissive"
  | "tls-ca-path"
  | "tls-client-cert-path"
  | "tls-client-key-path"
  | "gpg-verify"
  | "gpg-verify-summary"
  | "gpgkeypath"
  | "sign-verify"
  | "sign-verify-summary"
  | "verification-ed25519-key"
  | "verification-ed25519-file"
  | "verification-spki-key"
  | "verification-spki-file"
  | "unconfigured-state"
  | "custom-backend";

const OPTIONS: Readonly<Record<RemoteOption, OptionKind>> = {
  "url": "url",
  "contenturl": "url",
  "branches": "text",
  "proxy": "text",
  "http2": "boolean",
  "tls-permissive": "boolean",
  "tls-ca-path": "text",
  "tls-client-cert-path": "text",
  "tls-client-key-path": "text",
  "gpg-verify": "boolean",
  "gpg-verify-summary": "boolean",
  "gpgkeypath": "text",
  "sign-verify": "sign",
  "sign-verify-summary": "sign",
  "verification-ed25519-key": "text",
  "verification-ed25519-file": "text",
  "verification-spki-key": "text",
  "verification-spki-file": "text",
  "unconfigured-state": "text",
  "custom-backend": "text",
};

/** Names of the options that are understood. */
export const REMOTE_OPTIONS: readonly RemoteOption[] = Object.keys(OPTIONS) as RemoteOption[];

const MAX_VALUE = 65_536;

/**
 * Checks a remote's name, which becomes part of file names.
 *
 * @throws {InvalidNameError} when it is not allowed
 */
export function checkRemoteName(name: string): void {
  if (/^[A-Za-z0-9_][-._A-Za-z0-9]{0,199}$/.test(name)) return;
  throw new InvalidNameError(`Invalid remote name '${name.slice(0, 80)}'`);
}

/** The group of a config that describes a remote. */
export function remoteGroup(name: string): string {
  return `remote "${name}"`;
}

/** A remote. */
export class Remote {
  /** Its name. */
  readonly name: string;
  /** Its options as written; those that are not understood may be among them. */
  readonly options: ReadonlyMap<string, string>;

  /**
   * A remote with these options; their values are checked when they are asked for.
   *
   * @throws {InvalidNameError} when the name is not allowed
   */
  constructor(name: string, options: ReadonlyMap<string, string>) {
    checkRemoteName(name);
    this.name = name;
    this.options = options;
  }

  /**
   * The remote that a config describes.
   *
   * @throws {NotFoundError} when it describes none of that name
   * @throws {InvalidNameError} when the name is not allowed
   */
  static fromKeyfile(config: Keyfile, name: string): Remote {
    checkRemoteName(name);
    const options = config.get(remoteGroup(name));
    if (options !== undefined) return new Remote(name, options);
    throw new NotFoundError("ostree remote", name, { message: `Remote "${name}" not found` });
  }

  /**
   * Where its repository is: a URL, `mirrorlist=URL` or `metalink=URL`.
   *
   * @throws {ConflictError} when it says itself that it cannot be used as it is
   * @throws {FormatError} when it has no URL
   */
  get url(): string {
    const state = this.text("unconfigured-state");
    if (state) throw new ConflictError(`remote unconfigured-state: ${state}`);
    const backend = this.text("custom-backend");
    if (backend) throw new ConflictError(`Remote "${this.name}" needs the backend '${backend}'`);
    const url = this.text("url");
    if (url) return url;
    throw new FormatError("ostree remote", `Remote "${this.name}" has no url`);
  }

  /** Where its objects and delta parts are, when that is another place. */
  get contentUrl(): string | undefined {
    return this.text("contenturl") || undefined;
  }

  /** Refs that it is for. */
  get branches(): string[] {
    return this.list("branches");
  }

  /**
   * Kinds of signatures that commits need (`sign-verify`).
   *
   * @throws {FormatError} when the option names an unknown kind
   */
  get signVerify(): SignRequirement {
    return this.#sign("sign-verify");
  }

  /**
   * Kinds of signatures that summaries need (`sign-verify-summary`).
   *
   * @throws {FormatError} when the option names an unknown kind
   */
  get signVerifySummary(): SignRequirement {
    return this.#sign("sign-verify-summary");
  }

  /** Value of an option; `undefined` when it is not set. */
  text(option: RemoteOption): string | undefined {
    return this.options.get(option);
  }

  /**
   * Value of a boolean option; `undefined` when it is not set.
   *
   * @throws {FormatError} when it is no boolean
   */
  flag(option: RemoteOption): boolean | undefined {
    const group = remoteGroup(this.name);
    return keyfileBoolean(new Map([[group, this.options]]), group, option);
  }

  /** Parts of a list, which semicolons or commas separate; empty when it is not set. */
  list(option: RemoteOption): string[] {
    return (this.text(option) ?? "").split(/[;,]/).map((part) => part.trim())
      .filter((part) => part !== "");
  }

  /**
   * Checks that all options are understood, and their values. A wrongly spelt option could turn
   * verification off without anyone noticing.
   *
   * @throws {FormatError} naming the option
   */
  check(): void {
    for (const [key, value] of this.options) {
      if (!Object.hasOwn(OPTIONS, key)) {
        throw new FormatError("ostree remote", `Unknown option '${key.slice(0, 80)}' of a remote`);
      }
      if (value.length > MAX_VALUE || /[\0\n\r]/.test(value)) {
        throw new FormatError("ostree remote", `Invalid value of option '${key}'`);
      }
      this.#checkValue(key as RemoteOption, value);
    }
  }

  #checkValue(key: RemoteOption, value: string): void {
    const kind = OPTIONS[key];
    if (kind === "boolean") this.flag(key);
    else if (kind === "sign") this.#sign(key);
    else if (kind === "url" && !URL.canParse(value.replace(/^(?:mirrorlist|metalink)=/, ""))) {
      throw new FormatError("ostree remote", `Invalid ${key} '${value.slice(0, 200)}'`);
    }
  }

  #sign(option: RemoteOption): SignRequirement {
    const text = this.text(option)?.trim();
    if (text === undefined || text === "false" || text === "0") return "off";
    if (text === "true" || text === "1") return "any";
    const types = this.list(option);
    for (const type of types) {
      if (isSignType(type)) continue;
      // Also for a list that names known kinds too: leaving one out would weaken what was asked.
      const message = `Unknown sign type '${type.slice(0, 80)}' in option '${option}'`;
      throw new FormatError("ostree remote", message);
    }
    if (types.length === 0) throw new FormatError("ostree remote", `Option '${option}' is empty`);
    return types.filter(isSignType);
  }
}
