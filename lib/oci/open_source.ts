/** Opening an image reference by its transport (spec: oci 5). */
import { UnsupportedError, withContext } from "../base/mod.ts";
import type { Repository } from "../repository/mod.ts";
import { openArchive } from "./archive.ts";
import { openLayout } from "./layout.ts";
import { LocalSource } from "./local_source.ts";
import {
  type ImageReference,
  type LayoutReference,
  parseImageReference,
  parseLayoutReference,
} from "./reference.ts";
import type { ImageSource } from "./source.ts";

/** How sources are opened. */
export interface SourceOptions {
  /** Gives up everything when aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Repository that keeps unfinished downloads. @default none: they are not kept */
  readonly repository?: Repository | undefined;
}

type ParsedSource = LayoutReference & Pick<ImageReference, "transport">;

/**
 * Opens the source that a reference means.
 *
 * @throws {InvalidNameError} for a bad reference
 * @throws {UnsupportedError} for a transport that is not there
 */
export async function openSource(
  reference: string,
  _options: SourceOptions = {},
): Promise<ImageSource> {
  const { transport, path, select } = parseSource(reference);
  if (transport === "oci") return new LocalSource(openLayout(path), { transport, select });
  if (transport === "oci-archive") {
    return new LocalSource(await openArchive(path), { transport, select });
  }
  throw new UnsupportedError(`Transport ${transport}: is not supported yet`);
}

function parseSource(reference: string): ParsedSource {
  try {
    const { transport, rest } = parseImageReference(reference);
    return { transport, ...parseLayoutReference(rest) };
  } catch (cause) {
    throw withContext("Parsing image reference transport", cause);
  }
}
