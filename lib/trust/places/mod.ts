/**
 * Where policies are looked for, and whether one is there: a narrow door of this room for pulls,
 * most of which find none and then need nothing else of it.
 *
 * @module
 */
import { NotFoundError } from "../../base/mod.ts";

/** The places that are looked at. */
export interface TrustPlaces {
  /** The user's home; `undefined` when there is none. */
  readonly home: string | undefined;
  /** What comes before `/etc`. @default nothing */
  readonly root?: string | undefined;
  /** Whether the user is root. */
  readonly isRoot: boolean;
}

/** The places of the process. */
export function processPlaces(): TrustPlaces {
  return { home: Deno.env.get("HOME") || undefined, isRoot: Deno.uid() === 0 };
}

/** The files that are looked for, in their order; the first that is there is the policy. */
export function policyFiles(places: TrustPlaces): string[] {
  const { home, root = "" } = places;
  const user = home === undefined ? [] : [`${home}/.config/containers/policy.json`];
  return [...user, `${root}/etc/containers/policy.json`];
}

/**
 * Whether there may be a policy in one of the places. What cannot be told counts as one: who reads
 * it says what is wrong with it.
 */
export function mayHavePolicy(places: TrustPlaces = processPlaces()): boolean {
  return policyFiles(places).some((file) => {
    try {
      Deno.statSync(file);
      return true;
    } catch (error) {
      // Anything else is told by whoever reads the file.
      return !(error instanceof Deno.errors.NotFound);
    }
  });
}

/** The error for a policy that is nowhere, in the reference's words. */
export function noPolicy(places: TrustPlaces = processPlaces()): NotFoundError {
  const shown = policyFiles(places).map((file) => JSON.stringify(file)).join(", ");
  return new NotFoundError("policy", "policy.json", {
    message: `no policy.json file found at any of the following: ${shown}`,
  });
}
