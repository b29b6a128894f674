import type * as NodeCrypto from "node:crypto";
import type * as NodeZlib from "node:zlib";
import { UnsupportedError } from "./errors.ts";

/** The built-in modules that are loaded on use. */
export interface Builtins {
  /** Hashing. */
  "node:crypto": typeof NodeCrypto;
  /** Compression. */
  "node:zlib": typeof NodeZlib;
}

interface Host {
  readonly process?: { getBuiltinModule?(name: string): unknown };
}

/**
 * A built-in module, loaded at the first use: an import would cost every start and every worker
 * some 15 milliseconds each, and most never need it.
 *
 * @throws {UnsupportedError} where the runtime does not have it
 */
export function builtin<N extends keyof Builtins>(name: N): Builtins[N] {
  const found = (globalThis as Host).process?.getBuiltinModule?.(name);
  if (found === undefined) throw new UnsupportedError(`This runtime has no ${name}`);
  return found as Builtins[N];
}
