/** The fixtures of trust, with the place where they are filled in. */
import { fileURLToPath } from "node:url";

/** Where the fixtures are. */
export const FIXTURES = fileURLToPath(new URL("../../fixtures/trust", import.meta.url));

/** A JSON fixture; `@FIXTURES@` in it becomes the place. */
export function readFixture<T>(name: string): T {
  return JSON.parse(fillIn(Deno.readTextFileSync(`${FIXTURES}/${name}`))) as T;
}

/** Fills the place of the fixtures in. */
export function fillIn(text: string): string {
  return text.replaceAll("@FIXTURES@", FIXTURES);
}
