import assert from "node:assert/strict";
import { Digest } from "../../lib/base/mod.ts";
import {
  DockerName,
  findInDirectory,
  findLookaside,
  findPolicy,
  RegistriesD,
} from "../../lib/trust/mod.ts";
import { loadNative } from "../helpers/native.ts";
import { TempDir } from "../helpers/temp.ts";
import { FIXTURES } from "./_fixtures.ts";

loadNative();

const encode = (text: string) => new TextEncoder().encode(text);
const PLACES = { home: "/nowhere", isRoot: false };

async function load(files: Record<string, string>): Promise<RegistriesD> {
  using dir = new TempDir();
  for (const [name, text] of Object.entries(files)) dir.write(name, encode(text));
  return await RegistriesD.load({ directory: dir.path, places: PLACES });
}

Deno.test("registries.d: each field comes from the most specific scope that has it", async (t) => {
  const config = await load({
    "a.yaml": "default-docker:\n  lookaside: https://default.example/\n" +
      "docker:\n  r.example/ns:\n    sigstore: file:///old\n    lookaside: file:///new\n" +
      "  r.example:\n    use-sigstore-attachments: yes\n    lookaside: file:///wide\n" +
      "  '*.example':\n    lookaside-staging: file:///staging\n    unknown: 1\n",
    "b.yaml": "docker:\n  r.example/ns/app:v2:\n    use-sigstore-attachments: false\n",
    "empty.yaml": "",
    "note.txt": "docker: {",
  });
  const cases = {
    "r.example/ns/app:v1": ["file:///new", "file:///staging", true],
    "r.example/ns/app:v2": ["file:///new", "file:///staging", false],
    "r.example/x": ["file:///wide", "file:///staging", true],
    "other.example/x": ["https://default.example/", "file:///staging", undefined],
    "busybox": ["https://default.example/", "https://default.example/", undefined],
  };
  for (const [name, wanted] of Object.entries(cases)) {
    await t.step(name, () => {
      const storage = config.storageFor(DockerName.parse(name));
      assert.deepEqual([storage.lookaside, storage.staging, storage.attachments], wanted);
    });
  }
});

Deno.test("registries.d: what is built in when nothing is said", async () => {
  const none = await RegistriesD.load({ places: PLACES });
  assert.equal(none.directory, undefined);
  const name = DockerName.parse("busybox");
  assert.equal(none.storageFor(name).lookaside, "file:///nowhere/.local/share/containers/sigstore");
  const root = await RegistriesD.load({ places: { home: "/nowhere", root: "/x", isRoot: true } });
  assert.equal(root.storageFor(name).lookaside, "file:///var/lib/containers/sigstore");
});

Deno.test("registries.d: files that are refused", async (t) => {
  const cases: { name: string; files: Record<string, string>; message: RegExp }[] = [
    {
      name: "a scope in two files",
      files: { "a.yaml": "docker: {r.example: {}}", "b.yaml": "docker: {r.example: {}}" },
      message: /"docker namespace r\.example" defined both in ".*a\.yaml" and ".*b\.yaml"/,
    },
    {
      name: "two defaults",
      files: { "a.yaml": "default-docker: {}", "b.yaml": "default-docker: {}" },
      message: /"default-docker" defined both in/,
    },
    { name: "no YAML", files: { "a.yaml": "a: [" }, message: /Invalid YAML in .*a\.yaml/ },
    { name: "the same key twice", files: { "a.yaml": "a: 1\na: 2" }, message: /Invalid YAML/ },
    {
      name: "aliases",
      files: { "a.yaml": "a: &x [1]\nb: [*x, *x]" },
      message: /Invalid YAML/,
    },
    { name: "a list", files: { "a.yaml": "- a" }, message: /mapping expected/ },
    {
      name: "a lookaside that is no text",
      files: { "a.yaml": "default-docker: {lookaside: 1}" },
      message: /lookaside is no text/,
    },
    {
      name: "a lookaside of an unknown kind",
      files: { "a.yaml": "default-docker: {lookaside: 'ftp://a'}" },
      message: /no URL of a kind that is known/,
    },
    {
      name: "attachments that are no boolean",
      files: { "a.yaml": "default-docker: {use-sigstore-attachments: 1}" },
      message: /use-sigstore-attachments is no boolean/,
    },
  ];
  for (const { name, files, message } of cases) {
    await t.step(name, async () => {
      await assert.rejects(load(files), (error: Error) => {
        assert.match(error.message, message);
        return (error as Error & { code: string }).code === "CFS_FORMAT";
      });
    });
  }
  await t.step("a directory that is not there", async () => {
    await assert.rejects(RegistriesD.load({ directory: "/nonexistent" }), {
      code: "CFS_NOT_FOUND",
    });
  });
});

const D1 = Digest.parse("sha256:c5f67d998c5002484ce445214aeb5d25108830ef5481332b0a7b7626390d9f80");

Deno.test("lookasides over HTTP give what directories do", async (t) => {
  const requests: string[] = [];
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    async (request) => {
      const path = decodeURIComponent(new URL(request.url).pathname).replace(/^\/base/, "");
      requests.push(path);
      if (path.startsWith("/broken")) return new Response("", { status: 403 });
      try {
        return new Response(await Deno.readFile(`${FIXTURES}/lookaside${path}`));
      } catch {
        return new Response("", { status: 404 });
      }
    },
  );
  const base = `http://127.0.0.1:${server.addr.port}/base/`;
  for (const path of ["gpg/good", "gpg/gap", "gpg/both-required", "gpg/unknown-format", "gpg/no"]) {
    await t.step(path, async () => {
      const remote = await findLookaside(base, { path, digest: D1 });
      const local = await findLookaside(`file://${FIXTURES}/lookaside`, { path, digest: D1 });
      assert.deepEqual(
        remote.signatures.map((one) => ({ ...one, place: "" })),
        local.signatures.map((one) => ({ ...one, place: "" })),
      );
      assert.deepEqual(
        remote.faults.map(({ reason }) => reason),
        local.faults.map(({ reason }) => reason),
      );
    });
  }
  await t.step("one that refuses", async () => {
    const { signatures, faults } = await findLookaside(base, { path: "broken", digest: D1 });
    assert.deepEqual(signatures, []);
    assert.match(faults[0]!.reason, /403/);
    const asked = requests.filter((path) => path.startsWith("/broken"));
    assert.equal(asked.length, 1);
  });
});

Deno.test("signatures in directories: instances have their own, a gap ends them, 128 are enough", async () => {
  using dir = new TempDir();
  const blob = Deno.readFileSync(`${FIXTURES}/dir/gpg/signature-1`);
  dir.write("signature-1", blob);
  dir.write("signature-3", blob);
  dir.write(`${D1.encoded}.signature-1`, new Uint8Array(0));
  assert.equal((await findInDirectory(dir.path)).signatures.length, 1);
  const { faults } = await findInDirectory(dir.path, D1);
  assert.deepEqual(faults.map(({ reason }) => reason), ["empty signature blob"]);
  for (let n = 1; n <= 129; n++) dir.write(`signature-${n}`, blob);
  await assert.rejects(findInDirectory(dir.path), { code: "CFS_FORMAT" });
});

Deno.test("findPolicy() takes the first file that is there", () => {
  using dir = new TempDir();
  const policy = (type: string) => encode(JSON.stringify({ default: [{ type }] }));
  const places = { home: `${dir.path}/home`, root: `${dir.path}/root`, isRoot: true };
  assert.equal(findPolicy({ places }), undefined);
  Deno.mkdirSync(`${dir.path}/root/etc/containers`, { recursive: true });
  dir.write("root/etc/containers/policy.json", policy("reject"));
  assert.equal(findPolicy({ places })?.policy.default[0]?.type, "reject");
  Deno.mkdirSync(`${dir.path}/home/.config/containers`, { recursive: true });
  dir.write("home/.config/containers/policy.json", policy("insecureAcceptAnything"));
  const found = findPolicy({ places });
  assert.equal(found?.policy.default[0]?.type, "insecureAcceptAnything");
  assert.equal(found?.file, `${dir.path}/home/.config/containers/policy.json`);
  // A broken one is not passed over.
  dir.write("home/.config/containers/policy.json", encode("{"));
  assert.throws(() => findPolicy({ places }), { code: "CFS_FORMAT" });
  assert.equal(findPolicy({ places, insecure: true })?.file, undefined);
  assert.throws(() => findPolicy({ path: `${dir.path}/no.json` }), { code: "CFS_NOT_FOUND" });
});
