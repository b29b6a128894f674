/**
 * Hashing through libcrypto: one call a block with addresses as numbers, which halves the cost
 * against `node:crypto`. Where libcrypto cannot be loaded, `node:crypto` serves; chosen once.
 */
import {
  type BlockHash,
  HASH_SIZE,
  type HashName,
  type HashProvider,
  nodeHash,
  type StreamHash,
} from "../lib/base/mod.ts";
import type { NumberCalls } from "./libc.ts";
import { addressOf } from "./memory.ts";

const SYMBOLS = {
  // EVP_MD *EVP_MD_fetch(OSSL_LIB_CTX *ctx, const char *algorithm, const char *properties)
  EVP_MD_fetch: { parameters: ["usize", "buffer", "usize"], result: "usize" },
  // int EVP_Digest(const void *data, size_t count, unsigned char *md, unsigned int *size,
  //                const EVP_MD *type, ENGINE *impl)
  EVP_Digest: {
    parameters: ["usize", "usize", "usize", "usize", "usize", "usize"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

type Crypto = NumberCalls<typeof SYMBOLS>;

class CryptoBlockHash implements BlockHash {
  readonly name: HashName;
  readonly size: 32 | 64;
  readonly #symbols: Crypto;
  readonly #type: number;

  constructor(symbols: Crypto, name: HashName, type: number) {
    this.name = name;
    this.size = HASH_SIZE[name];
    this.#symbols = symbols;
    this.#type = type;
  }

  hash(data: Uint8Array, offset: number, length: number, out: Uint8Array, outOffset: number): void {
    // Output first: the input's buffer is then the remembered one for the next block.
    const target = addressOfSmall(out) + outOffset;
    const source = addressOf(data) + offset;
    if (this.#symbols.EVP_Digest(source, length, target, 0, this.#type, 0) !== 1) {
      throw new Error(`EVP_Digest ${this.name} failed`);
    }
  }

  hashBlocks(
    data: Uint8Array,
    blocks: { readonly offset: number; readonly size: number; readonly count: number },
    out: Uint8Array,
    outOffset: number,
  ): void {
    const digest = this.#symbols.EVP_Digest;
    const { size, count } = blocks;
    const type = this.#type;
    let target = addressOfSmall(out) + outOffset;
    let source = addressOf(data) + blocks.offset;
    for (let i = 0; i < count; i++) {
      if (digest(source, size, target, 0, type, 0) !== 1) {
        throw new Error(`EVP_Digest ${this.name} failed`);
      }
      source += size;
      target += this.size;
    }
  }
}

const outAddresses = new WeakMap<ArrayBufferLike, number>();
let lastOut: ArrayBufferLike | undefined;
let lastOutAddress = 0;

/** Like addressOf, with a memory of its own: outputs and inputs alternate. */
function addressOfSmall(bytes: Uint8Array): number {
  const buffer = bytes.buffer;
  if (buffer !== lastOut) {
    let address = outAddresses.get(buffer);
    if (address === undefined) {
      if (buffer.byteLength <= 64) {
        throw new RangeError("Cannot take the address of a buffer of 64 bytes or less");
      }
      address = Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(new Uint8Array(buffer))));
      outAddresses.set(buffer, address);
    }
    lastOut = buffer;
    lastOutAddress = address;
  }
  return lastOutAddress + bytes.byteOffset;
}

class CryptoHash implements HashProvider {
  readonly implementation = "libcrypto";
  readonly #symbols: Crypto;
  readonly #blocks = new Map<HashName, BlockHash>();

  constructor(symbols: Crypto) {
    this.#symbols = symbols;
  }

  block(name: HashName): BlockHash {
    let block = this.#blocks.get(name);
    if (block === undefined) {
      const text = new TextEncoder().encode((name === "sha256" ? "SHA2-256" : "SHA2-512") + "\0");
      const type = Number(this.#symbols.EVP_MD_fetch(0, text, 0));
      if (type === 0) return nodeHash.block(name);
      block = new CryptoBlockHash(this.#symbols, name, type);
      this.#blocks.set(name, block);
    }
    return block;
  }

  stream(name: HashName): StreamHash {
    // Over pieces of 64 KiB and more node:crypto is as fast as a call of ours could be.
    return nodeHash.stream(name);
  }
}

let provider: HashProvider | undefined;

/** The fastest hashing there is here; decided at the first call. */
export function systemHash(): HashProvider {
  return provider ??= loadCrypto() ?? nodeHash;
}

/** libcrypto's hashing, or `undefined` where libcrypto 3 is missing. */
export function loadCrypto(): HashProvider | undefined {
  try {
    return new CryptoHash(Deno.dlopen("libcrypto.so.3", SYMBOLS).symbols as unknown as Crypto);
  } catch {
    // Not there, or another major version: node:crypto gives the same digests.
    return undefined;
  }
}
