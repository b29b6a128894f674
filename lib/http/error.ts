/** Failures of requests (spec: ostree 8). */
import { ComposefsError } from "../base/mod.ts";

/** A URL as messages may show it: no user, no password, no values of the query. */
export function shownUrl(url: URL): string {
  const query = url.search === "" ? "" : "?…";
  return `${url.protocol}//${url.host}${url.pathname}${query}`;
}

/** Words of a server, of which terminals take some for commands. */
function shown(message: string): string {
  // deno-lint-ignore no-control-regex
  return message.replace(/[\x00-\x1f\x7f-\x9f]/g, "?");
}

/** What is known of a failure. */
export interface HttpErrorOptions extends ErrorOptions {
  /** Status of the answer. */
  readonly status?: number;
  /** Beginning of the answer's body. */
  readonly body?: string;
}

/** A request that failed for good. */
export class HttpError extends ComposefsError {
  /** The URL, without credentials. */
  readonly url: string;
  /** Status of the answer; `undefined` when there was none that counts. */
  readonly status: number | undefined;
  readonly #body: string;

  /**
   * Creates an error; its code is `CFS_NOT_FOUND` for the states 404 and 410.
   *
   * @param url shown without its credentials
   * @param message says what went wrong; the URL is added
   */
  constructor(url: URL, message: string, options: HttpErrorOptions = {}) {
    const { status, body = "" } = options;
    const code = status === 404 || status === 410 ? "CFS_NOT_FOUND" : "CFS_FAILED";
    super(code, `${shown(message)} for url (${shownUrl(url)})`, options);
    this.url = shownUrl(url);
    this.status = status;
    this.#body = body;
  }

  /** Beginning of the answer's body, for whoever knows its format; not shown by itself. */
  get body(): string {
    return this.#body;
  }

  /** The facts of the error as plain data. */
  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), url: this.url, status: this.status };
  }
}

/** The error for an answer with a status that is no success. */
export function statusError(
  url: URL,
  answer: { status: number; statusText: string },
  body = "",
): HttpError {
  const { status } = answer;
  const side = status >= 500 ? "server error" : status >= 400 ? "client error" : "unexpected";
  const text = `${status} ${answer.statusText.slice(0, 80)}`.trimEnd();
  return new HttpError(url, `HTTP status ${side} (${text})`, { status, body });
}
