import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { Certificate, chainFault, DER, DerReader, PublicKey } from "../../lib/signature/mod.ts";
import { pemBlocks, singlePemBlock } from "../../lib/signature/mod.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { run } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";
import { FIXTURES } from "../trust/_fixtures.ts";

const NOW = new Date("2026-12-01T00:00:00Z");
const read = (name: string) => Deno.readTextFileSync(`${FIXTURES}/keys/${name}`);
const certificate = (name: string) => Certificate.listFromPem(read(`${name}.pem`), { max: 1 })[0]!;

Deno.test("certificates of the fixtures are read, and lead to each other", () => {
  const [root, middle, other] = ["ca-root", "ca-intermediate", "ca-other-root"].map(certificate);
  assert.equal(root!.issuer, root!.subject);
  assert.equal(middle!.issuer, root!.subject);
  assert.equal(middle!.isSignedBy(root!), true);
  assert.equal(middle!.isSignedBy(other!), false);
  assert.equal(root!.authority.ca, true);
  assert.deepEqual(root!.unknownCritical, []);
  const options = { intermediates: [], time: NOW };
  assert.equal(chainFault(middle!, { ...options, anchors: [root!] }), undefined);
  assert.match(chainFault(middle!, { ...options, anchors: [other!] })!, /unknown authority/);
  const late = { ...options, anchors: [root!], time: new Date("2200-01-01T00:00:00Z") };
  assert.match(chainFault(middle!, late)!, /expired or is not yet valid/);
});

Deno.test("truth values that DER does not have are refused, and not taken for false", () => {
  const { der } = certificate("ca-root");
  const places = [...der.keys()].filter((at) =>
    der[at] === DER.boolean && der[at + 1] === 1 && der[at + 2] === 0xff
  );
  assert.ok(places.length >= 2, "the authority and what is critical");
  for (const at of places) {
    const changed = Uint8Array.from(der);
    changed[at + 2] = 1;
    assert.throws(() => Certificate.fromDer(changed).authority, {
      code: "CFS_FORMAT",
      message: "Certificate with a truth value that is none",
    });
  }
});

/** How a certificate is made, as OpenSSL's extension files have it. */
interface Recipe {
  name: string;
  issuer: string;
  extensions: string;
}

const CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
const LEAF = "keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n";

const RECIPES: readonly Recipe[] = [
  { name: "root", issuer: "root", extensions: CA },
  { name: "middle", issuer: "root", extensions: CA },
  { name: "deeper", issuer: "middle", extensions: CA },
  {
    name: "short",
    issuer: "root",
    extensions: "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n",
  },
  { name: "below-short", issuer: "short", extensions: CA },
  { name: "no-ca", issuer: "root", extensions: "basicConstraints=critical,CA:FALSE\n" },
  {
    name: "no-cert-sign",
    issuer: "root",
    extensions: "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature\n",
  },
  { name: "server", issuer: "root", extensions: `${CA}extendedKeyUsage=serverAuth\n` },
  {
    name: "named",
    issuer: "root",
    extensions: `${CA}nameConstraints=critical,permitted;email:example.com\n`,
  },
  { name: "critical", issuer: "root", extensions: `${CA}1.2.3.4=critical,ASN1:UTF8String:x\n` },
];

const CASES: readonly { via: readonly string[]; extensions?: string; fault?: RegExp }[] = [
  { via: ["root"] },
  { via: ["root", "middle"] },
  { via: ["root", "middle", "deeper"] },
  { via: ["root", "short"] },
  { via: ["root", "short", "below-short"], fault: /too many intermediates/ },
  { via: ["root", "no-ca"], fault: /not authorized to sign/ },
  { via: ["root", "no-cert-sign"], fault: /not authorized to sign/ },
  { via: ["root", "server"], fault: /incompatible key usage/ },
  { via: ["root", "named"], fault: /name constraints are not supported/ },
  { via: ["root", "critical"], fault: /unhandled critical extension 1\.2\.3\.4/ },
  { via: ["root"], extensions: "extendedKeyUsage=serverAuth\n", fault: /incompatible key usage/ },
  { via: ["root"], extensions: "extendedKeyUsage=anyExtendedKeyUsage\n" },
  { via: ["root"], extensions: "basicConstraints=CA:FALSE\n" },
];

testWith({
  name: "chains are followed as OpenSSL follows them",
  needs: [needTool("openssl")],
  async fn(t) {
    using dir = new TempDir();
    const openssl = async (...args: string[]) => {
      const result = await run([tool("openssl"), ...args]);
      assert.equal(result.code, 0, result.stderr);
    };
    const make = async ({ name, issuer, extensions }: Recipe) => {
      const [key, request, out] = ["key", "csr", "pem"].map((end) => dir.join(`${name}.${end}`));
      const curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
      await openssl("genpkey", ...curve, "-out", key!);
      await openssl("req", "-new", "-key", key!, "-subj", `/CN=${name}`, "-out", request!);
      dir.write(`${name}.ext`, new TextEncoder().encode(extensions));
      const by = name === issuer
        ? ["-signkey", key!]
        : ["-CA", dir.join(`${issuer}.pem`), "-CAkey", dir.join(`${issuer}.key`)];
      const serial = ["-set_serial", String(1000 + name.length), "-days", "3650"];
      const file = ["-extfile", dir.join(`${name}.ext`)];
      await openssl("x509", "-req", "-in", request!, ...by, ...serial, ...file, "-out", out!);
      return Certificate.listFromPem(Deno.readTextFileSync(out!), { max: 1 })[0]!;
    };
    const made = new Map<string, Certificate>();
    for (const recipe of RECIPES) made.set(recipe.name, await make(recipe));
    for (const [i, { via, extensions, fault }] of CASES.entries()) {
      await t.step(`${via.join(", ")} ${extensions ?? ""}`.trim(), async () => {
        const name = `leaf${i}`;
        const leaf = await make({ name, issuer: via.at(-1)!, extensions: extensions ?? LEAF });
        const found = chainFault(leaf, {
          anchors: [made.get("root")!],
          intermediates: via.slice(1).map((one) => made.get(one)!),
          time: new Date(),
        });
        if (fault === undefined) assert.equal(found, undefined);
        else assert.match(found ?? "accepted", fault);
        // What nobody in between is there for leads nowhere.
        if (via.length < 2) return;
        const none = { anchors: [made.get("root")!], intermediates: [], time: new Date() };
        assert.match(chainFault(leaf, none)!, /unknown authority/);
      });
    }
  },
});

Deno.test("certificates that issued each other end a search", () => {
  const [root, middle] = ["ca-root", "ca-intermediate"].map(certificate);
  const many = Array.from({ length: 1000 }, () => middle!);
  const started = performance.now();
  const options = {
    anchors: [certificate("ca-other-root")],
    intermediates: [...many, root!],
    time: NOW,
  };
  assert.notEqual(chainFault(middle!, options), undefined);
  assert.ok(performance.now() - started < 1000);
});

Deno.test("DerReader refuses what is not the shortest, or cut off", async (t) => {
  const cases: Record<string, number[]> = {
    "nothing": [],
    "a tag alone": [0x30],
    "a length that is too large": [0x30, 2, 0],
    "a long form for a short length": [0x30, 0x81, 1, 0],
    "leading zeros": [0x30, 0x82, 0, 0x80, ...new Array(128).fill(0)],
    "an open length": [0x30, 0x80, 0, 0],
    "a long tag": [0x1f, 0x81, 0],
    "another tag": [0x31, 0],
  };
  for (const [name, bytes] of Object.entries(cases)) {
    await t.step(name, () => {
      const reader = new DerReader(Uint8Array.from(bytes));
      assert.throws(() => reader.read(DER.sequence), { code: "CFS_FORMAT" });
    });
  }
});

Deno.test("PublicKey takes one key of a known kind", async (t) => {
  for (const name of ["ec-p256", "ec-p384", "rsa2048", "ed25519"]) {
    await t.step(name, () => {
      const key = PublicKey.fromPem(read(`${name}.pub`));
      assert.deepEqual(PublicKey.fromSpki(key.spki).spki, key.spki);
      assert.equal(key.verify(new Uint8Array(3), new Uint8Array(70)), false);
    });
  }
  const pem = (type: "rsa" | "ec" | "x25519", options: object) =>
    generateKeyPairSync(type as "rsa", options as { modulusLength: number }).publicKey
      .export({ type: "spki", format: "pem" }) as string;
  const one = read("ec-p256.pub");
  const bad: Record<string, string> = {
    "nothing": "",
    "two keys": one + one,
    "a certificate": read("ca-root.pem"),
    "a short RSA key": pem("rsa", { modulusLength: 1024 }),
    "another curve": pem("ec", { namedCurve: "secp256k1" }),
    "a key for something else": pem("x25519", {}),
    "no end": one.replace(/-----END.*/s, ""),
    "no base64": one.replace(/\n[A-Za-z0-9+/]{10}/, "\n!!!!!!!!!!"),
    "no key": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
  };
  for (const [name, text] of Object.entries(bad)) {
    await t.step(`not ${name}`, () => {
      assert.throws(() => PublicKey.fromPem(text), { code: "CFS_FORMAT" });
    });
  }
});

Deno.test("PEM: text around blocks is left out, or refused where there must be one block", () => {
  const one = read("ec-p256.pub");
  assert.equal(pemBlocks(`comment\n${one}more\n${one}`).length, 2);
  assert.equal(singlePemBlock(`\n${one}\n`).label, "PUBLIC KEY");
  for (const text of [`x\n${one}`, `${one}x`, one + one, ""]) {
    assert.throws(() => singlePemBlock(text), { code: "CFS_FORMAT" });
  }
});
