/** What a server asks for in `WWW-Authenticate` (RFC 9110 11.6.1; spec: oci 6). */

/** Longest header that is looked at; what is behind it is no challenge of a registry. */
const MAX_HEADER = 16 * 1024;
const MAX_CHALLENGES = 16;

/** One challenge. */
export interface Challenge {
  /** The scheme in lower case, for example `bearer`. */
  readonly scheme: string;
  /** Its parameters, names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const PARAMETER = /([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
const BETWEEN = /[ \t,]*/y;
/** Token68, the other form of credentials: taken and dropped. */
const OPAQUE = /[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))/y;

/**
 * Parses the challenges of a header, several of them separated by commas. What follows no rule ends
 * the list: a server that is not understood is one without challenges.
 */
export function parseChallenges(header: string): Challenge[] {
  const text = header.slice(0, MAX_HEADER);
  const challenges: Challenge[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  take(BETWEEN);
  while (at < text.length && challenges.length < MAX_CHALLENGES) {
    const scheme = take(TOKEN);
    if (scheme === null) break;
    const parameters = new Map<string, string>();
    challenges.push({ scheme: scheme[0].toLowerCase(), parameters });
    const next = take(BETWEEN)![0];
    if (!next.includes(",") && take(OPAQUE) !== null) {
      take(BETWEEN);
      continue;
    }
    for (let first = true;; first = false) {
      const before = at;
      const parameter = take(PARAMETER);
      if (parameter === null) break;
      const quoted = take(QUOTED);
      const value = quoted === null ? take(TOKEN)?.[0] : quoted[1]!.replace(/\\(.)/gs, "$1");
      if (value === undefined) {
        // Neither quoted nor a word: the rest is not to be trusted.
        at = first ? text.length : before;
        if (!first) return challenges;
        break;
      }
      const name = parameter[1]!.toLowerCase();
      if (!parameters.has(name)) parameters.set(name, value);
      take(BETWEEN);
    }
  }
  return challenges;
}
