/** Looking for a policy costs next to nothing where there is none. */
import assert from "node:assert/strict";
import {
  glanceAtPolicy,
  noPolicy,
  policyFiles,
  type PolicyGlance,
} from "../../lib/trust/places/mod.ts";
import { findPolicy } from "../../lib/trust/mod.ts";
import "../helpers/libraries.ts";
import { ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

const POLICY = ".config/containers/policy.json";

Deno.test("glanceAtPolicy() takes whatever is in the place of a policy for one", async (t) => {
  const cases: { name: string; make: (home: string, root: string) => void; found: PolicyGlance }[] =
    [
      { name: "nothing", make: () => {}, found: "none" },
      {
        name: "the user's",
        make: (home) => write(`${home}/${POLICY}`, "{}"),
        found: "unread",
      },
      {
        name: "the system's",
        make: (_, root) => write(`${root}/etc/containers/policy.json`, "{}"),
        found: "unread",
      },
      {
        name: "one that is no policy",
        make: (home) => write(`${home}/${POLICY}`, "nonsense"),
        found: "unread",
      },
      {
        name: "a directory",
        make: (home) => Deno.mkdirSync(`${home}/${POLICY}`, { recursive: true }),
        found: "unread",
      },
      {
        name: "a link that leads to itself",
        make(home) {
          Deno.mkdirSync(`${home}/.config/containers`, { recursive: true });
          Deno.symlinkSync("policy.json", `${home}/${POLICY}`);
        },
        found: "unread",
      },
      {
        name: "a link that leads nowhere, which reads as none",
        make(home) {
          Deno.mkdirSync(`${home}/.config/containers`, { recursive: true });
          Deno.symlinkSync("gone", `${home}/${POLICY}`);
        },
        found: "none",
      },
    ];
  for (const { name, make, found } of cases) {
    await t.step(name, () => {
      using home = new TempDir();
      using root = new TempDir();
      make(home.path, root.path);
      const places = { home: home.path, root: root.path, isRoot: true };
      assert.equal(glanceAtPolicy(places), found);
    });
  }
});

Deno.test("glanceAtPolicy() knows the policies that distributions ship, and none that says more", async (t) => {
  const accept = '[{"type":"insecureAcceptAnything"}]';
  const transports = `"transports":{"docker-daemon":{"":${accept}}}`;
  const shipped = [
    `{"default":${accept}}`,
    `{"default":${accept},${transports}}`,
    JSON.stringify(JSON.parse(`{"default":${accept},${transports}}`), null, 4) + "\n",
    `\r\n\t {"default" : ${accept} } `,
  ];
  const others = [
    "",
    "{}",
    `{"default":[{"type":"reject"}]}`,
    `{"default":[{"type":" insecureAcceptAnything"}]}`,
    `{"default":[{"type":"insecureAcceptAnything"},{"type":"reject"}]}`,
    `{"default":${accept},"default":[{"type":"reject"}]}`,
    `{"default":${accept},"transports":{"docker":{"":[{"type":"reject"}]}}}`,
    `{"default":${accept}} {}`,
    `{"default":${accept}}\u00a0`,
    `{"default":${accept}}${" ".repeat(2000)}`,
    `x{"default":${accept}}`,
  ];
  for (const [texts, expected] of [[shipped, "accepts-everything"], [others, "unread"]] as const) {
    for (const text of texts) {
      await t.step(JSON.stringify(text.slice(0, 100)), () => {
        using home = new TempDir();
        using root = new TempDir();
        const places = { home: home.path, root: root.path, isRoot: true };
        write(`${root.path}/etc/containers/policy.json`, text);
        assert.equal(glanceAtPolicy(places), expected);
        // What a user decided counts before that of the system.
        write(`${home.path}/${POLICY}`, "{}");
        assert.equal(glanceAtPolicy(places), "unread");
        if (expected === "unread") return;
        const { policy } = findPolicy({ places: { ...places, home: undefined } })!;
        const scopes = [...policy.transports.values()].flatMap((byScope) => [...byScope.values()]);
        for (const demands of [policy.default, ...scopes]) {
          assert.deepEqual(demands, [{ type: "insecureAcceptAnything" }]);
        }
      });
    }
  }
});

Deno.test("noPolicy() names the places that were looked at", () => {
  const places = { home: "/h", root: "/r", isRoot: false };
  assert.deepEqual(policyFiles(places), [`/h/${POLICY}`, "/r/etc/containers/policy.json"]);
  for (const file of policyFiles(places)) assert.ok(noPolicy(places).message.includes(file));
});

Deno.test("a pull loads nothing of lib/trust but the places before it has found a policy", () => {
  const { code, stdout } = new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", `${ROOT}lib/oci/admission.ts`],
  }).outputSync();
  assert.equal(code, 0);
  interface Dependency {
    code?: { specifier?: string };
    isDynamic?: boolean;
  }
  const { roots, modules } = JSON.parse(new TextDecoder().decode(stdout)) as {
    roots: string[];
    modules: { specifier: string; dependencies?: Dependency[] }[];
  };
  const edges = new Map(modules.map((module) => [module.specifier, module.dependencies ?? []]));
  const seen = new Set(roots);
  // A set that grows while it is walked.
  for (const specifier of seen) {
    for (const { code, isDynamic } of edges.get(specifier) ?? []) {
      if (!isDynamic && code?.specifier !== undefined) seen.add(code.specifier);
    }
  }
  const loaded = [...seen].filter((one) => /\/lib\/(trust|signature|registry|http)\//.test(one));
  assert.deepEqual(loaded.map((one) => one.replace(/^.*\/lib\//, "lib/")), [
    "lib/trust/places/mod.ts",
  ]);
});

function write(path: string, text: string): void {
  Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  Deno.writeTextFileSync(path, text);
}
