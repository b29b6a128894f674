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

/** What a look at the places shows. */
export type PolicyGlance =
  /** There is no policy. */
  | "none"
  /** The policy accepts everything and says nothing else. */
  | "accepts-everything"
  /** There may be one that has to be read. */
  | "unread";

/**
 * Looks for a policy, and whether it is the one that distributions ship. What cannot be told counts
 * as unread: who reads it says what is wrong with it.
 */
export function glanceAtPolicy(places: TrustPlaces = processPlaces()): PolicyGlance {
  for (const file of policyFiles(places)) {
    try {
      const { isFile, size } = Deno.statSync(file);
      if (!isFile || size > MAX_SHIPPED) return "unread";
      const text = Deno.readTextFileSync(file);
      return SHIPPED.some((one) => one.test(text)) ? "accepts-everything" : "unread";
    } catch (error) {
      // Anything else is told by whoever reads the file.
      if (!(error instanceof Deno.errors.NotFound)) return "unread";
    }
  }
  return "none";
}

/** Largest file that is compared with what distributions ship, in bytes. */
const MAX_SHIPPED = 1024;

const ACCEPT = '[ { "type" : "insecureAcceptAnything" } ]';

/** The policy of Debian and others; some name a transport as well. Nothing between is let pass. */
const SHIPPED = [
  `{ "default" : ${ACCEPT} }`,
  `{ "default" : ${ACCEPT} , "transports" : { "docker-daemon" : { "" : ${ACCEPT} } } }`,
].map(spaced);

/** What matches a text with any JSON white space where it has a space, and around it. */
function spaced(text: string): RegExp {
  const tokens = text.split(" ").map((token) => token.replace(/[[\]{}]/g, "\\$&"));
  return new RegExp(`^[ \\t\\r\\n]*${tokens.join("[ \\t\\r\\n]*")}[ \\t\\r\\n]*$`);
}

/** The error for a policy that is nowhere, in the reference's words. */
export function noPolicy(places: TrustPlaces = processPlaces()): NotFoundError {
  const shown = policyFiles(places).map((file) => JSON.stringify(file)).join(", ");
  return new NotFoundError("policy", "policy.json", {
    message: `no policy.json file found at any of the following: ${shown}`,
  });
}
