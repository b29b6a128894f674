/** Getting let in: basic authentication and tokens (spec: oci 6; distribution's token specification). */
import { basicAuth, type HttpClient, HttpError } from "../http/mod.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import { RegistryError, registryError } from "./error.ts";
import { parseRecord, textField } from "./json.ts";

/** How a user shows who it is. */
export type Credentials =
  | { readonly kind: "basic"; readonly user: string; readonly password: string }
  | { readonly kind: "identity"; readonly token: string };

/** Life of a token that does not say how long it lives, in seconds. */
const DEFAULT_LIFE = 60;
/** Longest life that is believed, in seconds. */
const MAX_LIFE = 7 * 24 * 3600;
/** A token is renewed when this part of its life is left. */
const SPARE = 0.1;
const MAX_TOKEN_ANSWER = 256 * 1024;
const CLIENT_ID = "cfs";

/** A token while it lives. */
interface Token {
  readonly text: string;
  /** When it is to be renewed, by the clock of the process. */
  readonly until: number;
}

/** What authentication needs to know of its registry. */
export interface AuthOptions {
  /** Registry, for messages. */
  readonly host: string;
  /** Whether its answers came over verified TLS: then passwords go nowhere in the clear. */
  readonly secure: boolean;
  /** Finds the credentials, when they are needed first. */
  readonly credentials: () => Promise<Credentials | undefined>;
}

/** Access to one registry. */
export class RegistryAuth {
  readonly #client: HttpClient;
  readonly #options: AuthOptions;
  #credentials: Promise<Credentials | undefined> | undefined;
  #known: Credentials | undefined;
  #challenge: Challenge | undefined;
  readonly #tokens = new Map<string, Promise<Token>>();

  /** Starts with nothing that was asked for. */
  constructor(client: HttpClient, options: AuthOptions) {
    this.#client = client;
    this.#options = options;
  }

  /** How requests were authenticated, for messages; nothing secret. */
  get shown(): string {
    const { scheme } = this.#challenge ?? { scheme: "" };
    const known = this.#known;
    if (known === undefined) return scheme === "bearer" ? "with an anonymous token" : ANONYMOUS;
    if (scheme !== "bearer" && scheme !== "basic") return ANONYMOUS;
    return known.kind === "basic" ? `as user ${known.user}` : "with an identity token";
  }

  /** Takes notice of what the registry asks for; returns whether that can be met. */
  learn(headers: Headers): boolean {
    const challenges = parseChallenges(headers.get("www-authenticate") ?? "");
    this.#challenge = challenges.find(({ scheme }) => scheme === "bearer") ??
      challenges.find(({ scheme }) => scheme === "basic");
    return this.#challenge !== undefined;
  }

  /** Value of `Authorization` for something of these scopes; `undefined` when none is needed. */
  async header(scopes: readonly string[]): Promise<string | undefined> {
    const challenge = this.#challenge;
    if (challenge === undefined) return undefined;
    if (challenge.scheme === "basic") {
      const credentials = await this.#login();
      if (credentials?.kind !== "basic") return undefined;
      return basicAuth(credentials.user, credentials.password);
    }
    const key = scopes.join(" ");
    // Whoever comes meanwhile waits for the same token: nothing is awaited before it is noted.
    const asked = this.#tokens.get(key) ?? this.#order(challenge, scopes);
    let token = await asked;
    if (token.until <= performance.now()) {
      const newer = this.#tokens.get(key);
      const fresh = newer === undefined || newer === asked;
      token = await (fresh ? this.#order(challenge, scopes) : newer);
    }
    return `Bearer ${token.text}`;
  }

  /**
   * After a refusal: whether asking again with the next header is worth while.
   *
   * @param sent the header that was refused
   */
  async renew(
    scopes: readonly string[],
    { headers, sent }: { headers: Headers; sent: string | undefined },
  ): Promise<boolean> {
    if (headers.has("www-authenticate") && !this.learn(headers)) return false;
    if (this.#challenge === undefined) return false;
    if (this.#challenge.scheme === "bearer") {
      const key = scopes.join(" ");
      const asked = this.#tokens.get(key);
      const token = await asked;
      const same = this.#tokens.get(key) === asked;
      if (same && token !== undefined && `Bearer ${token.text}` === sent) this.#tokens.delete(key);
      return true;
    }
    return await this.header(scopes) !== sent;
  }

  /** Asks for a token, and notes that it was asked for. */
  #order(challenge: Challenge, scopes: readonly string[]): Promise<Token> {
    const key = scopes.join(" ");
    const asked = this.#fetch(challenge, scopes);
    this.#tokens.set(key, asked);
    asked.catch(() => {
      // Unless somebody has asked again by now.
      if (this.#tokens.get(key) === asked) this.#tokens.delete(key);
    });
    return asked;
  }

  #login(): Promise<Credentials | undefined> {
    this.#credentials ??= this.#options.credentials().then((found) => this.#known = found);
    return this.#credentials;
  }

  async #fetch(challenge: Challenge, scopes: readonly string[]): Promise<Token> {
    const { host, secure } = this.#options;
    const realm = challenge.parameters.get("realm") ?? "";
    const refused = (why: string) =>
      new RegistryError(`Cannot get a token for ${host}: ${why}`, { url: `//${host}` });
    if (!URL.canParse(realm) || !/^https?:$/.test(new URL(realm).protocol)) {
      throw refused("the registry names no token server");
    }
    const url = new URL(realm);
    if (secure && url.protocol === "http:") throw refused("its token server is not secure");
    url.username = url.password = url.hash = "";
    const credentials = await this.#login();
    const service = challenge.parameters.get("service");
    const started = performance.now();
    const answer = await this.#ask(url, { credentials, service, scopes });
    const document = parseRecord(answer, "token");
    const text = textField(document, "token") || textField(document, "access_token") || "";
    // Anything else could not be put into a header.
    if (!/^[\x21-\x7e]+$/.test(text)) throw refused("the token server's answer has no token");
    const said = document["expires_in"];
    const life = typeof said === "number" && said >= 0
      ? Math.max(said, DEFAULT_LIFE)
      : DEFAULT_LIFE;
    return { text, until: started + Math.min(life, MAX_LIFE) * 1000 * (1 - SPARE) };
  }

  async #ask(
    url: URL,
    { credentials, service, scopes }: {
      credentials: Credentials | undefined;
      service: string | undefined;
      scopes: readonly string[];
    },
  ): Promise<Uint8Array> {
    const maxSize = MAX_TOKEN_ANSWER;
    const identity = credentials?.kind === "identity" ? credentials.token : undefined;
    const form = identity === undefined ? url.searchParams : new URLSearchParams();
    if (service !== undefined) form.set("service", service);
    if (identity === undefined) { for (const scope of scopes) form.append("scope", scope); }
    else if (scopes.length > 0) form.set("scope", scopes.join(" "));
    const headers: Record<string, string> = {};
    if (credentials?.kind === "basic") {
      form.set("account", credentials.user);
      headers["authorization"] = basicAuth(credentials.user, credentials.password);
    }
    if (identity !== undefined) {
      form.set("grant_type", "refresh_token");
      form.set("refresh_token", identity);
      form.set("client_id", CLIENT_ID);
      headers["content-type"] = "application/x-www-form-urlencoded";
    }
    const { host } = this.#options;
    const what = `a token for ${host}`;
    const access = credentials === undefined ? ANONYMOUS : this.shown;
    const { status, bytes } = await this.#client.request(url, {
      headers,
      maxSize,
      ...(identity === undefined ? {} : { method: "POST", body: form.toString(), secret: true }),
    }).catch((error: unknown) => {
      throw error instanceof HttpError ? registryError(error, { what, access }) : error;
    });
    if (status === 200) return bytes;
    const body = new TextDecoder().decode(bytes);
    const error = new HttpError(url, "Token refused", { status, body });
    throw registryError(error, { what, access });
  }
}

const ANONYMOUS = "without credentials";
