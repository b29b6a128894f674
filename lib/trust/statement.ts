/** Statements that bundles sign (in-toto; spec: trust 8). */
import { FormatError, PolicyError } from "../base/mod.ts";
import { isManifestDigest } from "./check_context.ts";
import { Faults } from "./faults.ts";
import { Fields } from "./fields.ts";
import { JsonError, jsonText, parseStrictJson } from "./json.ts";

/** Payload type of statements. */
export const STATEMENT_PAYLOAD = "application/vnd.in-toto+json";

const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";

/** Kind of statement that cosign makes for an image. */
const IMAGE_PREDICATE = "https://sigstore.dev/cosign/sign/v1";

const WHAT = "in-toto statement";

/** What a statement is about. */
export interface Statement {
  /** Kind of statement. */
  readonly predicateType: string;
  /** SHA-256 digests of its subjects, in hex. */
  readonly subjects: readonly string[];
}

/**
 * Reads a statement; of what it states nothing is read.
 *
 * @throws {FormatError} when it is none
 */
export function parseStatement(bytes: Uint8Array): Statement {
  try {
    const text = jsonText(bytes, WHAT);
    const faults = new Faults(text);
    const root = Fields.of(parseStrictJson(text, WHAT), "", faults);
    root?.only(["_type", "subject", "predicateType", "predicate"]);
    const type = root?.required("_type");
    const predicateType = root?.required("predicateType") ?? "";
    const list = root?.node("subject");
    const elements = list?.kind === "array" ? list.elements : [];
    const subjects = elements.map((element, i) => {
      const subject = Fields.of(element, `subject[${i}]`, faults);
      const digest = subject?.node("digest");
      const fields = digest && Fields.of(digest, `subject[${i}].digest`, faults);
      return fields?.string("sha256") ?? "";
    });
    const [fault] = faults.found;
    if (fault !== undefined) throw new FormatError(WHAT, fault.reason);
    if (type !== STATEMENT_TYPE) throw new FormatError(WHAT, `Unknown statement type ${type}`);
    return { predicateType, subjects };
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new FormatError(WHAT, error.message);
  }
}

/**
 * Checks that a statement is a signature of an image.
 *
 * @throws {PolicyError} when it is something else, or of another image
 */
export function checkImageStatement(statement: Statement, manifest: Uint8Array): void {
  const { predicateType, subjects } = statement;
  if (predicateType !== IMAGE_PREDICATE) {
    throw new PolicyError(`Unrecognized signature type ${predicateType}`);
  }
  if (subjects.some((hex) => isManifestDigest(`sha256:${hex}`, manifest))) return;
  throw new PolicyError(`Signature for digest sha256:${subjects[0] ?? ""} does not match`);
}
