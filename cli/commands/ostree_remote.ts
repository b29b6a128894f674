import { resolve } from "node:path/posix";
import { InvalidNameError } from "../../lib/base/mod.ts";
import {
  gpgKeyFiles,
  GpgKeyring,
  isSignType,
  keyPolicy,
  Remote,
  remoteGroup,
  RemoteStore,
} from "../../lib/ostree/mod.ts";
import { Argument, type CommandUnknownOpts, Option } from "../commander.ts";
import type { Context } from "../context.ts";
import { collect, newCommand, withNotes } from "../declare.ts";
import { UsageError } from "../errors.ts";
import { openRepository } from "../open_repository.ts";

const DESCRIPTION = `Add, list, show or delete the ostree remotes of the repository

A remote has a name and options, which are those of ostree's configs: where it is, how it is talked
to, and who must have signed its commits. Unless gpg-verify is off, they need a GPG signature by a
key that is imported here, or by one of those that ostree trusts on this machine.`;

const ACTIONS = ["add", "list", "show", "delete"] as const;

interface RemoteArguments {
  set?: string[] | undefined;
  gpgVerify?: boolean | undefined;
  gpgImport?: string[] | undefined;
  signVerify?: string[] | undefined;
  contenturl?: string | undefined;
  force?: boolean | undefined;
  ifNotExists?: boolean | undefined;
  ifExists?: boolean | undefined;
  showUrls?: boolean | undefined;
  json?: boolean | undefined;
}

/** `KEY=VALUE`. */
function splitAssignment(text: string): [key: string, value: string] {
  const equals = text.indexOf("=");
  if (equals > 0) return [text.slice(0, equals), text.slice(equals + 1)];
  throw new InvalidNameError(`Missing '=' in '${text.slice(0, 80)}'`);
}

/** The options of a remote that `--sign-verify TYPE=inline:KEY` or `TYPE=file:PATH` mean. */
function signOptions(values: readonly string[]): [string, string][] {
  const types = new Set<string>();
  const out: [string, string][] = [];
  for (const [type, value] of values.map(splitAssignment)) {
    const match = /^(inline|file):(.+)$/.exec(value);
    if (!isSignType(type) || match === null) {
      throw new InvalidNameError(`Invalid --sign-verify '${type}=${value}'`);
    }
    // A key that cannot be used is better noticed now than at the first pull.
    keyPolicy({ signKeys: [`${type}:${value}`] });
    const [, how, key] = match;
    const option = `verification-${type}-${how === "inline" ? "key" : "file"}`;
    if (out.some(([known]) => known === option)) {
      throw new InvalidNameError(`More than one --sign-verify ${type}=${how}:`);
    }
    types.add(type);
    // Pulls may start in another directory.
    out.push([option, how === "file" ? resolve(key!) : key!]);
  }
  return types.size === 0 ? [] : [["sign-verify", [...types].join(";")], ...out];
}

async function add(
  store: RemoteStore,
  operands: readonly string[],
  options: RemoteArguments & { context: Context },
): Promise<void> {
  const [name, url, ...branches] = operands;
  if (name === undefined || url === undefined) throw new UsageError("NAME and URL are needed");
  const entries = new Map<string, string>([["url", url]]);
  if (branches.length > 0) entries.set("branches", `${branches.join(";")};`);
  if (options.contenturl !== undefined) entries.set("contenturl", options.contenturl);
  if (options.gpgVerify === false) entries.set("gpg-verify", "false");
  for (const [key, value] of signOptions(options.signVerify ?? [])) entries.set(key, value);
  for (const [key, value] of (options.set ?? []).map(splitAssignment)) entries.set(key, value);
  const remote = new Remote(name, entries);
  if (options.ifNotExists && store.has(name)) return;
  const { gpgImport = [], force = false } = options;
  if (gpgImport.length === 0) return store.add(remote, { force });
  const keyring = new GpgKeyring(gpgImport.flatMap(gpgKeyFiles));
  const keys = await keyring.fingerprints();
  store.add(remote, { force, keyring: await keyring.toBytes() });
  const what = keys.length === 1 ? "key" : "keys";
  options.context.stdout.line(`Imported ${keys.length} GPG ${what} to remote "${name}"`);
}

function list(store: RemoteStore, options: RemoteArguments & { context: Context }): void {
  const { stdout } = options.context;
  const remotes = store.list();
  if (options.json) {
    return stdout.json({
      remotes: remotes.map(({ name, options }) => ({ name, url: options.get("url") ?? null })),
    });
  }
  const width = Math.max(0, ...remotes.map(({ name }) => name.length));
  for (const { name, options: entries } of remotes) {
    stdout.line(options.showUrls ? `${name.padEnd(width)}  ${entries.get("url") ?? ""}` : name);
  }
}

async function show(
  store: RemoteStore,
  name: string,
  options: RemoteArguments & { context: Context },
): Promise<void> {
  const { stdout } = options.context;
  const remote = store.get(name);
  const bytes = store.keyring(name);
  const keys = bytes === undefined
    ? []
    : await new GpgKeyring([{ name: `keys of ${name}`, bytes }]).fingerprints();
  if (options.json) {
    return stdout.json({ name, options: Object.fromEntries(remote.options), gpg_keys: keys });
  }
  stdout.line(`[${remoteGroup(name)}]`);
  for (const [key, value] of remote.options) stdout.line(`${key}=${value}`);
  for (const key of keys) stdout.line(`# GPG key ${key}`);
}

/** Declares `ostree remote`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("remote")
    .description(DESCRIPTION)
    .addArgument(new Argument("<ACTION>", "What to do").choices(ACTIONS))
    .argument("[NAME]", "The remote's name")
    .argument("[URL]", "For add: where it is; also mirrorlist=URL or metalink=URL")
    .argument("[BRANCH...]", "For add: the refs it is for")
    .addOption(
      new Option("--set <KEY=VALUE>", "add: set an option (may be repeated)").argParser(collect),
    )
    .option("--no-gpg-verify", "add: commits need no GPG signature")
    .addOption(
      new Option("--gpg-import <PATH>", "add: trust the GPG keys in this file (may be repeated)")
        .argParser(collect),
    )
    .addOption(
      new Option(
        "--sign-verify <TYPE=KEY>",
        "add: commits must be signed by ed25519=inline:KEY or ed25519=file:PATH (may be repeated)",
      ).argParser(collect),
    )
    .option("--contenturl <URL>", "add: where the objects are, when elsewhere")
    .option("--force", "add: replace a remote of that name, with its keys")
    .option("--if-not-exists", "add: do nothing when there is a remote of that name")
    .option("--if-exists", "delete: do nothing when there is no remote of that name")
    .option("-u, --show-urls", "list: with their URLs")
    .option("--json", "list and show: output as JSON")
    .action(async (action, name, url, branches: string[], given) => {
      using repository = openRepository(context);
      const store = new RemoteStore(repository.directory);
      const options = { ...given, context };
      if (action === "list") return list(store, options);
      if (name === undefined) throw new UsageError("NAME is needed");
      if (action === "show") return await show(store, name, options);
      repository.assertWritable();
      if (action === "add") {
        return await add(store, [name, ...url === undefined ? [] : [url], ...branches], options);
      }
      if (!options.ifExists || store.has(name)) store.delete(name);
    });
  return withNotes(declared, {
    examples: [
      "cfs --repo r ostree remote add --gpg-import key.asc origin https://example.org/repo",
      "cfs --repo r ostree remote list -u",
      "cfs --repo r ostree remote show origin",
    ],
    complete: { "1": "ostree-remote", "--gpg-import": "file" },
  });
}
