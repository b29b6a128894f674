/** What registries say went wrong (spec: oci 6; distribution-spec, error codes). */
import { ComposefsError, type ErrorDetail } from "../base/mod.ts";
import type { HttpError } from "../http/mod.ts";
import { isRecord, parseJson } from "./json.ts";

/** Faults of one answer that are kept. */
const MAX_ERRORS = 5;
const MAX_TEXT = 300;

/** One fault, as the registry names it. */
export interface RegistryFault {
  /** Its code, for example `MANIFEST_UNKNOWN`; empty when there is none. */
  readonly code: string;
  /** The registry's own words. */
  readonly message: string;
}

/** What the codes mean. */
const MEANINGS: Readonly<Record<string, string>> = {
  BLOB_UNKNOWN: "blob unknown",
  BLOB_UPLOAD_INVALID: "blob upload invalid",
  BLOB_UPLOAD_UNKNOWN: "blob upload unknown",
  DENIED: "access denied",
  DIGEST_INVALID: "digest did not match the content",
  MANIFEST_BLOB_UNKNOWN: "manifest names a blob that the registry does not have",
  MANIFEST_INVALID: "manifest invalid",
  MANIFEST_UNKNOWN: "manifest unknown",
  MANIFEST_UNVERIFIED: "manifest failed verification",
  NAME_INVALID: "invalid repository name",
  NAME_UNKNOWN: "repository unknown",
  SIZE_INVALID: "size did not match the content",
  TOOMANYREQUESTS: "too many requests",
  UNAUTHORIZED: "authentication required",
  UNSUPPORTED: "operation unsupported",
};

/** What statuses mean when the registry says nothing more. */
const STATUS_MEANINGS: Readonly<Record<number, string>> = {
  401: "authentication required",
  403: "access denied",
  404: "not found",
  429: "too many requests",
};

/** A registry that refused or failed. */
export class RegistryError extends ComposefsError {
  /** Where the answer came from: the URL without anything secret. */
  readonly url: string;
  /** Status of the answer; `undefined` when there was none. */
  readonly status: number | undefined;
  /** What the registry said, in its order. */
  readonly faults: readonly RegistryFault[];

  /** Creates an error; its code is `CFS_NOT_FOUND` for what the registry does not have. */
  constructor(
    message: string,
    options: ErrorOptions & {
      detail?: ErrorDetail | undefined;
      url: string;
      status?: number | undefined;
      faults?: readonly RegistryFault[];
    },
  ) {
    const { url, status, faults = [] } = options;
    super(status === 404 || status === 410 ? "CFS_NOT_FOUND" : "CFS_FAILED", message, options);
    this.url = url;
    this.status = status;
    this.faults = faults;
  }

  /** The registry's first code; empty when it gave none. */
  get registryCode(): string {
    return this.faults[0]?.code ?? "";
  }

  /** The facts of the error as plain data. */
  override toJSON(): Record<string, unknown> {
    const { url, status, faults } = this;
    return { ...super.toJSON(), url, status, faults };
  }
}

/**
 * The faults in the body of an answer: `{"errors":[{"code","message"}]}`, or what token servers
 * write; none when it is something else.
 */
export function parseFaults(body: string): RegistryFault[] {
  const document = parseJson(body);
  if (!isRecord(document)) return [];
  const { errors } = document;
  if (!Array.isArray(errors)) {
    const message = textOf(document["message"] ?? document["error_description"] ?? "") ||
      textOf(document["details"]) || textOf(document["error"]);
    return message === "" ? [] : [{ code: "", message }];
  }
  const faults: RegistryFault[] = [];
  for (const fault of errors.slice(0, MAX_ERRORS)) {
    if (!isRecord(fault)) continue;
    const code = textOf(fault["code"]);
    const message = textOf(fault["message"]);
    if (code !== "" || message !== "") faults.push({ code, message });
  }
  return faults;
}

/** Text of a server as messages may show it. */
function textOf(value: unknown): string {
  if (typeof value !== "string") return "";
  // deno-lint-ignore no-control-regex
  return value.slice(0, MAX_TEXT).replace(/[\x00-\x1f\x7f-\x9f]+/g, " ").trim();
}

/**
 * The error for a request that a registry refused.
 *
 * @param what what was asked for, for example `latest in quay.io/x/y`
 * @param access how it was asked for, for example `without credentials`
 */
export function registryError(
  cause: HttpError,
  { what, access }: { what: string; access: string },
): RegistryError {
  const { status, url } = cause;
  if (status === undefined || status < 400) {
    // The message has all there is to say, so there is no cause to say it again.
    const { message, detail } = unreached(cause);
    return new RegistryError(`${what}: ${message}`, { url, status, detail });
  }
  const faults = parseFaults(cause.body);
  const said = faults.map(({ code, message }) => {
    const meaning = MEANINGS[code] ?? code.toLowerCase().replaceAll("_", " ");
    const same = message === "" || message.toLowerCase() === meaning;
    return same ? meaning : meaning === "" ? message : `${meaning} (${message})`;
  });
  const reason = said.length > 0 ? said.join("; ") : STATUS_MEANINGS[status] ??
    (status >= 500 ? "the registry failed" : "the registry refused");
  const message = `${reason}: ${what} (status ${status} from ${hostOf(url)}, ${access})`;
  const denied = status === 401 || status === 403 || faults.some(({ code }) => DENIALS.has(code));
  const detail = denied ? "access-denied" : undefined;
  return new RegistryError(message, { url, status, faults, cause, detail });
}

/** Codes that say that who asks is not known, or not allowed to. */
const DENIALS: ReadonlySet<string> = new Set(["DENIED", "UNAUTHORIZED"]);

/** What the runtime's words for a failed connection mean; it has nothing else to tell. */
function unreached(
  { message, url }: HttpError,
): { message: string; detail?: ErrorDetail | undefined } {
  if (/InvalidContentType|corrupt message/.test(message)) {
    return { message: `it does not speak TLS (${url})`, detail: "no-tls" };
  }
  if (/UnknownIssuer/.test(message)) {
    const text = `its certificate is from an unknown authority (${url})`;
    return { message: text, detail: "unknown-authority" };
  }
  return { message };
}

function hostOf(url: string): string {
  return new URL(url).origin;
}
