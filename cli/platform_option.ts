/** The option that chooses among the images of an index. */
import { parsePlatform } from "../lib/transport/mod.ts";
import { Option } from "./commander.ts";
import { parsed } from "./declare.ts";

/** `--platform`. */
export function platformOption() {
  return new Option("--platform <PLATFORM>", "os/architecture[/variant] to choose from an index")
    .argParser(parsed(parsePlatform));
}
