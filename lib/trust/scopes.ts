/** Which list of demands applies to an image (spec: trust 3). */
import { DockerName } from "./docker_name.ts";
import type { Policy, Requirement } from "./policy.ts";

/** The list that was chosen. */
export interface ChosenScope {
  /** Transport under which it was found; `undefined` for the policy's default. */
  readonly transport: string | undefined;
  /** Its scope; `""` is the whole transport. */
  readonly scope: string;
  /** The demands. */
  readonly requirements: readonly Requirement[];
}

/** An image as policies see it. */
export interface PolicyImage {
  /** The transport's name in policies. */
  readonly transport: string;
  /** Scopes that apply to it, the most specific first, without `""`. */
  readonly scopes: readonly string[];
  /** Its name in a registry, with a tag or digest; others have none. */
  readonly name: DockerName | undefined;
  /** Transport and name as they are shown. */
  readonly shown: string;
}

/** Chooses the most specific list; nothing is inherited. */
export function chooseRequirements(policy: Policy, image: PolicyImage): ChosenScope {
  const scopes = policy.transports.get(image.transport);
  for (const scope of scopes === undefined ? [] : [...image.scopes, ""]) {
    const requirements = scopes!.get(scope);
    if (requirements !== undefined) return { transport: image.transport, scope, requirements };
  }
  return { transport: undefined, scope: "", requirements: policy.default };
}

/**
 * An image in a registry.
 *
 * @param name as the user typed it, before mirrors
 */
export function dockerImage(name: DockerName): PolicyImage {
  const exact = name.withLatest();
  return {
    transport: "docker",
    scopes: [exact.toString(), ...nameScopes(exact)],
    name: exact,
    shown: `docker://${exact}`,
  };
}

/** Repository, namespaces, host and wildcards, from long to short; also for registries.d. */
export function nameScopes(name: DockerName): string[] {
  const scopes: string[] = [];
  let rest = name.repository;
  for (;;) {
    scopes.push(rest);
    const slash = rest.lastIndexOf("/");
    if (slash < 0) break;
    rest = rest.slice(0, slash);
  }
  let host = rest.replace(/:[0-9]+$/, "");
  for (let dot = host.indexOf("."); dot >= 0; dot = host.indexOf(".")) {
    host = host.slice(dot + 1);
    scopes.push(`*.${host}`);
  }
  return scopes;
}

/** Transports whose images are files or directories with scopes of their own. */
export type PathTransport = "dir" | "oci" | "oci-archive";

/**
 * An image in a file or directory.
 *
 * @param transport `dir`, `oci` or `oci-archive`
 * @param path absolute, with all symbolic links resolved
 */
export function pathImage(transport: PathTransport, path: string): PolicyImage {
  const scopes: string[] = [];
  for (let rest = path; rest !== ""; rest = rest.slice(0, rest.lastIndexOf("/"))) {
    if (rest !== "/") scopes.push(rest);
  }
  return { transport, scopes, name: undefined, shown: `${transport}:${path}` };
}

/** An image of a transport without scopes; `rest` is only shown. */
export function plainImage(transport: string, rest: string): PolicyImage {
  return { transport, scopes: [], name: undefined, shown: `${transport}:${rest}` };
}

const PATH_TRANSPORTS: readonly string[] = ["dir", "oci", "oci-archive", "sif"];
const UNSCOPED: readonly string[] = ["docker-archive", "tarball"];

/** Whether a policy may have this scope for a transport; `""` it always may (spec: trust 2). */
export function isValidScope(transport: string, scope: string): boolean {
  if (scope === "") return true;
  if (PATH_TRANSPORTS.includes(transport)) return isCleanPath(scope);
  if (UNSCOPED.includes(transport)) return false;
  if (transport === "containers-storage") return isStorageScope(scope);
  return true;
}

function isCleanPath(path: string): boolean {
  if (!path.startsWith("/") || path === "/") return false;
  return path.slice(1).split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

/** `[DRIVER@ROOT]` or `[ROOT]`, then nothing or `name[:tag][@digest][@id]`. */
function isStorageScope(scope: string): boolean {
  const store = /^\[(?:([^\]@]+)@)?(\/[^\]]*)\](.*)$/s.exec(scope);
  if (store === null) return false;
  const rest = store[3]!;
  if (rest === "") return true;
  const parts = rest.split("@");
  const [name, ...ids] = parts;
  if (ids.length > 2) return false;
  const id = ids.length === 2 || (ids.length === 1 && !ids[0]!.includes(":"))
    ? ids.pop()
    : undefined;
  if (id !== undefined && !/^[a-f0-9]{64}$/.test(id)) return false;
  try {
    DockerName.parse([name, ...ids].join("@"));
    return true;
  } catch {
    // A name that is none: the only thing that parsing can throw.
    return false;
  }
}
