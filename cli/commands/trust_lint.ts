import { NotFoundError } from "../../lib/base/mod.ts";
import { readKeyFile } from "../../lib/signature/mod.ts";
import {
  formatFault,
  lintPolicy,
  noPolicy,
  policyFiles,
  processPlaces,
  RegistriesD,
} from "../../lib/trust/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { EXIT } from "../exit_codes.ts";
import { printable } from "../printable.ts";
import { registriesDOption } from "../trust_options.ts";

const DESCRIPTION = `Tell all that is wrong or strange in a policy

FILE is policy.json; by default the user's, else the system's. Exits with 1 when it is invalid.`;

function read(file: string | undefined): { file: string; bytes: Uint8Array } {
  for (const path of file === undefined ? policyFiles(processPlaces()) : [file]) {
    const bytes = readKeyFile(path);
    if (bytes !== undefined) return { file: path, bytes };
  }
  if (file === undefined) throw noPolicy();
  throw new NotFoundError("policy", file);
}

/** Declares `trust lint`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("lint")
    .description(DESCRIPTION)
    .argument("[FILE]", "policy.json")
    .addOption(registriesDOption())
    .option("--json", "Output as JSON")
    .action(async (name, options) => {
      const { file, bytes } = read(name);
      const registries = await RegistriesD.load({ directory: options["registries.d"] });
      const faults = lintPolicy(bytes, { registries });
      const valid = faults.every(({ severity }) => severity !== "error");
      if (!valid) context.exitCode = EXIT.failed;
      if (options.json) {
        context.stdout.json({
          file,
          valid,
          faults: faults.map(({ severity, reason, path, position }) => ({
            severity,
            reason,
            path,
            ...position,
          })),
        });
        return;
      }
      for (const fault of faults) {
        context.stdout.line(printable(`${fault.severity}: ${formatFault(fault)}`));
      }
      context.stdout.line(printable(`${file} is ${valid ? "valid" : "invalid"}`));
    });
  return withNotes(declared, {
    examples: ["cfs trust lint", "cfs trust lint policy.json --json"],
    complete: { "0": "file", "--registries.d": "directory" },
  });
}
