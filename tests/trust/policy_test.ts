import assert from "node:assert/strict";
import { FormatError } from "../../lib/base/mod.ts";
import {
  chooseRequirements,
  dockerImage,
  DockerName,
  formatFault,
  type IdentityRule,
  matchesIdentity,
  parsePolicy,
  pathImage,
  type PathTransport,
  readPolicy,
} from "../../lib/trust/mod.ts";
import { readFixture } from "./_fixtures.ts";

interface GrammarRow {
  id: string;
  policy: string | null;
  valid: boolean;
  judged_by: string;
  skopeo_message: string;
}

const encode = (text: string) => new TextEncoder().encode(text);

/** Where our words are others: Go's own about types, and what newer versions of the library say. */
const OTHER_WORDS: Readonly<Record<string, RegExp>> = {
  "default-object": /^array expected, got object$/,
  "transports-null": /^JSON object expected, got null$/,
  "transports-array": /^JSON object expected, got array$/,
  array: /^JSON object expected, got array$/,
  bom: /^invalid character '\\ufeff' looking for beginning of value$/,
  "req-type-number": /^string expected, got number$/,
  "req-signedby-keydata-bad64": /^illegal base64 data$/,
  "req-ident-exactref-notag": /^dockerReference "busybox" contains neither a tag nor digest$/,
  "req-ident-exactref-bad": /^Invalid format of dockerReference "UPPER:1": .* lower-case names$/,
  "req-ident-exactrepo-empty": /^Invalid format of dockerRepository "": /,
  "req-sig-nokey": /^exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio, and pki must/,
  "req-sig-two": /^exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio, and pki must/,
  "req-sig-keypaths-empty": /^"keyPaths" contains no entries$/,
  "req-sig-keydatas-empty": /^"keyDatas" contains no entries$/,
  "req-sig-fulcio-norekor": /^At least one of rekorPublicKeyPath/,
  "req-sig-fulcio-key": /^exactly one of keyPath/,
  "req-sig-fulcio-noemail": /^subjectEmail not specified$/,
  "req-sig-fulcio-noissuer": /^oidcIssuer not specified$/,
  "req-sig-fulcio-noca": /^At least one of caPath and caData must be specified$/,
  "req-sig-fulcio-twoca": /^caPath and caData cannot be used simultaneously$/,
  "req-sig-fulcio-unknown": /^Unknown key "subjectURI"$/,
  "req-sig-rekor-two": /^at most one of rekorPublicKeyPath/,
  "req-sig-rekor-paths-empty": /^"rekorPublicKeyPaths" contains no entries$/,
  "req-sig-pki-rekor": /^rekorPublicKey\* are not supported if pki is used$/,
  "req-sig-pki-nosubject": /^At least one of subjectEmail and subjectHostname must be specified$/,
  "req-sig-pki-twoint": /^caIntermediatesPath and caIntermediatesData cannot be used/,
  "req-sig-pki-noroot": /^At least one of caRootsPath and caRootsData must be specified$/,
};

Deno.test("policies of the grammar table are taken or refused, for the reference's reasons", async (t) => {
  const rows = readFixture<GrammarRow[]>("grammar.json");
  assert.equal(rows.length, 118);
  for (const row of rows) {
    await t.step(row.id, () => {
      const bytes = encode(row.policy ?? "");
      const errors = readPolicy(bytes).faults.filter(({ severity }) => severity === "error");
      if (row.valid) {
        assert.deepEqual(errors, []);
        assert.ok(parsePolicy(bytes, "p.json").default.length > 0);
        return;
      }
      assert.throws(() => parsePolicy(bytes, "p.json"), (error) => {
        assert.ok(error instanceof FormatError);
        assert.match(error.message, /^invalid policy in "p\.json": .+ \(.*line \d+, column \d+\)$/);
        return true;
      });
      const reasons = errors.map(({ reason }) => reason);
      const other = OTHER_WORDS[row.id];
      if (other !== undefined) {
        assert.ok(reasons.some((reason) => other.test(reason)), reasons.join("; "));
        return;
      }
      const wanted = row.skopeo_message.replace(/^.*?"@TMP@\/p\.json": /, "");
      assert.ok(reasons.includes(wanted), `${reasons.join("; ")} without ${wanted}`);
    });
  }
});

Deno.test("readPolicy() tells the place of every fault", async (t) => {
  const cases: { name: string; text: string; faults: string[] }[] = [
    {
      name: "a key path of the wrong type",
      text: '{"default": [{"type": "reject"}],\n "transports": {"docker": {"a": [\n' +
        '  {"type": "signedBy", "keyType": "GPGKeys", "keyPath": 1}]}}}',
      faults: [
        'string expected, got number (transports.docker["a"][0].keyPath, line 3, column 57)',
        "exactly one of keyPath, keyPaths and keyData must be specified " +
        '(transports.docker["a"][0].keyPath, line 3, column 57)',
      ],
    },
    {
      name: "several at once",
      text: '{"x": 1,\n"default": [{"type": "a"}, {"type": "reject", "y": 2}]}',
      faults: [
        'Unknown key "x" (line 1, column 2)',
        'Unknown policy requirement type "a" (default[0].type, line 2, column 22)',
        'Unknown key "y" (default[1], line 2, column 47)',
      ],
    },
    {
      name: "a transport with a strange name",
      text: '{"default":[{"type":"reject"}],"transports":{"a b":{"":[]}}}',
      faults: [
        "List of verification policy requirements must not be empty " +
        '(transports."a b"[""], line 1, column 56)',
      ],
    },
    {
      name: "a syntax error",
      text: '{"default":\n[}',
      faults: [
        "invalid character '}' looking for beginning of value (line 2, column 2)",
      ],
    },
  ];
  for (const { name, text, faults } of cases) {
    await t.step(name, () => {
      assert.deepEqual(readPolicy(encode(text)).faults.map(formatFault), faults);
    });
  }
});

interface IdentityRow {
  n: number;
  image: string;
  signed: string;
  signedIdentity: Record<string, string> | null;
  match: boolean;
}

Deno.test("names in signatures match images as the identity table says", async (t) => {
  const { D1, rows } = readFixture<{ D1: string; rows: IdentityRow[] }>("identity.json");
  assert.equal(rows.length, 91);
  for (const row of rows) {
    await t.step(`${row.n}: ${row.image} signed for ${row.signed}`, () => {
      const rule = ruleOf(row.signedIdentity, D1);
      const image = DockerName.parse(row.image.replace("@D1", `@${D1}`)).withLatest();
      assert.equal(matchesIdentity(rule, image, row.signed.replace("@D1", `@${D1}`)), row.match);
    });
  }
});

/** The rule that a policy with this identity has. */
function ruleOf(identity: Record<string, string> | null, d1: string): IdentityRule {
  const entry = {
    type: "signedBy",
    keyType: "GPGKeys",
    keyPath: "/key",
    ...(identity === null ? {} : { signedIdentity: identity }),
  };
  const text = JSON.stringify({ default: [entry] }).replaceAll("@D1", `@${d1}`);
  const [requirement] = parsePolicy(encode(text), "p.json").default;
  assert.ok(requirement?.type === "signedBy");
  return requirement.identity;
}

Deno.test("names of directories and archives match no rule that compares them", () => {
  const name = "registry.example.com/a:v1";
  for (const type of ["matchExact", "matchRepoDigestOrExact", "matchRepository"] as const) {
    assert.equal(matchesIdentity({ type }, undefined, name), false);
  }
  const remap = { type: "remapIdentity", prefix: "a.example", signedPrefix: "b.example" } as const;
  assert.equal(matchesIdentity(remap, undefined, name), false);
  const repository = DockerName.parse("registry.example.com/a");
  assert.equal(matchesIdentity({ type: "exactRepository", repository }, undefined, name), true);
});

interface ScopeRow {
  image: string;
  scopes: string[];
  chosen: string;
}

Deno.test("the most specific scope is chosen, as the scope table says", async (t) => {
  const { D1 } = readFixture<{ D1: string }>("identity.json");
  const rows = readFixture<ScopeRow[]>("scopes.json");
  assert.equal(rows.length, 44);
  for (const row of rows) {
    await t.step(`${row.image} among ${row.scopes.join(" ")}`, () => {
      const colon = row.image.indexOf(":");
      const transport = row.image.slice(0, colon);
      const rest = row.image.slice(colon + 1).replace("@D1", `@${D1}`);
      const scopes = new Map(
        row.scopes.map((scope) =>
          [scope.replace("@D1", `@${D1}`), [{ type: "reject" as const }]] as const
        ),
      );
      const policy = {
        default: [{ type: "insecureAcceptAnything" as const }],
        transports: new Map([[transport, scopes]]),
      };
      const image = transport === "docker"
        ? dockerImage(DockerName.parse(rest.slice(2)))
        : pathImage(transport as PathTransport, resolved(rest, transport));
      const chosen = chooseRequirements(policy, image);
      const wanted = row.chosen.replace("@D1", `@${D1}`);
      if (row.chosen === "default") assert.equal(chosen.transport, undefined);
      else assert.deepEqual([chosen.transport, chosen.scope], [transport, wanted]);
    });
  }
});

/** The path as the table means it: `link` leads to `a`, and the reference's name is no part. */
function resolved(rest: string, transport: string): string {
  const path = transport === "dir" ? rest : rest.slice(0, rest.lastIndexOf(":"));
  return path.replace(/\/link$/, "/a");
}

Deno.test("DockerName completes names and refuses what is none", async (t) => {
  const hex = "a".repeat(64);
  const good: Record<string, string> = {
    busybox: "docker.io/library/busybox",
    "busybox:1": "docker.io/library/busybox:1",
    "a/b": "docker.io/a/b",
    "localhost/b": "localhost/b",
    "Host/b": "Host/b",
    "index.docker.io/b": "docker.io/library/b",
    "[::1]:5000/b": "[::1]:5000/b",
    "r.example:5000/a/b--c__d.e:T_1": "r.example:5000/a/b--c__d.e:T_1",
    [`r.example/a:1@sha256:${hex}`]: `r.example/a:1@sha256:${hex}`,
  };
  for (const [text, full] of Object.entries(good)) {
    await t.step(text, () => assert.equal(DockerName.parse(text).toString(), full));
  }
  const bad = [
    "",
    "UPPER",
    "a//b",
    "a/",
    "/a",
    "a___b/c",
    "a..b/c..d",
    "a:",
    `a:${"t".repeat(129)}`,
    hex,
    "a@sha256:12",
    `a@sha256:${"A".repeat(64)}`,
    "-a.example/b",
    "a b",
    `r.example/${"x".repeat(250)}`,
  ];
  for (const text of bad) {
    await t.step(`not ${text}`, () => {
      assert.throws(() => DockerName.parse(text), { code: "CFS_INVALID_NAME" });
    });
  }
});
