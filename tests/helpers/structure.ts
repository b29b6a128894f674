/**
 * The rules of the floor plan as a pure check over a list of modules: which room may import which,
 * what the pure rooms must not touch, and how packages come in.
 *
 * @module
 */

/** One source file with what it imports. */
export interface SourceModule {
  /** Path from the top of the project, with forward slashes. */
  path: string;
  /** Source text. */
  text: string;
  /** Import, export-from and dynamic import edges. */
  imports: ImportEdge[];
}

/** One import as written and, when it is a file of the project, where it leads. */
export interface ImportEdge {
  /** The specifier as written. */
  specifier: string;
  /** Path from the top of the project; absent for packages and built-ins. */
  target?: string;
  /** Why the runtime cannot resolve it, if it cannot. */
  error?: string;
}

/** The most lines a file of product code may have. */
export const MAX_LINES = 600;

/** Rooms by floor, each floor in its order from left to right. */
export const FLOORS: readonly (readonly string[])[] = [
  ["lib/base"],
  [
    "lib/fsverity",
    "lib/tree",
    "lib/dumpfile",
    "lib/erofs",
    "lib/splitstream",
    "lib/tar",
    "lib/chunked",
  ],
  ["ffi"],
  [
    "lib/http",
    "lib/registry",
    "lib/signature",
    "lib/trust",
    "lib/mount",
    "lib/storage",
    "lib/scan",
    "lib/repository",
  ],
  ["lib/boot", "lib/delta", "lib/transport", "lib/oci", "lib/ostree", "lib/varlink"],
  ["mod.ts", "cli"],
];

const PURE_FLOORS = 2;
/** Rooms of higher floors that are pure all the same. */
const PURE_ROOMS: readonly string[] = ["lib/delta"];

/** Built-in modules that do I/O, so that a pure room cannot use them. */
const IMPURE_BUILTIN =
  /^node:(fs|child_process|cluster|dgram|dns|http|http2|https|net|os|process|tls|tty|worker_threads)(\/|$)/;

const EXACT_NPM = /^npm:\/?((?:@[^/@]+\/)?[^/@]+)@\d+\.\d+\.\d+(?:-[\w.]+)?(?:\/.*)?$/;

/**
 * The room a file belongs to.
 *
 * @param path Path from the top of the project.
 * @returns `lib/x`, `ffi`, `cli` or `mod.ts`; undefined when it is none of these.
 */
export function roomOf(path: string): string | undefined {
  if (path === "mod.ts") return "mod.ts";
  const lib = /^(lib\/[^/]+)\//.exec(path);
  if (lib) return lib[1];
  return /^(ffi|cli)\//.exec(path)?.[1];
}

function floorOf(room: string): number {
  return FLOORS.findIndex((rooms) => rooms.includes(room));
}

function isPure(room: string): boolean {
  const floor = floorOf(room);
  return (floor >= 0 && floor < PURE_FLOORS) || PURE_ROOMS.includes(room);
}

function mayImport(from: string, to: string): boolean {
  // The floor plan gives the system call layer less than its place would allow.
  if (from === "ffi") return to === "lib/base";
  const [fromFloor, toFloor] = [floorOf(from), floorOf(to)];
  if (fromFloor !== toFloor) return toFloor < fromFloor;
  const row = FLOORS[fromFloor] ?? [];
  return row.indexOf(to) < row.indexOf(from);
}

function checkEdge(from: SourceModule, edge: ImportEdge): string | undefined {
  const { specifier, target } = edge;
  if (edge.error !== undefined) return `cannot resolve "${specifier}": ${edge.error}`;
  if (/^(jsr:|@std\/)/.test(specifier)) return `imports "${specifier}"`;
  if (/^(https?|data|blob):/.test(specifier)) return `imports remote code "${specifier}"`;
  if (specifier.startsWith("npm:")) {
    return EXACT_NPM.test(specifier) ? undefined : `no exact version in "${specifier}"`;
  }
  const room = roomOf(from.path);
  if (room === undefined) return undefined;
  if (specifier.startsWith("node:")) {
    return isPure(room) && IMPURE_BUILTIN.test(specifier)
      ? `pure room imports "${specifier}"`
      : undefined;
  }
  if (target === undefined) return `bare specifier "${specifier}"`;
  const targetRoom = roomOf(target);
  if (targetRoom === undefined) return `imports "${target}", which is not product code`;
  if (targetRoom === room) return undefined;
  if (floorOf(targetRoom) < 0) return undefined; // reported once, for the room itself
  if (!mayImport(room, targetRoom)) return `${room} must not import ${targetRoom} ("${target}")`;
  const file = target.slice(target.lastIndexOf("/") + 1);
  if (file.startsWith("_")) return `imports the private file "${target}"`;
  return file === "mod.ts" ? undefined : `imports "${target}" past its mod.ts`;
}

/**
 * Import cycles between files.
 *
 * @param modules All modules.
 * @returns One fault a cycle, naming the files on it in order.
 */
export function findCycles(modules: readonly SourceModule[]): string[] {
  const byPath = new Map(modules.map((module) => [module.path, module]));
  const done = new Set<string>();
  const faults: string[] = [];
  for (const start of modules) {
    const stack: { path: string; next: number }[] = [];
    const onStack = new Set<string>();
    const enter = (path: string) => {
      stack.push({ path, next: 0 });
      onStack.add(path);
    };
    if (!done.has(start.path)) enter(start.path);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const target = byPath.get(top.path)?.imports[top.next++];
      if (target === undefined) {
        stack.pop();
        onStack.delete(top.path);
        done.add(top.path);
      } else if (target.target !== undefined && onStack.has(target.target)) {
        const paths = stack.map((entry) => entry.path);
        const cycle = paths.slice(paths.indexOf(target.target));
        faults.push(`${top.path}: cycle: ${[...cycle, target.target].join(" → ")}`);
      } else if (target.target !== undefined && !done.has(target.target)) {
        if (byPath.has(target.target)) enter(target.target);
      }
    }
  }
  return faults;
}

function checkDoors(modules: readonly SourceModule[]): string[] {
  const users = new Map<string, Set<string>>();
  for (const module of modules) {
    for (const { specifier } of module.imports) {
      const name = EXACT_NPM.exec(specifier)?.[1];
      if (name === undefined) continue;
      users.set(name, (users.get(name) ?? new Set()).add(module.path));
    }
  }
  return [...users].filter(([, files]) => files.size > 1).map(([name, files]) =>
    `${[...files].sort()[0]}: package "${name}" has more than one door: ${
      [...files].sort().join(", ")
    }`
  );
}

function identifierPlugin(path: string): Deno.lint.Plugin {
  const room = roomOf(path) ?? "";
  const forbidden = new Map<string, string>();
  if (isPure(room)) forbidden.set("Deno", `pure room uses "Deno"`);
  if (/^(lib|ffi)\b/.test(room)) forbidden.set("console", "library uses console");
  if (room !== "ffi") forbidden.set("dlopen", "only ffi may load native libraries");
  return {
    name: "floor-plan",
    rules: {
      uses: {
        create(context) {
          return {
            Identifier(node) {
              const message = forbidden.get(node.name);
              if (message !== undefined) context.report({ node, message });
            },
            Program(node) {
              if (path !== "mod.ts") return;
              for (const statement of node.body) {
                if (
                  /^(Export(All|Named)|Import)Declaration$/.test(statement.type) &&
                  !("declaration" in statement && statement.declaration)
                ) continue;
                context.report({ node: statement, message: "the root mod.ts may only export" });
              }
            },
          };
        },
      },
    },
  };
}

/**
 * What a file's own text says: length and forbidden globals, found in the syntax tree so that
 * comments and strings do not count.
 */
function checkText(module: SourceModule): string[] {
  const faults: string[] = [];
  const lines = module.text.split("\n").length - (module.text.endsWith("\n") ? 1 : 0);
  if (lines > MAX_LINES) faults.push(`${lines} lines, more than ${MAX_LINES}`);
  const found = Deno.lint.runPlugin(identifierPlugin(module.path), module.path, module.text);
  for (const diagnostic of found) {
    const line = module.text.slice(0, diagnostic.range[0]).split("\n").length;
    faults.push(`line ${line}: ${diagnostic.message}`);
  }
  return faults;
}

/**
 * Checks modules against the floor plan. Runs only under `deno test`, which has the linter.
 *
 * @param modules All product modules with their imports.
 * @returns One line a fault, `path: what is wrong`; empty when all is well.
 */
export function checkStructure(modules: readonly SourceModule[]): string[] {
  const faults: string[] = [];
  for (const module of modules) {
    const room = roomOf(module.path);
    if (room === undefined || floorOf(room) < 0) {
      faults.push(`${module.path}: no such room in the floor plan`);
    }
    for (const edge of module.imports) {
      const fault = checkEdge(module, edge);
      if (fault !== undefined) faults.push(`${module.path}: ${fault}`);
    }
    for (const fault of checkText(module)) faults.push(`${module.path}: ${fault}`);
  }
  return [...faults, ...findCycles(modules), ...checkDoors(modules)];
}
