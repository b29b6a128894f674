/** Registering tests that run only where fs-verity is real. */
import "../helpers/libraries.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TempDir } from "../helpers/temp.ts";

const VERITY_DIR = Deno.env.get("CFS_VERITY_DIR");

/** Registers a test that gets a fresh directory on the verity file system. */
export function verityTest(
  name: string,
  { tools, fn }: {
    tools: string[];
    fn: (dir: TempDir, t: Deno.TestContext) => void | Promise<void>;
  },
): void {
  if (VERITY_DIR === undefined) return;
  testWith({
    name,
    needs: tools.map(needTool),
    async fn(t) {
      using dir = new TempDir({ dir: VERITY_DIR });
      await fn(dir, t);
    },
  });
}
