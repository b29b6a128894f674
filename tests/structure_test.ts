import assert from "node:assert/strict";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  checkStructure,
  type ImportEdge,
  MAX_LINES,
  type SourceModule,
} from "./helpers/structure.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

/** All product files: those no entry point reaches, workers among them, count as well. */
async function listProductFiles(): Promise<string[]> {
  const files: string[] = [];
  const pending = ["lib", "ffi", "cli"];
  for (let dir = pending.pop(); dir !== undefined; dir = pending.pop()) {
    for await (const entry of Deno.readDir(ROOT + dir)) {
      const path = `${dir}/${entry.name}`;
      if (entry.isDirectory) pending.push(path);
      else if (/\.(m|c)?(t|j)sx?$/.test(entry.name)) files.push(path);
    }
  }
  for await (const entry of Deno.readDir(ROOT)) if (entry.name === "mod.ts") files.push("mod.ts");
  return files.sort();
}

interface InfoDependency {
  specifier: string;
  code?: { specifier?: string; error?: string };
  type?: { specifier?: string; error?: string };
}

interface Info {
  modules: { specifier: string; error?: string; dependencies?: InfoDependency[] }[];
}

/** Reads the module graph of all files at once through a module that imports each of them. */
async function readGraph(files: string[]): Promise<SourceModule[]> {
  const entry = await Deno.makeTempFile({ suffix: ".ts" });
  let info: Info;
  try {
    const lines = files.map((file) => `import ${JSON.stringify(pathToFileURL(ROOT + file).href)};`);
    await Deno.writeTextFile(entry, lines.join("\n"));
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", "--no-lock", "--config", ROOT + "deno.json", entry],
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    info = JSON.parse(new TextDecoder().decode(stdout));
  } finally {
    await Deno.remove(entry);
  }
  const base = pathToFileURL(ROOT).href;
  const errors = new Map(info.modules.map((module) => [module.specifier, module.error]));
  const bySpecifier = new Map(info.modules.map((module) => [module.specifier, module]));
  return await Promise.all(files.map(async (path) => {
    const module = bySpecifier.get(pathToFileURL(ROOT + path).href);
    assert.ok(module, `${path} is not in the module graph`);
    assert.equal(module.error, undefined, `${path}: ${module.error}`);
    const imports = (module.dependencies ?? []).map((dependency): ImportEdge => {
      const resolved = dependency.code ?? dependency.type ?? {};
      const error = resolved.error ?? errors.get(resolved.specifier ?? "");
      return {
        specifier: dependency.specifier,
        ...(resolved.specifier?.startsWith(base)
          ? { target: decodeURI(resolved.specifier.slice(base.length)) }
          : {}),
        ...(error === undefined ? {} : { error }),
      };
    });
    return { path, text: await Deno.readTextFile(ROOT + path), imports };
  }));
}

function module(path: string, targets: string[] = [], text = "export {};\n"): SourceModule {
  const imports = targets.map((target): ImportEdge =>
    /^(\.\/)?(lib|ffi|cli|tests|mod\.ts)/.test(target)
      ? { specifier: target, target }
      : { specifier: target }
  );
  return { path, text, imports };
}

const cases: { name: string; modules: SourceModule[]; fault?: RegExp }[] = [
  {
    name: "downward and leftward imports through mod.ts",
    modules: [
      module("lib/erofs/mod.ts", ["lib/base/mod.ts", "lib/tree/mod.ts", "lib/erofs/read.ts"]),
      module("lib/repository/gc.ts", ["ffi/mod.ts", "lib/scan/mod.ts", "node:fs"]),
      module("ffi/open.ts", ["lib/base/mod.ts"]),
      module("cli/main.ts", ["mod.ts", "lib/oci/mod.ts", "npm:commander@15.0.0"]),
      module("lib/base/node_hash.ts", ["node:crypto"]),
    ],
  },
  {
    name: "words in comments, strings and property positions of the pure rooms",
    modules: [
      module("lib/base/a.ts", [], '// Deno.open\nexport const a = "console.log";\n'),
      module("lib/oci/a.ts", [], "export const a = () => Deno.pid;\n"),
      module("cli/a.ts", [], "console.log(1);\n"),
      module("ffi/a.ts", [], 'Deno.dlopen("x", {});\n'),
      module("lib/base/long.ts", [], "\n".repeat(MAX_LINES)),
      module("mod.ts", ["lib/base/mod.ts"], 'export { a } from "./lib/base/mod.ts";\n'),
    ],
  },
  {
    name: "an upward import",
    modules: [module("lib/tree/a.ts", ["lib/repository/mod.ts"])],
    fault: /lib\/tree must not import lib\/repository/,
  },
  {
    name: "an import of a room to the right",
    modules: [module("lib/tree/a.ts", ["lib/erofs/mod.ts"])],
    fault: /lib\/tree must not import lib\/erofs/,
  },
  {
    name: "the directory scan importing the repository",
    modules: [module("lib/scan/a.ts", ["lib/repository/mod.ts"])],
    fault: /lib\/scan must not import lib\/repository/,
  },
  {
    name: "ffi importing more than lib/base",
    modules: [module("ffi/a.ts", ["lib/tree/mod.ts"])],
    fault: /ffi must not import lib\/tree/,
  },
  {
    name: "somebody importing cli",
    modules: [module("mod.ts", ["cli/mod.ts"])],
    fault: /mod\.ts must not import cli/,
  },
  {
    name: "an import past a room's door",
    modules: [module("lib/erofs/a.ts", ["lib/tree/tree.ts"])],
    fault: /past its mod\.ts/,
  },
  {
    name: "a private import from outside",
    modules: [module("lib/oci/a.ts", ["lib/repository/_state.ts"])],
    fault: /private file "lib\/repository\/_state\.ts"/,
  },
  {
    name: "product code importing a test helper",
    modules: [module("lib/oci/a.ts", ["tests/helpers/run.ts"])],
    fault: /not product code/,
  },
  {
    name: "a cycle",
    modules: [
      module("lib/tar/a.ts", ["lib/tar/b.ts"]),
      module("lib/tar/b.ts", ["lib/tar/c.ts"]),
      module("lib/tar/c.ts", ["lib/tar/b.ts"]),
    ],
    fault: /^lib\/tar\/c\.ts: cycle: lib\/tar\/b\.ts → lib\/tar\/c\.ts → lib\/tar\/b\.ts$/,
  },
  {
    name: "Deno in a pure room",
    modules: [module("lib/tar/a.ts", [], "export {};\nDeno.openSync;\n")],
    fault: /line 2: pure room uses "Deno"/,
  },
  {
    name: "a Deno type in a pure room",
    modules: [module("lib/base/a.ts", [], "export type A = Deno.FsFile;\n")],
    fault: /pure room uses "Deno"/,
  },
  {
    name: "node:fs in a pure room",
    modules: [module("lib/erofs/a.ts", ["node:fs/promises"])],
    fault: /pure room imports "node:fs\/promises"/,
  },
  {
    name: "native code loaded outside ffi",
    modules: [module("lib/mount/a.ts", [], 'Deno.dlopen("x", {});\n')],
    fault: /only ffi/,
  },
  {
    name: "console in lib",
    modules: [module("lib/mount/a.ts", [], "console.log(1);\n")],
    fault: /library uses console/,
  },
  {
    name: "console in ffi",
    modules: [module("ffi/a.ts", [], "globalThis.console.log(1);\n")],
    fault: /library uses console/,
  },
  {
    name: "logic in the root mod.ts",
    modules: [module("mod.ts", [], "export const a = 1;\n")],
    fault: /may only export/,
  },
  { name: "jsr", modules: [module("cli/a.ts", ["jsr:@std/path@1.0.0"])], fault: /imports "jsr:/ },
  { name: "@std", modules: [module("cli/a.ts", ["@std/path"])], fault: /imports "@std\/path"/ },
  {
    name: "a remote import",
    modules: [module("cli/a.ts", ["https://example.com/a.ts"])],
    fault: /remote code/,
  },
  {
    name: "a bare package name",
    modules: [module("cli/a.ts", ["commander"])],
    fault: /bare specifier "commander"/,
  },
  {
    name: "a package without version",
    modules: [module("cli/a.ts", ["npm:commander"])],
    fault: /no exact version/,
  },
  {
    name: "a package with a version range",
    modules: [module("cli/a.ts", ["npm:@commander-js/extra-typings@^15.0.0"])],
    fault: /no exact version/,
  },
  {
    name: "a package behind two doors",
    modules: [
      module("cli/a.ts", ["npm:@a/b@1.0.0/x"]),
      module("cli/b.ts", ["npm:@a/b@1.0.0"]),
    ],
    fault: /^cli\/a\.ts: package "@a\/b" has more than one door: cli\/a\.ts, cli\/b\.ts$/,
  },
  {
    name: "a file of too many lines",
    modules: [module("cli/a.ts", [], "\n".repeat(MAX_LINES + 1))],
    fault: /601 lines/,
  },
  {
    name: "a room the plan does not know",
    modules: [module("lib/utils/a.ts")],
    fault: /no such room/,
  },
  {
    name: "an import that leads nowhere",
    modules: [{
      ...module("cli/a.ts"),
      imports: [{ specifier: "./b.ts", target: "cli/b.ts", error: "Module not found" }],
    }],
    fault: /cannot resolve "\.\/b\.ts": Module not found/,
  },
];

Deno.test("checkStructure() finds each kind of fault and nothing else", async (t) => {
  for (const { name, modules, fault } of cases) {
    await t.step(name, () => {
      const faults = checkStructure(modules);
      if (fault === undefined) return assert.deepEqual(faults, []);
      assert.equal(faults.length, 1, JSON.stringify(faults));
      assert.match(faults[0]!, fault);
    });
  }
});

Deno.test("the product keeps the floor plan", async () => {
  const files = await listProductFiles();
  assert.ok(files.includes("lib/base/mod.ts"));
  assert.deepEqual(checkStructure(await readGraph(files)), []);
});

Deno.test("every room has a door", async () => {
  const files = await listProductFiles();
  const rooms = new Set(files.flatMap((file) => /^(lib\/[^/]+|ffi)\//.exec(file)?.[1] ?? []));
  const config = JSON.parse(await Deno.readTextFile(ROOT + "deno.json"));
  const exported = new Set(Object.values(config.exports as Record<string, string>));
  for (const room of rooms) {
    assert.ok(files.includes(`${room}/mod.ts`), `${room} has no mod.ts`);
    assert.ok(exported.has(`./${room}/mod.ts`), `${room} is not in deno.json's exports`);
  }
});
