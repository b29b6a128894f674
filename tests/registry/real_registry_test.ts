import assert from "node:assert/strict";
import {
  parseDockerReference,
  RegistryClient,
  type RegistryClientOptions,
} from "../../lib/registry/mod.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import {
  IDENTITY_TOKEN,
  PASSWORD,
  TestRegistry,
  type TestRegistryOptions,
  USER,
} from "../helpers/registry.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { Collector, makeImage, writeLayout } from "./_images.ts";

const BASIC = { kind: "basic", user: USER, password: PASSWORD } as const;
const IDENTITY = { kind: "identity", token: IDENTITY_TOKEN } as const;
const needs = ["docker-registry", "skopeo", "htpasswd", "openssl"].map(needTool);

const cases: {
  name: string;
  registry: TestRegistryOptions;
  client: (registry: TestRegistry) => RegistryClientOptions;
  refused?: RegExp;
}[] = [
  { name: "open", registry: {}, client: () => ({ tlsVerify: false }) },
  {
    name: "open, without --tls-verify=false",
    registry: {},
    client: () => ({ http: { retries: 0 } }),
    refused: /^registry 127\.0\.0\.1:\d+: it does not speak TLS \(https:/,
  },
  {
    name: "passwords",
    registry: { auth: "basic" },
    client: () => ({ tlsVerify: false, credentials: BASIC }),
  },
  {
    name: "passwords that skopeo keeps",
    registry: { auth: "basic" },
    client: (registry) => {
      const authFile = `${registry.storage}.auth.json`;
      const { success, stderr } = new Deno.Command(tool("skopeo"), {
        args: [
          ...["login", "--tls-verify=false", `--authfile=${authFile}`],
          ...[`--username=${USER}`, `--password=${PASSWORD}`, registry.host],
        ],
        stdout: "null",
      }).outputSync();
      assert.ok(success, new TextDecoder().decode(stderr));
      return { tlsVerify: false, authFile };
    },
  },
  {
    name: "passwords, a wrong one",
    registry: { auth: "basic" },
    client: () => ({ tlsVerify: false, credentials: { ...BASIC, password: "no" } }),
    refused: /^authentication required: latest in .* \(status 401 from http:.*, as user tester\)$/,
  },
  {
    name: "passwords, none",
    registry: { auth: "basic" },
    client: () => ({ tlsVerify: false, credentials: "none" }),
    refused: /^authentication required: .*status 401 from http:.*, without credentials\)$/,
  },
  {
    name: "tokens for a user",
    registry: { auth: "token" },
    client: () => ({ tlsVerify: false, credentials: BASIC }),
  },
  {
    name: "tokens for an identity",
    registry: { auth: "token" },
    client: () => ({ tlsVerify: false, credentials: IDENTITY }),
  },
  {
    name: "tokens for anybody",
    registry: { auth: "token", anonymousPull: true },
    client: () => ({ tlsVerify: false, credentials: "none" }),
  },
  {
    name: "tokens, none for strangers",
    registry: { auth: "token" },
    client: () => ({ tlsVerify: false, credentials: "none" }),
    refused: /^access denied|^authentication required/,
  },
  {
    name: "tokens, a wrong password",
    registry: { auth: "token" },
    client: () => ({ tlsVerify: false, credentials: { ...BASIC, password: "no" } }),
    refused: /^authentication required \(bad login\): a token for 127/,
  },
  {
    name: "TLS with a known authority",
    registry: { tls: true },
    client: ({ caFile }) => ({ certDir: caFile.slice(0, caFile.lastIndexOf("/")) }),
  },
  {
    name: "TLS with an unknown authority",
    registry: { tls: true },
    client: () => ({}),
    refused: /: its certificate is from an unknown authority \(/,
  },
  {
    name: "TLS with an unknown authority that does not matter",
    registry: { tls: true, auth: "basic" },
    client: () => ({ tlsVerify: false, credentials: BASIC }),
  },
  {
    name: "TLS with certificates on both sides",
    registry: { tls: true, clientCerts: true },
    client: ({ clientDir }) => ({ certDir: clientDir }),
  },
  {
    name: "TLS with certificates on both sides, but nobody looks at one",
    registry: { tls: true, clientCerts: true },
    client: ({ clientDir }) => ({ certDir: clientDir, tlsVerify: false }),
  },
  {
    name: "TLS without the certificate that is wanted",
    registry: { tls: true, clientCerts: true },
    client: ({ caFile }) => ({
      certDir: caFile.slice(0, caFile.lastIndexOf("/")),
      http: { retries: 0 },
    }),
    refused: /^registry 127\.0\.0\.1:\d+: Request failed/,
  },
];

testWith({
  name: "a real registry gives manifests, blobs and tags",
  needs,
  async fn(t) {
    using dir = new TempDir();
    const image = makeImage([300_000, 10]);
    const layout = writeLayout(dir, image);
    for (const { name, registry: options, client: clientOptions, refused } of cases) {
      await t.step(name, async () => {
        await using registry = await TestRegistry.start(options);
        await registry.push(layout, "some/image:latest");
        using client = new RegistryClient({
          surroundings: { variable: () => undefined, uid: 0, root: dir.join("nothing") },
          ...clientOptions(registry),
        });
        const reference = parseDockerReference(`${registry.host}/some/image`);
        const work = async () => {
          const repository = await client.repository(reference);
          const manifest = await repository.manifest("latest");
          assert.deepEqual(manifest.bytes, image.manifest.bytes);
          assert.equal(manifest.digest.toString(), image.manifest.digest.toString());
          const head = await repository.manifestHead(image.manifest.digest);
          assert.equal(head?.size, image.manifest.size);
          assert.equal(await repository.manifestHead("missing"), undefined);
          const layer = image.layers[0]!;
          const whole = new Collector();
          await repository.blob(layer, whole);
          assert.deepEqual(whole.bytes, layer.bytes);
          const rest = new Collector();
          await repository.blob(layer, rest, { start: 1000 });
          assert.deepEqual(rest.bytes, layer.bytes.subarray(1000));
          assert.deepEqual(await repository.blobBytes(image.config), image.config.bytes);
          assert.equal(await repository.blobSize(layer.digest), layer.size);
          assert.deepEqual(await repository.tags(), ["latest"]);
          assert.deepEqual(await repository.referrers(image.manifest.digest), []);
          await assert.rejects(repository.manifest("missing"), {
            name: "RegistryError",
            code: "CFS_NOT_FOUND",
            registryCode: "MANIFEST_UNKNOWN",
          });
        };
        if (refused === undefined) await work();
        else await assert.rejects(work(), { name: "RegistryError", message: refused });
      });
    }
  },
});
