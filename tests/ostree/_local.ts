/**
 * Local repositories for tests: fixtures with owners and attributes, and composefs repositories.
 *
 * @module
 */
import "../helpers/libraries.ts";
import { ALGORITHMS, ComposefsError, type HashName } from "../../lib/base/mod.ts";
import {
  LocalRepository,
  type OstreePullOptions,
  type OstreePullResult,
  pullCommit,
} from "../../lib/ostree/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { need, needTool } from "../helpers/needs.ts";
import { ROOT, runOk } from "../helpers/run.ts";
import type { TempDir } from "../helpers/temp.ts";

/** Where this area's fixtures are. */
export const FIXTURES = `${ROOT}fixtures/ostree/`;

/** What unpacking a bare repository needs: owners and attributes must come out right. */
export const UNPACKING = [needTool("tar"), need(Deno.uid() === 0, "root")];

/** The commits of the fixtures: what expected outputs call them, and where they are. */
export const SOURCES = [
  { name: "commitA", repo: "archive" },
  { name: "commitA", repo: "bare" },
  { name: "commitB", repo: "archive" },
  { name: "commitB", repo: "bare" },
  { name: "commitB", repo: "bare-user" },
  { name: "commitB", repo: "split-xattrs" },
  { name: "buo", repo: "buo-archive" },
  { name: "buo", repo: "buo" },
  { name: "fb", repo: "fallback" },
  { name: "signed", repo: "signed" },
] as const;

/** Ids of the commits without a ref of their own name. */
export const COMMITS: Readonly<Record<string, string>> = {
  commitA: "07c21df612e3ecd8f5421edbaecf8d762a57859e69c937c95494a9edee43a7b2",
  commitB: "927c5470b98460a6e908a9f8539535def1566d5e11af003872b8ae1e573d9939",
};

/** The text of an expected output. */
export function expected(name: string): string {
  return Deno.readTextFileSync(`${FIXTURES}expected/${name}`);
}

/** Unpacks a repository; returns its path. */
export async function unpackRepository(dir: TempDir, name: string): Promise<string> {
  const path = dir.join(`repo-${name}`);
  try {
    Deno.mkdirSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return path; // unpacked before
    throw error;
  }
  const archive = `${FIXTURES}repos/${name}.tar`;
  const attributes = Deno.uid() === 0 ? ["--xattrs", "--xattrs-include=*"] : ["--no-same-owner"];
  await runOk(["tar", ...attributes, "--numeric-owner", "-xf", archive, "-C", path]);
  return path;
}

let counter = 0;

/** Makes an empty composefs repository and opens it. */
export function newRepository(dir: TempDir, hash: HashName = "sha256"): Repository {
  const path = dir.join(`composefs-${counter++}`);
  initRepository(path, { insecure: true, algorithm: ALGORITHMS[hash] });
  return Repository.open(path);
}

/** Pulls from the repository at a path. */
export async function pullFrom(
  repository: Repository,
  path: string,
  options: OstreePullOptions & { reference: string },
): Promise<OstreePullResult> {
  using source = LocalRepository.open(path);
  return await pullCommit(repository, source, { jobs: 1, ...options });
}

/** All messages of an error and its causes. */
export function messages(error: unknown): string {
  const out: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) out.push(at.message);
  return out.join(": ");
}

/** The messages of what is thrown, which must be an error of ours. */
export async function failure(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    if (error instanceof ComposefsError) return messages(error);
    throw error;
  }
  throw new Error("Nothing was thrown");
}
