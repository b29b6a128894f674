/** Advice by what kind of failure it is, never by what its message says. */
import {
  ComposefsError,
  DigestMismatchError,
  type ErrorDetail,
  FormatError,
  NotFoundError,
} from "../lib/base/mod.ts";
import type { ErrnoError } from "../ffi/mod.ts";

/** What went wrong: the error itself and all of its causes, outermost first. */
type Chain = readonly Error[];

/** Which failures there is advice for, and the advice. */
type Hint = readonly [(chain: Chain) => boolean, (program: string) => string];

/** System calls that only those who may mount can make. */
const MOUNT_CALLS = new Set([
  "fsconfig",
  "fsmount",
  "fsopen",
  "mount",
  "mount_setattr",
  "move_mount",
  "open_tree",
  "umount2",
  "unshare",
]);

function hasDetail(detail: ErrorDetail): (chain: Chain) => boolean {
  return (chain) => chain.some((at) => at instanceof ComposefsError && at.detail === detail);
}

/** That something of one of these kinds is not there. */
function lacks(...kinds: string[]): (chain: Chain) => boolean {
  return (chain) => chain.some((at) => at instanceof NotFoundError && kinds.includes(at.kind));
}

/** That a system call failed in one of these ways. */
function hasErrno(name: string, calls?: ReadonlySet<string>): (chain: Chain) => boolean {
  return (chain) =>
    chain.some((at) =>
      isErrnoError(at) && at.errnoName === name && (calls?.has(at.syscall) ?? true)
    );
}

/** Told by its fields: the class would load everything around it. */
function isErrnoError(error: Error): error is ErrnoError {
  return error instanceof ComposefsError && error.code === "CFS_ERRNO" && "errnoName" in error;
}

/** What formats blobs have. */
const BLOB_FORMATS = new Set(["blob", "gzip", "zstd"]);

/** Whether something that came with a pull is not what was announced. */
function sourceLies(chain: Chain): boolean {
  return hasDetail("pull-failed")(chain) &&
    chain.some((at) =>
      at instanceof DigestMismatchError && at.what !== "object" ||
      at instanceof FormatError && BLOB_FORMATS.has(at.format)
    );
}

function either(...tests: ((chain: Chain) => boolean)[]): (chain: Chain) => boolean {
  return (chain) => tests.some((test) => test(chain));
}

/** The first that fits is shown. */
const HINTS: readonly Hint[] = [
  [
    lacks("image"),
    (program) => `"${program} images" lists the image names, "refs/a/b" is one with a slash`,
  ],
  [
    lacks("tag"),
    (program) => `"${program} oci images" lists the tags, "@sha256:…" names a manifest`,
  ],
  [
    lacks("delta base", "delta layer"),
    (program) => `"${program} oci pull" of the old image first, or of the new image without delta`,
  ],
  [lacks("EROFS image"), (program) => `"${program} oci pull" of the same image makes it`],
  [
    lacks("meta.json"),
    (program) => `"${program} init PATH" makes a repository, --repo names another one`,
  ],
  [
    hasDetail("repository-unopened"),
    (program) => `--repo, --user or --system choose the repository, "${program} init" makes one`,
  ],
  [
    hasDetail("repository-without-verity"),
    (program) => `"${program} init" on a file system with fs-verity makes one that is`,
  ],
  [
    hasDetail("file-system-without-verity"),
    (program) =>
      `"${program} init --insecure" does without fs-verity, "tune2fs -O verity DEVICE" gives it to ext4`,
  ],
  [hasErrno("EPERM", MOUNT_CALLS), () => "mounting needs root (CAP_SYS_ADMIN)"],
  [
    hasDetail("no-tls"),
    () => "--tls-verify=false, or insecure = true in registries.conf, allows plain HTTP",
  ],
  [
    hasDetail("unknown-authority"),
    () => "--cert-dir DIR, or /etc/containers/certs.d/HOST, holds authorities as *.crt",
  ],
  [
    hasDetail("access-denied"),
    () => "--creds USER:PASSWORD, --authfile FILE or podman login gives access to a registry",
  ],
  [
    either(hasErrno("EROFS"), hasDetail("read-only")),
    () => "writing needs a writable repository",
  ],
  [
    either(hasErrno("ENOSPC"), hasDetail("no-space")),
    (program) => `"${program} gc" frees what nothing refers to`,
  ],
  [
    hasDetail("policy-refused"),
    (program) =>
      `"${program} trust show" tells the policy, "${program} trust check" what it makes of the image`,
  ],
  [
    lacks("policy"),
    () => "policy.json says which images are let in, --insecure-policy lets in any this once",
  ],
  [
    hasDetail("no-transport"),
    () =>
      "docker://NAME is an image in a registry, oci:PATH and oci-archive:PATH are on this machine",
  ],
  [
    lacks("ostree commit", "ostree tag"),
    (program) => `"${program} ostree images" lists the tags of commits`,
  ],
  [lacks("ostree ref"), (program) => `"${program} ostree list-refs" lists what a repository has`],
  [
    lacks("ostree remote"),
    (program) => `"${program} ostree remote add" makes one, a URL is pulled from without`,
  ],
  [
    hasDetail("images-damaged"),
    (program) => `"${program} oci repair IMAGE --from SOURCE" fetches what is damaged`,
  ],
  [hasDetail("padding-lost"), () => "--repair-padding puts the zeros back"],
  [sourceLies, () => "the source is damaged or lies; nothing of it has got a name"],
  [
    (chain) => chain.some((at) => at instanceof DigestMismatchError && at.what !== "input"),
    (program) =>
      `"${program} fsck" names each damaged object, "${program} oci repair" fetches it again`,
  ],
];

/**
 * Advice for a failure, when there is some.
 *
 * @param error What was thrown.
 * @param programName Name the program was called by.
 * @returns One line, or undefined.
 */
export function hintFor(error: unknown, programName: string): string | undefined {
  const chain: Error[] = [];
  for (let at = error; at instanceof Error && !chain.includes(at); at = at.cause) chain.push(at);
  return HINTS.find(([fits]) => fits(chain))?.[1](programName);
}
