/** What a message says, the advice, and what the outermost message must say, too. */
type Hint = readonly [RegExp, (program: string) => string, RegExp?];

/** Advice by what the chain of messages says; the first that fits is shown. */
const HINTS: readonly Hint[] = [
  [
    /image not found/i,
    (program) => `"${program} images" lists the image names, "refs/a/b" is one with a slash`,
  ],
  [
    /OCI reference not found/,
    (program) => `"${program} oci images" lists the tags, "@sha256:…" names a manifest`,
  ],
  [
    /delta is based on an image|Reused layers? .* not found/,
    (program) => `"${program} oci pull" of the old image first, or of the new image without delta`,
  ],
  [
    /No composefs EROFS image linked/i,
    (program) => `"${program} oci pull" of the same image makes it`,
  ],
  [
    /meta\.json not found|no meta\.json in/,
    (program) => `"${program} init PATH" makes a repository, --repo names another one`,
  ],
  [
    /^opening repository /,
    (program) => `--repo, --user or --system choose the repository, "${program} init" makes one`,
  ],
  [
    /not initialized with fs-verity/,
    (program) => `"${program} init" on a file system with fs-verity makes one that is`,
  ],
  [
    /does not support fs-verity/,
    (program) =>
      `"${program} init --insecure" makes a repository without fs-verity, for tests and tmpfs`,
  ],
  [
    /(fsopen|fsmount|unshare|umount2|mount)[^:]*: Operation not permitted/,
    () => "mounting needs root (CAP_SYS_ADMIN)",
  ],
  [
    /does not speak TLS/,
    () => "--tls-verify=false, or insecure = true in registries.conf, allows plain HTTP",
  ],
  [
    /certificate is from an unknown authority/,
    () => "--cert-dir DIR, or /etc/containers/certs.d/HOST, holds authorities as *.crt",
  ],
  [
    /authentication required|access denied/,
    () => "--creds USER:PASSWORD, --authfile FILE or podman login gives access to a registry",
  ],
  [/Read-only file system|read-only file system/, () => "writing needs a writable repository"],
  [
    /No space left on device|^No room to fetch/,
    (program) => `"${program} gc" frees what nothing refers to`,
  ],
  [/lacks \d+ bytes of trailing zero padding/, () => "--repair-padding puts the zeros back"],
  [
    /^(blob|layer|content|image manifest|image config|manifest|config)[^:]* digest mismatch/,
    () => "the source is damaged or lies; nothing of it has got a name",
    /^Unable to pull/,
  ],
  [
    /(digest|verity content) mismatch/i,
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
  const outer = error instanceof Error ? error.message : "";
  for (let at = error; at instanceof Error; at = at.cause) {
    const message = at.message;
    const found = HINTS.find(([pattern, , outermost]) =>
      pattern.test(message) && (outermost?.test(outer) ?? true)
    );
    if (found !== undefined) return found[1](programName);
  }
  return undefined;
}
