import assert from "node:assert/strict";
import { loadNative } from "../helpers/native.ts";
import { ROOT, run, runOk } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { fixtureLayout, makeImage } from "../oci/_oci.ts";

loadNative();

/** Id of the basic fixture's image in a new repository. */
const BASIC =
  "af326988fb05d535f481c782f7d8ec9918374eccef9b39322cbcb3d2f5a4030b9ab09acd61e0d158974" +
  "e82d3b898e90676ab81d49dabe1276bfe66985b1f475e";

/** A small program over the library; its arguments are a repository to make and a layout. */
function example(module: string): string {
  return `
import { initRepository, openImageRef, pullImage, Repository } from ${JSON.stringify(module)};

const [path, layout] = Deno.args;
initRepository(path!, { insecure: true });
using repository = Repository.open(path!);
const { manifestDigest, image } = await pullImage(repository, \`oci:\${layout}:v1\`, {
  name: "example",
  platform: { os: "linux", architecture: "amd64" },
});
const { config } = openImageRef(repository, "example");
console.log(\`\${manifestDigest} \${config?.architecture} \${image}\`);
`;
}

const ARGS = ["run", "--no-lock", "--no-config", "--quiet"];

Deno.test("a program opens a repository, pulls a layout and prints the digest", async () => {
  using dir = new TempDir();
  const layout = await fixtureLayout("basic", "basic", dir);
  const program = dir.write("example.ts", example(new URL("mod.ts", `file://${ROOT}`).href));
  const { stdout } = await runOk(
    [Deno.execPath(), ...ARGS, "--check", "-A", program, dir.join("repo"), layout],
    { cwd: dir.path, timeout: 120_000 },
  );
  assert.match(stdout, new RegExp(`^sha256:b47c5b93\\w{56} amd64 ${BASIC}\n$`));
});

/** Serves the files of this checkout, as a code host would. */
class CodeHost implements AsyncDisposable {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  /** Paths that were asked for. */
  readonly asked = new Set<string>();

  constructor() {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      async (request) => {
        const path = decodeURIComponent(new URL(request.url).pathname).slice(1);
        this.asked.add(path);
        // Only what a published package has: nothing else may be needed.
        if (!/^(mod\.ts|(lib|ffi|cli)\/[\w./-]+\.ts)$/.test(path) || path.includes("..")) {
          return new Response("", { status: 404 });
        }
        try {
          const headers = { "content-type": "application/typescript" };
          return new Response(await Deno.readFile(ROOT + path), { headers });
        } catch (error) {
          if (error instanceof Deno.errors.NotFound) return new Response("", { status: 404 });
          throw error;
        }
      },
    );
  }

  /** URL of a file. */
  url(path: string): string {
    return `http://127.0.0.1:${this.#server.addr.port}/${path}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** Where npm packages are that have been downloaded before; modules by URL go to a fresh one. */
async function denoDir(dir: TempDir): Promise<string> {
  const { stdout } = await runOk([Deno.execPath(), "info", "--json"]);
  const { npmCache } = JSON.parse(stdout) as { npmCache?: string };
  const own = dir.join("deno");
  Deno.mkdirSync(own);
  if (npmCache !== undefined) Deno.symlinkSync(npmCache, `${own}/npm`);
  return own;
}

Deno.test("everything works when it is imported by URL", async (t) => {
  using dir = new TempDir();
  await using host = new CodeHost();
  Deno.mkdirSync(dir.join("empty"));
  const layout = await fixtureLayout("basic", "basic", dir);
  const env = { DENO_DIR: await denoDir(dir), NO_COLOR: "1" };
  const options = { env, cwd: dir.join("empty"), timeout: 120_000 };
  const main = host.url("cli/main.ts");
  const cfs = (...args: string[]) =>
    runOk([Deno.execPath(), ...ARGS, "-A", main, ...args], options);
  await t.step("the version", async () => {
    assert.match((await cfs("--version")).stdout, /\d+\.\d+\.\d+/);
  });
  await t.step("a pull with workers, and checks", async () => {
    const repo = dir.join("cli");
    await cfs("--repo", repo, "init", "--insecure", repo);
    const layers = ["a", "b", "c"].map((name) => tarOf(name));
    const several = makeImage(dir.join("several"), { layers });
    const platform = ["--platform", "linux/amd64"];
    await cfs("--repo", repo, "oci", "pull", ...platform, "--jobs", "3", several, "several");
    assert.ok(host.asked.has("lib/oci/layer_worker.ts"));
    const pulled = await cfs("--repo", repo, "oci", "pull", ...platform, `oci:${layout}:v1`, "t");
    assert.match(pulled.stdout, /^manifest sha256:b47c5b93/);
    assert.equal((await cfs("--repo", repo, "oci", "compute-id", "t")).stdout, `${BASIC}\n`);
    assert.match((await cfs("--repo", repo, "oci", "fsck")).stdout, /^oci images: 2\/2 ok$/m);
    const created = dir.write("tree/usr/file", "content ".repeat(1000));
    assert.ok(created.startsWith(dir.path));
    await cfs("--repo", repo, "create-image", dir.join("tree"), "made");
    assert.match((await cfs("--repo", repo, "fsck")).stdout, /^status: ok$/m);
  });
  await t.step("a program that imports it", async () => {
    const program = dir.write("program.ts", example(host.url("mod.ts")));
    const { stdout } = await runOk(
      [Deno.execPath(), ...ARGS, "-A", program, dir.join("library"), layout],
      options,
    );
    assert.match(stdout, new RegExp(` amd64 ${BASIC}\n$`));
  });
  await t.step("nothing was asked for that is not there", async () => {
    for (const path of host.asked) {
      assert.ok((await Deno.stat(ROOT + path)).isFile, path);
    }
  });
});

/** A layer with one directory and one file, as plain tar(1) would make it. */
function tarOf(name: string): Uint8Array {
  const { code, stdout } = new Deno.Command("sh", {
    args: [
      "-c",
      'd=$(mktemp -d) && mkdir "$d/usr" && head -c 5000 /dev/zero | tr "\\0" "$1" > "$d/usr/$1" &&' +
      ' tar --sort=name --mtime=@0 --owner=0 --group=0 -C "$d" -cf - usr; rm -r "$d"',
      "sh",
      name,
    ],
  }).outputSync();
  assert.equal(code, 0);
  return stdout;
}

Deno.test("importing any part needs no permission and does nothing", async (t) => {
  const config = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`));
  for (const [name, file] of Object.entries(config.exports as Record<string, string>)) {
    await t.step(name, async () => {
      using dir = new TempDir();
      const url = new URL(file, `file://${ROOT}`).href;
      const program = dir.write(
        "import.ts",
        `await import(${JSON.stringify(url)}); console.log("imported");\n`,
      );
      const { code, stdout, stderr } = await run(
        [Deno.execPath(), ...ARGS, "--no-prompt", "--allow-import", program],
        { cwd: dir.path, env: { NO_COLOR: "1" } },
      );
      // The command line is a program, so importing it runs it; the others are only names.
      assert.deepEqual([code, stdout, stderr], [0, "imported\n", ""]);
    });
  }
});
