/** Looking for a policy costs next to nothing where there is none. */
import assert from "node:assert/strict";
import { mayHavePolicy, noPolicy, policyFiles } from "../../lib/trust/places/mod.ts";
import { ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

const POLICY = ".config/containers/policy.json";

Deno.test("mayHavePolicy() is true for whatever is in the place of a policy", async (t) => {
  const cases: { name: string; make: (home: string, root: string) => void; found: boolean }[] = [
    { name: "nothing", make: () => {}, found: false },
    {
      name: "the user's",
      make: (home) => write(`${home}/${POLICY}`, "{}"),
      found: true,
    },
    {
      name: "the system's",
      make: (_, root) => write(`${root}/etc/containers/policy.json`, "{}"),
      found: true,
    },
    {
      name: "one that is no policy",
      make: (home) => write(`${home}/${POLICY}`, "nonsense"),
      found: true,
    },
    {
      name: "a directory",
      make: (home) => Deno.mkdirSync(`${home}/${POLICY}`, { recursive: true }),
      found: true,
    },
    {
      name: "a link that leads to itself",
      make(home) {
        Deno.mkdirSync(`${home}/.config/containers`, { recursive: true });
        Deno.symlinkSync("policy.json", `${home}/${POLICY}`);
      },
      found: true,
    },
    {
      name: "a link that leads nowhere, which reads as none",
      make(home) {
        Deno.mkdirSync(`${home}/.config/containers`, { recursive: true });
        Deno.symlinkSync("gone", `${home}/${POLICY}`);
      },
      found: false,
    },
  ];
  for (const { name, make, found } of cases) {
    await t.step(name, () => {
      using home = new TempDir();
      using root = new TempDir();
      make(home.path, root.path);
      const places = { home: home.path, root: root.path, isRoot: true };
      assert.equal(mayHavePolicy(places), found);
    });
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
