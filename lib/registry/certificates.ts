/** Certificates for registries: `certs.d/HOST[:PORT]`, and the machine's authorities (spec: oci 6). */
import { FormatError } from "../base/mod.ts";
import { configHomeOf, listOptional, readOptional, type Surroundings } from "./surroundings.ts";

/** Files in which systems keep the authorities they trust. */
const SYSTEM_FILES: readonly string[] = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/cert.pem",
];

/** What connections to one registry are made with. */
export interface HostCertificates {
  /** Authorities (PEM) that are trusted besides the machine's. */
  readonly authorities: readonly string[];
  /** What is shown to the registry. */
  readonly clientCert: { readonly cert: string; readonly key: string } | undefined;
}

/** The machine's authorities, since the runtime has only its own; none when there is no such file. */
export function systemAuthorities(surroundings: Surroundings): string[] {
  const named = surroundings.variable("SSL_CERT_FILE");
  const paths = named === undefined
    ? SYSTEM_FILES.map((path) => surroundings.root + path)
    : [named];
  for (const path of paths) {
    const text = readOptional(path);
    if (text !== undefined && isUsable(text)) return [text];
  }
  return [];
}

/**
 * The certificates for a registry: `*.crt` are authorities, `*.cert` with the `*.key` of the same
 * name is what is shown.
 *
 * @param domain host, with its port when it has one
 * @throws {FormatError} when a key or a certificate is missing, or one cannot be read
 */
export function hostCertificates(
  domain: string,
  options: { certDir?: string | undefined; surroundings: Surroundings },
): HostCertificates {
  const { certDir, surroundings } = options;
  for (const dir of certDir === undefined ? usualDirs(domain, surroundings) : [certDir]) {
    const found = readDir(dir);
    if (found !== undefined) return found;
  }
  return { authorities: [], clientCert: undefined };
}

function usualDirs(domain: string, surroundings: Surroundings): string[] {
  const home = configHomeOf(surroundings);
  const { root } = surroundings;
  const bases = [`${root}/etc/containers/certs.d`, `${root}/etc/docker/certs.d`];
  if (home !== undefined) bases.unshift(`${home}/containers/certs.d`);
  return bases.map((base) => `${base}/${domain}`);
}

/** Takes a directory; `undefined` when there is nothing in it. */
function readDir(dir: string): HostCertificates | undefined {
  const names = listOptional(dir);
  const read = (name: string): string => {
    const text = readOptional(`${dir}/${name}`);
    if (text === undefined) throw fault(`${dir}/${name} is not there`);
    return text;
  };
  const authorities: string[] = [];
  let clientCert: HostCertificates["clientCert"];
  for (const name of names) {
    if (name.endsWith(".crt")) {
      const text = read(name);
      if (!isUsable(text)) throw fault(`${dir}/${name} is no certificate`);
      authorities.push(text);
    } else if (name.endsWith(".cert")) {
      const key = name.slice(0, -".cert".length) + ".key";
      if (!names.includes(key)) throw fault(`${dir}/${name} has no ${key} beside it`);
      clientCert ??= { cert: read(name), key: read(key) };
    } else if (name.endsWith(".key")) {
      const cert = name.slice(0, -".key".length) + ".cert";
      if (!names.includes(cert)) throw fault(`${dir}/${name} has no ${cert} beside it`);
    }
  }
  if (clientCert !== undefined && !isUsable(undefined, clientCert)) {
    throw fault(`The certificate and key in ${dir} cannot be used`);
  }
  return authorities.length === 0 && clientCert === undefined
    ? undefined
    : { authorities, clientCert };
}

/** Whether connections can be made with them: the runtime says so. */
function isUsable(authority?: string, clientCert?: { cert: string; key: string }): boolean {
  try {
    const caCerts = authority === undefined ? [] : [authority];
    Deno.createHttpClient({ caCerts, ...clientCert }).close();
    return true;
  } catch (error) {
    // Documented result; the reason is the runtime's business.
    if (error instanceof TypeError || error instanceof Error) return false;
    throw error;
  }
}

function fault(message: string): FormatError {
  return new FormatError("certificates", message);
}
