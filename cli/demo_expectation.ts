import { fileURLToPath } from "node:url";

/** Folder of the demo image. */
export const DEMO = fileURLToPath(new URL("../fixtures/demo/", import.meta.url));

/** What the reference implementation computed for the demo image. */
export interface DemoExpectation {
  /** Digest of the manifest. */
  readonly manifest: string;
  /** fs-verity digest of the EROFS image. */
  readonly image: string;
  /** The files of the image as a dumpfile. */
  readonly dump: string;
}

interface Recorded {
  pulled: Record<string, { manifest: string }>;
  imageIds: { hash: string; erofsVersion: number; xattrs: string; id: string }[];
}

/** What is recorded with the demo image, for the repository that the demonstration makes. */
export function recordedExpectation(): DemoExpectation {
  const recorded: Recorded = JSON.parse(Deno.readTextFileSync(`${DEMO}expected.json`));
  const row = recorded.imageIds.find(({ hash, erofsVersion, xattrs }) =>
    hash === "sha256" && erofsVersion === 1 && xattrs === "allowlist-only"
  );
  return {
    manifest: recorded.pulled.sha256!.manifest,
    image: row!.id,
    dump: Deno.readTextFileSync(`${DEMO}expected.dump`),
  };
}
