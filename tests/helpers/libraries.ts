/**
 * Loads the libraries that the product loads on first use, so that Deno's check for leaks does not
 * blame the test that happens to be first. Import it for that effect.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import { lzma, systemHash, WholeInflater } from "../../ffi/mod.ts";

// Symbols that are rarely needed are loaded when one of them is looked at.
const symbols = libc();
for (const name of Object.getOwnPropertyNames(symbols)) Reflect.get(symbols, name);
systemHash();
lzma();
WholeInflater.open()?.[Symbol.dispose]();
