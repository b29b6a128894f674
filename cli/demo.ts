/**
 * The demonstration, `deno task demo`: a small OCI image becomes a repository, an EROFS image and,
 * where that is allowed, a mount. It calls the program's own way in, compares what comes out with
 * what the reference implementation said about the same image, and leaves nothing behind.
 *
 * @module
 */
import { ALGORITHMS, fromByteString, nodeHash } from "../lib/base/mod.ts";
import { type FsVerityOptions, objectIdOf } from "../lib/fsverity/mod.ts";
import { CAP, hasCapability } from "../ffi/mod.ts";
import { DEMO, type DemoExpectation, recordedExpectation } from "./demo_expectation.ts";
import { Capture, Indented } from "./demo_sinks.ts";
import { main, type OutputSink } from "./main.ts";

/** How to run the demonstration. */
export interface DemoOptions {
  /** Leave repository and mount where they are. @default false */
  keep?: boolean;
  /** What must come out. @default what is recorded with the demo image */
  expected?: DemoExpectation;
  /** Where the words go. @default Deno.stdout */
  stdout?: OutputSink;
  /** Where progress and errors go. @default Deno.stderr */
  stderr?: OutputSink;
}

/** A step that did not do what it should. */
class DemoError extends Error {
  override name = "DemoError";
}

/** Quotes a word for a shell when it needs that. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** One run, with the folder it works in. */
class Demo {
  readonly dir: string;
  readonly repo: string;
  readonly mountpoint: string;
  readonly #stdout: OutputSink;
  readonly #stderr: OutputSink;
  #step = 0;
  mounted = false;

  constructor(stdout: OutputSink, stderr: OutputSink) {
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.dir = Deno.makeTempDirSync({ prefix: "composefs-demo-" });
    this.repo = `${this.dir}/repository`;
    this.mountpoint = `${this.dir}/mnt`;
  }

  say(text: string): void {
    const bytes = new TextEncoder().encode(`${text}\n`);
    for (let done = 0; done < bytes.length;) done += this.#stdout.writeSync(bytes.subarray(done));
  }

  title(text: string): void {
    this.say(`\n${++this.#step}. ${text}`);
  }

  /** Shows a command, runs it and shows its output, unless that is wanted by the caller alone. */
  async cfs(args: readonly string[], options: { show?: boolean } = {}): Promise<string> {
    this.say(`   $ cfs ${args.map(quoted).join(" ")}`);
    const stdout = new Capture();
    const code = await main(args, { stdout, stderr: new Indented(this.#stderr) });
    if (options.show ?? true) this.show(stdout.text);
    if (code !== 0) throw new DemoError(`cfs ${args.join(" ")} exited with ${code}`);
    return stdout.text;
  }

  show(text: string): void {
    for (const line of text.trimEnd().split("\n")) if (line !== "") this.say(`   ${line}`);
  }

  check(what: string, { expected, found }: { expected: string; found: string }): void {
    if (found !== expected) {
      throw new DemoError(`${what}: the reference computed ${expected}, this run ${found}`);
    }
    this.say(`   ${what} is what the reference, cfsctl 0.9.4, computed`);
  }

  /** Takes the mount down and removes the folder. */
  async remove(): Promise<void> {
    if (this.mounted) {
      const code = await main(["umount", this.mountpoint], { stderr: this.#stderr });
      // Removing a folder with something mounted in it would reach into the mount.
      if (code !== 0) throw new DemoError(`cannot unmount ${this.mountpoint}`);
      this.mounted = false;
    }
    Deno.removeSync(this.dir, { recursive: true });
  }
}

interface Inspected {
  manifest: string;
  config: string;
  composefs_erofs: string;
}

interface ManifestFacts {
  layers: { mediaType: string; digest: string; size: number }[];
}

interface ConfigFacts {
  architecture: string;
  os: string;
  config: { Entrypoint?: string[]; Labels?: Record<string, string> };
  history: { created_by?: string }[];
}

/** The facts of `oci inspect` that a person wants first. */
function showSummary(demo: Demo, inspected: Inspected): void {
  const manifest: ManifestFacts = JSON.parse(inspected.manifest);
  const config: ConfigFacts = JSON.parse(inspected.config);
  const title = config.config.Labels?.["org.opencontainers.image.title"] ?? "(no title)";
  const entrypoint = (config.config.Entrypoint ?? []).join(" ");
  demo.show(`title       ${title}\nplatform    ${config.os}/${config.architecture}`);
  demo.show(`entrypoint  ${entrypoint}`);
  manifest.layers.forEach(({ mediaType, digest, size }, i) => {
    const packing = mediaType.slice(mediaType.lastIndexOf("+") + 1);
    const what = config.history[i]?.created_by ?? "";
    demo.show(`layer ${i + 1}     ${digest.slice(0, 19)}…  ${packing}, ${size} bytes: ${what}`);
  });
  demo.show(`image       ${inspected.composefs_erofs}`);
}

const SHA256: FsVerityOptions = { algorithm: ALGORITHMS.sha256, provider: nodeHash };

interface DumpedFile {
  path: string;
  digest: string;
}

/** The files that a dumpfile gives a digest for: those that are objects, not part of the image. */
function objectFiles(dump: string): DumpedFile[] {
  const DIGEST = 10;
  return dump.trimEnd().split("\n").map((line) => line.split(" ")).flatMap((fields) => {
    const digest = fields[DIGEST];
    if (digest === undefined || digest === "-") return [];
    const bytes = fields[0]!.replace(
      /\\x([0-9a-f]{2})/g,
      (_, hex) => String.fromCharCode(parseInt(hex, 16)),
    );
    return [{ path: new TextDecoder().decode(fromByteString(bytes)), digest }];
  });
}

/** Mounts the image and looks into it; false when this machine will not. */
async function mountImage(demo: Demo, files: readonly DumpedFile[]): Promise<boolean> {
  if (!hasCapability(CAP.SYS_ADMIN)) {
    demo.say("   not mounted: that takes root with the right to mount; listed instead");
    return false;
  }
  Deno.mkdirSync(demo.mountpoint);
  const args = ["--repo", demo.repo, "oci", "mount", "demo", demo.mountpoint];
  try {
    await demo.cfs(args);
  } catch (error) {
    // A kernel without EROFS or data-only layers: the error is on screen, the rest still works.
    if (!(error instanceof DemoError)) throw error;
    demo.say("   not mounted: the kernel refused, see above; listed instead");
    return false;
  }
  demo.mounted = true;
  demo.say(`   mounted at ${demo.mountpoint}:`);
  for (const name of [...Deno.readDirSync(demo.mountpoint)].map((entry) => entry.name).sort()) {
    demo.say(`     /${name}`);
  }
  for (const { path, digest } of files) {
    const found = objectIdOf(Deno.readFileSync(demo.mountpoint + path), SHA256);
    if (found !== digest) {
      throw new DemoError(`${path} read through the mount has digest ${found}, not ${digest}`);
    }
  }
  demo.say(`   the ${files.length} larger files, read through the mount, have the right digests`);
  return true;
}

async function steps(demo: Demo, expected: DemoExpectation): Promise<void> {
  const repo = ["--repo", demo.repo];
  demo.title("Make a repository (insecure: it does without fs-verity, which not all disks have)");
  await demo.cfs([...repo, "init", "--insecure", "--algorithm", "fsverity-sha256-12"]);

  demo.title("Pull an OCI image of three layers, packed with gzip and zstd");
  const source = `oci-archive:${DEMO}demo.oci.tar:demo`;
  // Bars would be gone before anybody could see them: the image is that small.
  const progress = ["--progress", "plain"];
  const pulled = await demo.cfs([...repo, ...progress, "oci", "pull", source, "demo"]);
  demo.check("the manifest's digest", {
    expected: expected.manifest,
    found: /^manifest (\S+)$/m.exec(pulled)?.[1] ?? "(none)",
  });

  demo.title("Compute the EROFS image's digest, which stands for every byte of every file");
  const id = (await demo.cfs([...repo, "oci", "compute-id", "demo"])).trim();
  demo.check("the image's digest", { expected: expected.image, found: id });

  demo.title("List and inspect the images");
  await demo.cfs([...repo, "oci", "images"]);
  const inspected = await demo.cfs([...repo, "oci", "inspect", "demo"], { show: false });
  showSummary(demo, JSON.parse(inspected));

  demo.title("Look at the files");
  const dump = await demo.cfs([...repo, "oci", "dump", "demo"], { show: false });
  demo.check("the list of files", { expected: expected.dump, found: dump });
  if (!await mountImage(demo, objectFiles(dump))) {
    await demo.cfs(["composefs-info", "ls", `${demo.repo}/images/${id}`]);
  }

  demo.title("Check the repository");
  await demo.cfs([...repo, "fsck"]);
}

function finish(demo: Demo, keep: boolean): void {
  demo.title("Done");
  demo.say(`   repository  ${demo.repo}`);
  if (demo.mounted) demo.say(`   mount       ${demo.mountpoint}`);
  if (!keep) {
    demo.say("   all of it is removed again; run with --keep to look around");
    return;
  }
  demo.say("   kept; to remove it:");
  if (demo.mounted) demo.say(`     deno task cfs umount ${quoted(demo.mountpoint)}`);
  demo.say(`     rm -r ${quoted(demo.dir)}`);
}

/**
 * Runs the demonstration.
 *
 * @param options Whether to keep what it makes, and where its words go.
 * @returns 0, or 1 when a step failed or a digest is not the expected one.
 */
export async function runDemo(options: DemoOptions = {}): Promise<number> {
  const { keep = false, stdout = Deno.stdout, stderr = Deno.stderr } = options;
  const demo = new Demo(stdout, stderr);
  let code = 0;
  const stop = () => {
    // The steps are short and cannot be stopped half way; what is mounted must not stay.
    demo.remove().finally(() => Deno.exit(130));
  };
  Deno.addSignalListener("SIGINT", stop);
  try {
    await steps(demo, options.expected ?? recordedExpectation());
    finish(demo, keep);
  } catch (error) {
    // Not what the reader was promised: say so, clean up, and let the exit code tell it too.
    if (!(error instanceof DemoError)) throw error;
    stderr.writeSync(new TextEncoder().encode(`\ndemo failed: ${error.message}\n`));
    code = 1;
  } finally {
    Deno.removeSignalListener("SIGINT", stop);
    if (!keep || code !== 0) await demo.remove();
  }
  return code;
}

if (import.meta.main) {
  const unknown = Deno.args.filter((arg) => arg !== "--keep");
  if (unknown.length > 0) {
    Deno.stderr.writeSync(new TextEncoder().encode("Usage: deno task demo [--keep]\n"));
    Deno.exit(2);
  }
  Deno.exit(await runDemo({ keep: Deno.args.includes("--keep") }));
}
