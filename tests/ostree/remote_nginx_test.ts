import "../helpers/libraries.ts";
import assert from "node:assert/strict";
import { ALGORITHMS } from "../../lib/base/mod.ts";
import { HttpError } from "../../lib/http/mod.ts";
import {
  LocalRepository,
  pullCommit,
  remoteClientOptions,
  RemoteSource,
} from "../../lib/ostree/mod.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { B, newRepository, unpack } from "./_remote.ts";

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

function run(name: string, ...args: string[]): void {
  const { code, stderr } = new Deno.Command(tool(name), { args }).outputSync();
  assert.equal(code, 0, `${name}: ${new TextDecoder().decode(stderr)}`);
}

/** An authority, and certificates of a server and a client by it. */
function makeCertificates(dir: string): void {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const days = ["-days", "2"];
  run(
    "openssl",
    ...["req", "-x509", ...key, ...days, "-subj", "/CN=test authority"],
    ...["-keyout", `${dir}/ca.key`, "-out", `${dir}/ca.crt`],
  );
  for (const name of ["server", "client"]) {
    run(
      "openssl",
      ...["req", ...key, "-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"],
      ...["-keyout", `${dir}/${name}.key`, "-out", `${dir}/${name}.csr`],
    );
    run(
      "openssl",
      ...["x509", "-req", ...days, "-in", `${dir}/${name}.csr`, "-copy_extensions", "copy"],
      ...["-CA", `${dir}/ca.crt`, "-CAkey", `${dir}/ca.key`, "-CAcreateserial"],
      ...["-out", `${dir}/${name}.crt`],
    );
  }
}

function nginxConfig(dir: string, root: string, port: number): string {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${dir}/${name};`).join(" ");
  return `daemon off; pid ${dir}/nginx.pid; error_log ${dir}/error.log;
${Deno.uid() === 0 ? "user root;" : ""}
events { worker_connections 64; }
http { access_log off; ${paths}
  server {
    listen 127.0.0.1:${port} ssl http2;
    root ${root};
    ssl_certificate ${dir}/server.crt; ssl_certificate_key ${dir}/server.key;
    ssl_client_certificate ${dir}/ca.crt; ssl_verify_client on;
  }
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
  throw new Error("the server does not listen");
}

testWith({
  name: "RemoteSource pulls from nginx over TLS with a client certificate",
  needs: [needTool("nginx"), needTool("openssl")],
  fn: async (t) => {
    using temp = new TempDir();
    const dir = temp.path;
    const root = unpack(temp.join("remote"), "archive");
    makeCertificates(dir);
    const port = freePort();
    const config = temp.write("nginx.conf", nginxConfig(dir, root, port));
    const server = new Deno.Command(tool("nginx"), {
      args: ["-c", config],
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      await waitForPort(port);
      const url = `https://127.0.0.1:${port}`;
      const given: Record<string, string> = {
        "tls-ca-path": `${dir}/ca.crt`,
        "tls-client-cert-path": `${dir}/client.crt`,
        "tls-client-key-path": `${dir}/client.key`,
      };
      for (const http2 of [true, false]) {
        await t.step(http2 ? "HTTP/2" : "HTTP/1.1", async () => {
          const remote = {
            name: "n",
            text: (option: string) => given[option],
            flag: (option: string) => option === "http2" ? http2 : undefined,
          };
          using source = new RemoteSource(url, remoteClientOptions(remote, Deno.readTextFileSync));
          using repository = newRepository(temp.join(`repo-${http2}`));
          const result = await pullCommit(repository, source, { reference: "test/stable" });
          using local = LocalRepository.open(root);
          using other = newRepository(temp.join(`local-${http2}`), ALGORITHMS.sha256);
          const wanted = await pullCommit(other, local, { reference: "test/stable" });
          assert.equal(result.stream, wanted.stream);
          assert.equal(result.image, wanted.image);
        });
      }
      await t.step("a server that nobody vouches for", async () => {
        using source = new RemoteSource(url);
        const start = performance.now();
        await assert.rejects(source.resolve("test/stable"), (error) => {
          assert.ok(error instanceof HttpError);
          assert.match(error.message, /certificate/i);
          return true;
        });
        // It is not tried again.
        assert.ok(performance.now() - start < 2000);
      });
      await t.step("a server that need not be vouched for", async () => {
        const remote = {
          name: "n",
          text: (option: string) => option === "tls-ca-path" ? undefined : given[option],
          flag: (option: string) => option === "tls-permissive",
        };
        using source = new RemoteSource(url, remoteClientOptions(remote, Deno.readTextFileSync));
        using repository = newRepository(temp.join("permissive"));
        const { commit } = await pullCommit(repository, source, { reference: "test/stable" });
        assert.equal(commit, B);
      });
      await t.step("a client without a certificate", async () => {
        const caCerts = [Deno.readTextFileSync(`${dir}/ca.crt`)];
        using source = new RemoteSource(url, { caCerts });
        await assert.rejects(source.resolve("test/stable"), { status: 400 });
      });
    } finally {
      server.kill("SIGTERM");
      await server.status;
    }
  },
});
