/** Values for completion that come from a repository or are known beforehand. */
import { ComposefsError } from "../lib/base/mod.ts";
import type { Repository } from "../lib/repository/mod.ts";
import type { Candidate } from "./candidate.ts";
import type { Context } from "./context.ts";
import type { CompletionSource } from "./declare.ts";

/** Digits that tell a digest apart for people. */
const SHORT = 12;
const LAYER_STREAM = "oci-layer-";

/** Sources whose values are in a repository. */
type RepositorySource = Exclude<
  CompletionSource,
  "file" | "directory" | "image-path" | "source" | "destination" | "platform" | "xattrs"
>;

const FIXED: Readonly<Partial<Record<CompletionSource, readonly Candidate[]>>> = {
  // Looking into the image takes longer than pressing a key may.
  "image-path": [],
  platform: ["amd64", "arm64", "arm/v7", "ppc64le", "riscv64", "s390x"].map((name) => ({
    value: `linux/${name}`,
    description: "",
  })),
  xattrs: [
    { value: "allowlist-only", description: "Drop what depends on the host (default)" },
    { value: "keep-user-xattrs", description: "Keep user.* as well" },
  ],
};

/** Where images come from and go to; the paths of some can be completed. */
const TRANSPORTS: readonly (Candidate & { path: boolean; writable: boolean })[] = [
  { value: "docker://", description: "A registry", path: false, writable: true },
  { value: "oci:", description: "An OCI layout directory", path: true, writable: true },
  {
    value: "oci-archive:",
    description: "An OCI layout in a tar archive",
    path: true,
    writable: true,
  },
  { value: "dir:", description: "A directory of blobs", path: true, writable: true },
  {
    value: "docker-archive:",
    description: "What docker save writes",
    path: true,
    writable: false,
  },
  {
    value: "docker-daemon:",
    description: "The Docker daemon, by skopeo",
    path: false,
    writable: false,
  },
];

/** Directory entries that continue a path. */
function paths(prefix: string, partial: string): Candidate[] {
  const slash = partial.lastIndexOf("/") + 1;
  const directory = partial.slice(0, slash);
  try {
    return [...Deno.readDirSync(directory || ".")]
      .map(({ name, isDirectory }) => ({
        value: prefix + directory + name + (isDirectory ? "/" : ""),
        description: "",
      }))
      .sort((a, b) => a.value < b.value ? -1 : 1);
  } catch (error) {
    // What cannot be listed completes to nothing.
    if (error instanceof Error) return [];
    throw error;
  }
}

function transports(current: string, options: { writable: boolean }): Candidate[] {
  const offered = TRANSPORTS.filter(({ writable }) => writable || !options.writable);
  const transport = offered.find(({ value }) => current.startsWith(value));
  if (transport === undefined) return offered;
  const { value, path } = transport;
  return path ? paths(value, current.slice(value.length)) : [];
}

function imageNames(repository: Repository): Candidate[] {
  return repository.listImages().flatMap(({ name, digest }) => {
    const description = digest.slice(0, SHORT);
    const ref = { value: `refs/${name}`, description };
    return name.includes("/") ? [ref] : [{ value: name, description }, ref];
  });
}

function streamNames(repository: Repository): Candidate[] {
  const refs = repository.listRefs("streams").map(({ name, entry }) => ({
    value: `refs/${name}`,
    description: entry,
  }));
  const entries = repository.listStreams().map((value) => ({ value, description: "" }));
  return [...refs, ...entries];
}

async function tagNames(repository: Repository): Promise<Candidate[]> {
  const { listTags } = await import("../lib/oci/mod.ts");
  return listTags(repository).map(({ name, manifest }) => ({
    value: name,
    description: manifest.encoded.slice(0, SHORT),
  }));
}

async function manifestDigests(repository: Repository, prefix: string): Promise<Candidate[]> {
  const { listTags } = await import("../lib/oci/mod.ts");
  const names = new Map<string, string[]>();
  for (const { name, manifest } of listTags(repository)) {
    const digest = manifest.toString();
    names.set(digest, [...names.get(digest) ?? [], name]);
  }
  return [...names].map(([digest, tags]) => ({
    value: prefix + digest,
    description: tags.join(", "),
  }));
}

async function commitNames(repository: Repository, withIds: boolean): Promise<Candidate[]> {
  const { listCommits, listCommitTags } = await import("../lib/ostree/mod.ts");
  const tags = listCommitTags(repository).map(({ name, commit }) => ({
    value: name,
    description: commit.slice(0, SHORT),
  }));
  const ids = withIds ? listCommits(repository) : [];
  return [...tags, ...ids.map((value) => ({ value, description: "" }))];
}

async function remoteNames(repository: Repository): Promise<Candidate[]> {
  const { RemoteStore } = await import("../lib/ostree/mod.ts");
  return new RemoteStore(repository.directory).list().map(({ name, options }) => ({
    value: name,
    description: options.get("url") ?? "",
  }));
}

async function fromRepository(
  repository: Repository,
  source: RepositorySource,
): Promise<Candidate[]> {
  switch (source) {
    case "image":
      return imageNames(repository);
    case "stream":
      return streamNames(repository);
    case "root":
      return [...imageNames(repository), ...streamNames(repository)];
    case "tag":
      return await tagNames(repository);
    case "manifest":
      return await manifestDigests(repository, "");
    case "tag-or-source":
      return await tagNames(repository);
    case "tag-or-manifest":
      return [...await tagNames(repository), ...await manifestDigests(repository, "@")];
    case "ostree-tag":
      return await commitNames(repository, false);
    case "ostree-commit":
      return await commitNames(repository, true);
    case "ostree-remote":
      return await remoteNames(repository);
    case "layer":
      return repository.listStreams().filter((name) => name.startsWith(LAYER_STREAM)).map((
        name,
      ) => ({
        value: name.slice(LAYER_STREAM.length),
        description: "",
      }));
  }
}

/**
 * Values of a kind.
 *
 * @param source The kind.
 * @param options `context`: its global options choose the repository; `current`: what is typed.
 */
export async function candidatesOf(
  source: CompletionSource,
  options: { context: Context; current: string },
): Promise<readonly Candidate[]> {
  const { context, current } = options;
  if (source === "source") return transports(current, { writable: false });
  if (source === "destination") return transports(current, { writable: true });
  const fixed = FIXED[source];
  if (fixed !== undefined) return fixed;
  const named = await namesInRepository(source as RepositorySource, context);
  return source === "tag-or-source"
    ? [...named, ...transports(current, { writable: false })]
    : named;
}

async function namesInRepository(
  source: RepositorySource,
  context: Context,
): Promise<readonly Candidate[]> {
  const { openRepository } = await import("./open_repository.ts");
  context.globals = { ...context.globals, noUpgrade: true, quiet: true };
  try {
    using repository = openRepository(context, { noWait: true });
    return await fromRepository(repository, source);
  } catch (error) {
    // Pressing a key must not show errors: without a readable repository there are no values.
    if (error instanceof ComposefsError) return [];
    throw error;
  }
}
