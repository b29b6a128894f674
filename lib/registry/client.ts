/** Where images of registries are, and access to them (spec: oci 6). */
import { PolicyError } from "../base/mod.ts";
import { HttpClient, type HttpClientOptions } from "../http/mod.ts";
import { type Credentials, RegistryAuth } from "./auth.ts";
import { findCredentials } from "./auth_files.ts";
import { hostCertificates, systemAuthorities } from "./certificates.ts";
import { RegistryHost } from "./host.ts";
import { type Place, RegistriesConf } from "./registries_conf.ts";
import { apiHost, type DockerReference, wanted } from "./reference.ts";
import { type FetchOptions, RemoteRepository } from "./repository.ts";
import { defaultSurroundings, type Surroundings } from "./surroundings.ts";

/** How registries are talked to. */
export interface RegistryClientOptions {
  /**
   * Shown to the registries that references name, not to other places that registries.conf leads to:
   * for those, and when it is missing, files are looked at. `"none"` shows nothing to anybody.
   */
  readonly credentials?: Credentials | "none" | undefined;
  /** File with credentials, in place of the usual ones. */
  readonly authFile?: string | undefined;
  /** Whether files of the system, which bootc uses, are looked at, too. @default false */
  readonly systemAuth?: boolean | undefined;
  /** Whether registries must show trusted certificates; `undefined` leaves it to registries.conf. */
  readonly tlsVerify?: boolean | undefined;
  /** Directory with certificates, in place of the usual ones. */
  readonly certDir?: string | undefined;
  /** Most bytes a second, for each registry. */
  readonly limitRate?: number | undefined;
  /** Requests to one host at a time. @default 16 */
  readonly requests?: number | undefined;
  /** How often and after what time requests are tried again, and when they count as halted. */
  readonly http?: Pick<
    HttpClientOptions,
    "retries" | "backoff" | "stall" | "userAgent" | "onRetry"
  >;
  /** Gives up everything when aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Variables and directories of the user. @default those of the process */
  readonly surroundings?: Surroundings | undefined;
}

/** Registries, as many as are asked for; holds connections, so it is to be closed. */
export class RegistryClient implements Disposable {
  readonly #options: RegistryClientOptions;
  readonly #surroundings: Surroundings;
  readonly #hosts = new Map<string, Promise<RegistryHost>>();
  readonly #credentials = new Map<string, Promise<Credentials | undefined>>();
  #conf: RegistriesConf | undefined;
  #stranger: HttpClient | undefined;
  #closed = false;

  /** Nothing is read and nobody is asked yet. */
  constructor(options: RegistryClientOptions = {}) {
    this.#options = options;
    this.#surroundings = options.surroundings ?? defaultSurroundings();
  }

  /**
   * A repository for reading: of the mirrors, then the place itself, the first one that has what
   * the reference names.
   *
   * @throws {PolicyError} when registries.conf blocks it
   * @throws {RegistryError} when no place has it
   * @throws {FormatError} when registries.conf cannot be understood
   */
  async repository(
    reference: DockerReference,
    options: FetchOptions = {},
  ): Promise<RemoteRepository> {
    const places = this.#places(reference);
    const failures: unknown[] = [];
    for (const [index, place] of places.entries()) {
      const last = index === places.length - 1;
      try {
        const repository = await this.#open(reference, place);
        if (places.length > 1) await repository.manifest(wanted(place.reference), options);
        this.#chain(repository, places.slice(index + 1));
        return repository;
      } catch (error) {
        if (options.signal?.aborted || this.#options.signal?.aborted) throw error;
        // The next place may have it; what the mirrors said stays behind the last error.
        if (!last) failures.push(error);
        else if (failures.length === 0) throw error;
        else throw withMirrors(error, failures);
      }
    }
    throw new TypeError("No place to look at");
  }

  /**
   * A repository for writing: the place itself, never a mirror.
   *
   * @throws as {@linkcode RegistryClient.repository}
   */
  async target(reference: DockerReference): Promise<RemoteRepository> {
    return await this.#open(reference, this.#places(reference).at(-1)!);
  }

  #places(reference: DockerReference): readonly Place[] {
    this.#conf ??= RegistriesConf.load(this.#surroundings);
    const found = this.#conf.places(reference);
    if (found.blocked !== undefined) {
      throw new PolicyError(`Registry ${found.blocked.prefix} is blocked in ${found.blocked.file}`);
    }
    return found.places;
  }

  async #open(reference: DockerReference, place: Place): Promise<RemoteRepository> {
    const { tlsVerify } = this.#options;
    const insecure = tlsVerify === undefined ? place.insecure : !tlsVerify;
    const physical = place.reference;
    const host = await this.#host(apiHost(physical.domain), physical.domain, insecure);
    const auth = new RegistryAuth(host.client, {
      host: physical.domain,
      secure: host.secure,
      credentials: () => this.#login(physical, reference),
    });
    auth.learn(host.headers);
    const stranger = () => this.#stranger ??= new HttpClient(this.#http());
    return new RemoteRepository({ reference, physical, host, auth, stranger });
  }

  /** Tells a repository where to go on for what it lacks. */
  #chain(repository: RemoteRepository, places: readonly Place[]): void {
    const [place, ...rest] = places;
    if (place === undefined) return;
    let opened: Promise<RemoteRepository> | undefined;
    const open = async () => {
      const next = await this.#open(repository.reference, place);
      this.#chain(next, rest);
      return next;
    };
    repository.place.next = () => opened ??= open();
  }

  #http(): HttpClientOptions {
    const { http, limitRate, requests, signal } = this.#options;
    return {
      ...http,
      ...(limitRate === undefined ? {} : { limitRate }),
      ...(requests === undefined ? {} : { requests }),
      ...(signal === undefined ? {} : { signal }),
    };
  }

  #host(name: string, domain: string, insecure: boolean): Promise<RegistryHost> {
    if (this.#closed) throw new TypeError("The registry client was closed");
    const key = `${insecure} ${name}`;
    let host = this.#hosts.get(key);
    if (host === undefined) {
      const { certDir } = this.#options;
      const found = hostCertificates(domain, { certDir, surroundings: this.#surroundings });
      const authorities = [...systemAuthorities(this.#surroundings), ...found.authorities];
      const { clientCert } = found;
      host = RegistryHost.open(name, {
        insecure,
        http: {
          ...this.#http(),
          ...(authorities.length === 0 ? {} : { caCerts: authorities }),
          ...(clientCert === undefined ? {} : { clientCert }),
        },
      });
      this.#hosts.set(key, host);
      // Somebody who asks again later may have better luck.
      host.catch(() => this.#hosts.delete(key));
      if (this.#closed) host.then((open) => open[Symbol.dispose](), () => {});
    }
    return host;
  }

  #login(
    { domain, name }: DockerReference,
    typed: DockerReference,
  ): Promise<Credentials | undefined> {
    const { credentials, authFile, systemAuth } = this.#options;
    if (credentials === "none") return Promise.resolve(undefined);
    // Who gave them meant the registry that was named, and no mirror of somebody else's.
    if (credentials !== undefined && domain === typed.domain) return Promise.resolve(credentials);
    let found = this.#credentials.get(name);
    if (found === undefined) {
      const surroundings = this.#surroundings;
      found = findCredentials(name, { authFile, systemAuth, surroundings });
      this.#credentials.set(name, found);
    }
    return found;
  }

  /** Closes the connections. */
  [Symbol.dispose](): void {
    this.#closed = true;
    for (const host of this.#hosts.values()) {
      // Those that could not be opened have closed themselves.
      host.then((open) => open[Symbol.dispose](), () => {});
    }
    this.#hosts.clear();
    this.#stranger?.[Symbol.dispose]();
    this.#stranger = undefined;
  }
}

/** The last place's error with those of the mirrors behind it. */
function withMirrors(error: unknown, mirrors: unknown[]): unknown {
  if (!(error instanceof Error)) return error;
  const told = mirrors.map((one) => one instanceof Error ? one.message : String(one));
  error.message += ` (mirrors before: ${told.join("; ")})`;
  return error;
}
