/** Where policies and their companions are on a machine (spec: trust 1, 7). */
import { NotFoundError } from "../base/mod.ts";
import { listKeyDirectory, readKeyFile } from "../signature/mod.ts";
import { policyFiles, processPlaces, type TrustPlaces } from "./places/mod.ts";
import { INSECURE_POLICY, type Policy } from "./policy.ts";
import { parsePolicy } from "./policy_parse.ts";

/** A policy and where it is from. */
export interface LoadedPolicy {
  /** The policy. */
  readonly policy: Policy;
  /** Its file; `undefined` for `--insecure-policy`. */
  readonly file: string | undefined;
}

/** Which policy to load. */
export interface PolicyChoice {
  /** A file, which must be there. */
  readonly path?: string | undefined;
  /** No file at all: everything is accepted. */
  readonly insecure?: boolean | undefined;
  /** Where files are looked for. @default those of the process */
  readonly places?: TrustPlaces | undefined;
}

/**
 * Loads the policy that applies.
 *
 * @returns `undefined` when no file was named and there is none
 * @throws {NotFoundError} when the named file is not there
 * @throws {FormatError} when it is invalid, naming the place
 */
export function findPolicy(choice: PolicyChoice = {}): LoadedPolicy | undefined {
  if (choice.insecure) return { policy: INSECURE_POLICY, file: undefined };
  const { path } = choice;
  const candidates = path === undefined ? policyFiles(choice.places ?? processPlaces()) : [path];
  for (const file of candidates) {
    const bytes = readKeyFile(file);
    if (bytes !== undefined) return { policy: parsePolicy(bytes, file), file };
  }
  if (path === undefined) return undefined;
  throw new NotFoundError("policy", path, { message: `open ${path}: no such file or directory` });
}

/** The directory with `registries.d` files that applies; `undefined` when there is none. */
export function registriesDirectory(places: TrustPlaces): string | undefined {
  const { home, root = "" } = places;
  const user = home === undefined ? [] : [`${home}/.config/containers/registries.d`];
  return [...user, `${root}/etc/containers/registries.d`].find((dir) =>
    listKeyDirectory(dir) !== undefined
  );
}

/** Where simple signatures are kept when nothing says where. */
export function defaultLookaside(places: TrustPlaces): string {
  const { home, isRoot } = places;
  if (isRoot || home === undefined) return "file:///var/lib/containers/sigstore";
  return `file://${home}/.local/share/containers/sigstore`;
}
