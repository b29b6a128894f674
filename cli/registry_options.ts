/**
 * The options of commands that talk to registries, named as skopeo and podman have them.
 *
 * @module
 */
import { InvalidNameError } from "../lib/base/mod.ts";
import type { RegistryAccess } from "../lib/transport/mod.ts";
import { type Command, type CommandUnknownOpts, Option } from "./commander.ts";
import type { Context } from "./context.ts";
import { parsed } from "./declare.ts";

const UNITS: Readonly<Record<string, number>> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

function parseBoolean(text: string): boolean {
  if (text === "true" || text === "1") return true;
  if (text === "false" || text === "0") return false;
  throw new InvalidNameError("expected true or false");
}

function parseRate(text: string): number {
  const match = /^([1-9][0-9]{0,11})([kmg]?)$/i.exec(text);
  if (match === null) throw new InvalidNameError("expected a number of bytes, as 500K or 10M");
  return Number(match[1]) * UNITS[match[2]!.toLowerCase()]!;
}

/** What the options were given as. */
export type RegistryValues = {
  /** Value of `--creds`; false for `--no-creds`. */
  readonly creds?: string | boolean;
  /** Value of `--authfile`. */
  readonly authfile?: string;
  /** Value of `--tls-verify`; `true` without one. */
  readonly tlsVerify?: boolean;
  /** Value of `--cert-dir`. */
  readonly certDir?: string;
  /** Value of `--limit-rate` in bytes a second. */
  readonly limitRate?: number;
};

/**
 * Adds the options to a command.
 *
 * @param command The command, declared so far.
 */
export function withRegistryOptions<A extends unknown[], O extends Record<string, unknown>>(
  command: Command<A, O>,
): Command<A, O & RegistryValues> {
  // Types are said here and not worked out: for options of an unknown command that takes minutes.
  const plain = command as unknown as CommandUnknownOpts;
  plain
    .option("--creds <USER:PASSWORD>", "Credentials for the registry")
    .option("--no-creds", "Show the registry no credentials")
    .option("--authfile <FILE>", "File with credentials, in place of the usual ones")
    .addOption(
      new Option("--tls-verify [BOOLEAN]", "Whether registries must show trusted certificates")
        .argParser(parsed(parseBoolean)),
    )
    .option("--cert-dir <DIR>", "Directory with certificates, in place of the usual ones")
    .addOption(
      new Option("--limit-rate <BYTES>", "Most bytes a second, as 500K or 10M")
        .argParser(parsed(parseRate)),
    );
  return command as unknown as Command<A, O & RegistryValues>;
}

/**
 * How registries are to be talked to.
 *
 * @param context The command's context: the system's repository has credentials of its own.
 * @param values The options that were given.
 * @throws {InvalidNameError} for credentials without a name
 */
export async function registryAccess(
  context: Context,
  values: RegistryValues,
): Promise<RegistryAccess> {
  return {
    credentials: await credentialsOf(values),
    authFile: values.authfile,
    systemAuth: context.globals.system ?? false,
    tlsVerify: values.tlsVerify,
    certDir: values.certDir,
    limitRate: values.limitRate,
  };
}

async function credentialsOf({ creds }: RegistryValues): Promise<RegistryAccess["credentials"]> {
  if (creds === false) return "none";
  if (typeof creds !== "string") return undefined;
  // Loaded when needed: most commands talk to no registry.
  const { parseCredentials } = await import("../lib/registry/mod.ts");
  return parseCredentials(creds);
}
