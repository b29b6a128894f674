/**
 * A real registry (Debian's `docker-registry`) on a free port of 127.0.0.1, for as long as a test
 * takes: open, with passwords, with a token server, with TLS.
 *
 * @module
 */
import { createHash, generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import assert from "node:assert/strict";
import { TempDir } from "./temp.ts";
import { tool } from "./tool.ts";

/** How the registry behaves. */
export interface TestRegistryOptions {
  /** `basic`: htpasswd; `token`: a token server beside it. @default "none" */
  auth?: "none" | "basic" | "token";
  /** Serves TLS with a certificate of {@linkcode TestRegistry.caFile}. @default false */
  tls?: boolean;
  /** Wants clients to show a certificate: that in {@linkcode TestRegistry.clientDir}. @default false */
  clientCerts?: boolean;
  /** Life of tokens in seconds. @default 300 */
  tokenLife?: number;
  /** Whether tokens for pulling are given to anybody. @default false */
  anonymousPull?: boolean;
  /** Where it keeps its data; else a directory that goes with it. */
  storage?: string;
}

/** A user of the registries with authentication. */
export const USER = "tester";
/** Its password. */
export const PASSWORD = "s3cret:with/odd chars";
/** An identity token that the token server takes. */
export const IDENTITY_TOKEN = "identity-token-of-tester";

/** What a token server was asked. */
export interface TokenRequest {
  method: string;
  scopes: string[];
  user: string | undefined;
}

/** A running registry. */
export class TestRegistry implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #dir: TempDir;
  readonly #tokens: TokenServer | undefined;
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** The authority (PEM) of its certificate; only with TLS. */
  readonly caFile: string;
  /** Where it keeps its data. */
  readonly storage: string;

  private constructor(
    process: Deno.ChildProcess,
    parts: {
      dir: TempDir;
      host: string;
      caFile: string;
      storage: string;
      tokens: TokenServer | undefined;
    },
  ) {
    this.#process = process;
    this.#dir = parts.dir;
    this.#tokens = parts.tokens;
    this.host = parts.host;
    this.caFile = parts.caFile;
    this.storage = parts.storage;
  }

  /** What the token server was asked so far. */
  get tokenRequests(): readonly TokenRequest[] {
    return this.#tokens?.requests ?? [];
  }

  /** Starts a registry and waits until it answers. */
  static async start(options: TestRegistryOptions = {}): Promise<TestRegistry> {
    const { auth = "none", tls = false } = options;
    const dir = new TempDir({ prefix: "registry-" });
    const host = `127.0.0.1:${freePort()}`;
    const storage = options.storage ?? dir.join("data");
    const caFile = tls ? makeCertificates(dir) : "";
    const tokens = auth === "token" ? new TokenServer(dir, options) : undefined;
    if (auth === "basic") makePasswords(dir);
    const lines = [
      "version: 0.1",
      "log: {level: error, accesslog: {disabled: true}}",
      "storage:",
      `  filesystem: {rootdirectory: ${storage}}`,
      "  delete: {enabled: true}",
      "http:",
      `  addr: ${host}`,
      "  secret: test",
    ];
    if (tls) {
      lines.push(
        "  tls:",
        `    certificate: ${dir.join("s.crt")}`,
        `    key: ${dir.join("s.key")}`,
      );
      if (options.clientCerts) lines.push(`    clientcas: [${caFile}]`);
    }
    if (auth === "basic") {
      lines.push(`auth: {htpasswd: {realm: test, path: ${dir.join("htpasswd")}}}`);
    }
    if (tokens !== undefined) {
      lines.push(
        "auth:",
        "  token:",
        `    realm: ${tokens.url}`,
        `    service: ${SERVICE}`,
        `    issuer: ${ISSUER}`,
        `    rootcertbundle: ${tokens.certificate}`,
      );
    }
    const config = dir.write("config.yml", lines.join("\n") + "\n");
    const process = new Deno.Command(tool("docker-registry"), {
      args: ["serve", config],
      stdin: "null",
      stdout: "null",
      stderr: "null",
      env: { OTEL_TRACES_EXPORTER: "none" },
    }).spawn();
    const registry = new TestRegistry(process, { dir, host, caFile, storage, tokens });
    await registry.#ready();
    return registry;
  }

  async #ready(): Promise<void> {
    let gone = false;
    this.#process.status.then(() => gone = true);
    const [hostname, port] = this.host.split(":");
    for (let tries = 0; tries < 200 && !gone; tries++) {
      try {
        const connection = await Deno.connect({ hostname: hostname!, port: Number(port) });
        connection.close();
        return;
      } catch (error) {
        if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    await this[Symbol.asyncDispose]();
    assert.fail("docker-registry does not start");
  }

  /** Directory with the authority, and a certificate of its with a key to show to the registry. */
  get clientDir(): string {
    return this.#dir.join("client");
  }

  /** Options with which skopeo reaches it, `which` being `src` or `dest`. */
  skopeoOptions(which: "src" | "dest"): string[] {
    const access = this.caFile === "" ? [`--${which}-tls-verify=false`] : [
      `--${which}-cert-dir=${this.clientDir}`,
    ];
    return [...access, `--${which}-creds=${USER}:${PASSWORD}`];
  }

  /** Fills it with skopeo: `docker://HOST/NAME` from any other place. */
  async push(source: string, name: string, options: string[] = []): Promise<void> {
    const { success, stderr } = await new Deno.Command(tool("skopeo"), {
      args: [
        "--insecure-policy",
        "copy",
        ...this.skopeoOptions("dest"),
        ...options,
        source,
        `docker://${this.host}/${name}`,
      ],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
  }

  /** Stops it and removes what it kept. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill("SIGTERM");
    } catch (error) {
      // It has ended already.
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    }
    await this.#process.status;
    await this.#tokens?.[Symbol.asyncDispose]();
    this.#dir[Symbol.dispose]();
  }
}

const SERVICE = "test registry";
const ISSUER = "test issuer";

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

function run(program: string, args: string[]): void {
  const { success, stderr } = new Deno.Command(tool(program), {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).outputSync();
  assert.ok(success, `${program}: ${new TextDecoder().decode(stderr)}`);
}

function makePasswords(dir: TempDir): void {
  run("htpasswd", ["-B", "-b", "-C", "5", "-c", dir.join("htpasswd"), USER, PASSWORD]);
}

/** An authority and a server certificate for 127.0.0.1 and localhost; the authority's file. */
function makeCertificates(dir: TempDir): string {
  Deno.mkdirSync(dir.join("ca"));
  const ca = dir.join("ca", "ca.crt");
  const caKey = dir.join("ca-key.pem");
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  run("openssl", [
    ...["req", "-x509", ...newKey, "-keyout", caKey, "-out", ca, "-days", "2"],
    ...["-subj", "/CN=test authority", "-addext", "basicConstraints=critical,CA:TRUE"],
  ]);
  run("openssl", [
    ...["req", ...newKey, "-keyout", dir.join("s.key"), "-out", dir.join("s.csr")],
    ...["-subj", "/CN=localhost"],
  ]);
  const names = dir.write("names", "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
  run("openssl", [
    ...["x509", "-req", "-in", dir.join("s.csr"), "-CA", ca, "-CAkey", caKey],
    ...["-CAcreateserial", "-out", dir.join("s.crt"), "-days", "2", "-extfile", names],
  ]);
  run("openssl", [
    ...["req", ...newKey, "-keyout", dir.join("client.key"), "-out", dir.join("client.csr")],
    ...["-subj", "/CN=client"],
  ]);
  const use = dir.write("use", "extendedKeyUsage=clientAuth\n");
  run("openssl", [
    ...["x509", "-req", "-in", dir.join("client.csr"), "-CA", ca, "-CAkey", caKey],
    ...["-CAcreateserial", "-out", dir.join("client.crt"), "-days", "2", "-extfile", use],
  ]);
  dir.write("client/ca.crt", Deno.readTextFileSync(ca));
  dir.write("client/me.cert", Deno.readTextFileSync(dir.join("client.crt")));
  dir.write("client/me.key", Deno.readTextFileSync(dir.join("client.key")));
  return ca;
}

/** Signs tokens as distribution wants them. */
class TokenServer implements AsyncDisposable {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #options: TestRegistryOptions;
  readonly #key: string;
  readonly #chain: string;
  readonly requests: TokenRequest[] = [];
  readonly certificate: string;

  constructor(dir: TempDir, options: TestRegistryOptions) {
    this.#options = options;
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    this.#key = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const key = dir.write("token.key", this.#key);
    this.certificate = dir.join("token.crt");
    run("openssl", [
      ...["req", "-x509", "-key", key, "-out", this.certificate, "-days", "2"],
      ...["-subj", "/CN=token server"],
    ]);
    const certificate = new X509Certificate(Deno.readTextFileSync(this.certificate));
    this.#chain = certificate.raw.toString("base64");
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) => this.#answer(request),
    );
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/token`;
  }

  async #answer(request: Request): Promise<Response> {
    const form = request.method === "POST"
      ? new URLSearchParams(await request.text())
      : new URL(request.url).searchParams;
    const refused = () =>
      Response.json({ errors: [{ code: "UNAUTHORIZED", message: "bad login" }] }, { status: 401 });
    let user: string | undefined;
    const login = request.headers.get("authorization");
    const right = "Basic " + new TextEncoder().encode(`${USER}:${PASSWORD}`).toBase64();
    if (login !== null) {
      if (login !== right) return refused();
      user = USER;
    } else if (request.method === "POST") {
      if (form.get("refresh_token") !== IDENTITY_TOKEN) return refused();
      user = USER;
    }
    const scopes = form.getAll("scope").flatMap((text) => text.split(" "));
    this.requests.push({ method: request.method, scopes, user });
    const access = scopes.flatMap((scope) => {
      const [type, name, actions = ""] = scope.split(":");
      const wanted = actions.split(",");
      const given = user !== undefined
        ? wanted
        : wanted.filter((action) => action === "pull" && this.#options.anonymousPull);
      return given.length === 0 ? [] : [{ type, name, actions: given }];
    });
    const life = this.#options.tokenLife ?? 300;
    const token = this.#sign(access, user ?? "", life);
    return Response.json({
      [user === undefined ? "access_token" : "token"]: token,
      expires_in: life,
    });
  }

  #sign(access: unknown[], subject: string, life: number): string {
    const now = Math.floor(Date.now() / 1000);
    const pack = (value: unknown) =>
      new TextEncoder().encode(JSON.stringify(value)).toBase64({
        alphabet: "base64url",
        omitPadding: true,
      });
    const head = pack({ typ: "JWT", alg: "RS256", x5c: [this.#chain] });
    const body = pack({
      iss: ISSUER,
      sub: subject,
      aud: SERVICE,
      exp: now + life,
      nbf: now - 10,
      iat: now,
      jti: createHash("sha256").update(crypto.randomUUID()).digest("hex"),
      access,
    });
    const signature = sign("sha256", new TextEncoder().encode(`${head}.${body}`), this.#key);
    return `${head}.${body}.${signature.toString("base64url")}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}
