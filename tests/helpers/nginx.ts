/**
 * A real web server on 127.0.0.1.
 *
 * @module
 */
import { TempDir } from "./temp.ts";
import { tool } from "./tool.ts";

/** How the server works. */
export interface NginxOptions {
  /** More lines for its `server` block. */
  server?: string;
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

function config(dir: string, root: string, port: number, more: string): string {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${dir}/${name};`).join(" ");
  return `daemon off; worker_processes 1; pid ${dir}/nginx.pid; error_log ${dir}/error.log;
${Deno.uid() === 0 ? "user root;" : ""}
events { worker_connections 256; }
http { access_log off; sendfile on; keepalive_requests 100000; ${paths}
  server { listen 127.0.0.1:${port}; root ${root}; ${more} }
}
`;
}

async function waitForPort(port: number): Promise<void> {
  for (let i = 0; i < 200; i++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
  throw new Error("nginx does not listen");
}

/** nginx that serves a directory; `await using` ends it. */
export class NginxServer implements AsyncDisposable {
  /** Where the directory is served, without a slash at the end. */
  readonly url: string;
  readonly #dir: TempDir;
  readonly #process: Deno.ChildProcess;

  private constructor(url: string, dir: TempDir, process: Deno.ChildProcess) {
    this.url = url;
    this.#dir = dir;
    this.#process = process;
  }

  /**
   * Starts it on a free port.
   *
   * @param root The directory.
   * @param options More for its configuration.
   */
  static async start(root: string, options: NginxOptions = {}): Promise<NginxServer> {
    const dir = new TempDir({ prefix: "cfs-nginx-" });
    const port = freePort();
    const text = config(dir.path, root, port, options.server ?? "");
    const process = new Deno.Command(tool("nginx"), {
      args: ["-c", dir.write("nginx.conf", text)],
      stdout: "null",
      stderr: "null",
    }).spawn();
    const server = new NginxServer(`http://127.0.0.1:${port}`, dir, process);
    try {
      await waitForPort(port);
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /** Ends it and removes its files. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGTERM");
    await this.#process.status;
    this.#dir[Symbol.dispose]();
  }
}
