import {
  type ByteString,
  fromHex,
  type HashName,
  type ObjectId,
  toByteString,
} from "../base/mod.ts";
import type { Xattrs } from "../tree/mod.ts";
import {
  BLOCK_SIZE,
  METACOPY_SIZE,
  XATTR_HEADER,
  XATTR_HEADER_SIZE,
  XATTR_REFERENCE_SIZE,
  XATTR_UNIT,
} from "./layout.ts";
import {
  compareNamed,
  compareSplit,
  DIGEST_SIZE,
  headBytes,
  makeXattr,
  metacopyHead,
  writeEntry,
  type XattrItem,
  XattrWriteFault,
} from "./xattr_entry.ts";
import {
  ESCAPED_OPAQUE_NAMES,
  escapeOverlay,
  METACOPY_NAME,
  OPAQUE_NAME,
  REDIRECT_NAME,
  WHITEOUT_NAMES,
  WHITEOUTS_NAMES,
} from "./xattr_names.ts";

/** What the format adds to the attributes of an inode, as bits. */
export const EXTRA = {
  /** `trusted.overlay.metacopy` without a value. */
  emptyMetacopy: 1,
  /** The marks of a regular file that stands for a whiteout. */
  whiteout: 2,
  /** The marks of a directory that holds such files. */
  whiteouts: 4,
  /** The opaque marks that format 1 adds to such a directory. */
  opaqueWhiteouts: 8,
  /** The opaque mark of the root. */
  rootOpaque: 16,
} as const;

/** Formats and dialects differ in how attributes are ordered, replaced and shared. */
export interface XattrRules {
  /** Whether the image has format 2. */
  readonly v2: boolean;
  /** Whether C's rules apply where the implementations differ. */
  readonly c: boolean;
  /** Algorithm of the digests. */
  readonly hash: HashName;
}

/** The reference shares no more attributes of one inode than this. */
const C_SHARED_MAX = 128;
/** An inode's count of shared attributes is one byte. */
const SHARED_MAX = 255;
/** An inode's size of attributes is 16 bits, in units after the header. */
const UNITS_MAX = 65534;
/** The attributes of inodes that have the same, without those that name an object. */
interface Plan {
  readonly items: readonly XattrItem[];
  readonly bits: number;
  /** How many items come before the metacopy and the redirect. */
  readonly beforeMetacopy: number;
  readonly beforeRedirect: number;
  uses: number;
  shared: number;
  unsharedSize: number;
}

const SLASH = 0x2f;
const HEX_VALUE = new Uint8Array(256).fill(255);
for (let i = 0; i < 16; i++) HEX_VALUE[i.toString(16).charCodeAt(0)] = i;

/**
 * The extended attributes of an image. First every inode's attributes are added, then
 * {@linkcode XattrTable.seal} decides which are shared, then sizes are known and bytes are written.
 * Inodes with equal attributes share a plan, and digests have a table of their own, so that an
 * inode costs a few numbers.
 */
export class XattrTable {
  readonly #rules: XattrRules;
  readonly #items: Map<ByteString, Map<ByteString, XattrItem>> = new Map();
  readonly #plans: Plan[] = [];
  readonly #planOf: Map<number, Map<Xattrs, number>> = new Map();
  readonly #digests: ObjectId[] = [];
  readonly #digestOf: Map<ObjectId, number> = new Map();
  readonly #metacopyCount: number[] = [];
  readonly #redirectCount: number[] = [];
  readonly #metacopyItem: (XattrItem | undefined)[] = [];
  readonly #redirectItem: (XattrItem | undefined)[] = [];
  readonly #sharedMax: number;
  /** An item with everything but the value, for the bits and the sizes. */
  readonly #metacopy: XattrItem;
  readonly #redirect: XattrItem;
  readonly #metacopyHead: Uint8Array;
  readonly #redirectHead: Uint8Array;
  /** The shared attributes in the order of the table. */
  #table: XattrItem[] = [];
  /** Whether some attribute is a POSIX ACL. */
  hasAcl = false;

  /** Creates an empty table. */
  constructor(rules: XattrRules) {
    this.#rules = rules;
    this.#sharedMax = rules.c && !rules.v2 ? C_SHARED_MAX : SHARED_MAX;
    const digest = DIGEST_SIZE[rules.hash];
    this.#metacopy = this.#make(METACOPY_NAME, "\0".repeat(METACOPY_SIZE + digest));
    this.#redirect = this.#make(REDIRECT_NAME, "\0".repeat(2 * digest + 2));
    this.#metacopyHead = headBytes(this.#metacopy, metacopyHead(rules.hash));
    this.#redirectHead = headBytes(this.#redirect, new Uint8Array(0));
  }

  #make(name: ByteString, value: ByteString): XattrItem {
    return makeXattr(name, value, this.#rules.v2);
  }

  #item(name: ByteString, value: ByteString): XattrItem {
    let values = this.#items.get(name);
    if (values === undefined) this.#items.set(name, values = new Map());
    let item = values.get(value);
    if (item === undefined) {
      values.set(value, item = this.#make(name, value));
      if (item.index === 2 || item.index === 3) {
        // C compares whole names, where the other implementation compares prefixes.
        if (!this.#rules.c || item.suffix === "") this.hasAcl = true;
      }
    }
    return item;
  }

  /**
   * Adds one inode's use of a digest's attributes.
   *
   * @returns the number of the digest
   * @throws {XattrWriteFault} when it is not a digest of the image's algorithm
   */
  addDigest(digest: ObjectId, uses: { metacopy: number; redirect: number }): number {
    let number = this.#digestOf.get(digest);
    if (number === undefined) {
      if (digest.length !== 2 * DIGEST_SIZE[this.#rules.hash]) {
        throw new XattrWriteFault(`object id is not a ${this.#rules.hash} digest`);
      }
      number = this.#digests.length;
      this.#digestOf.set(digest, number);
      this.#digests.push(digest);
      this.#metacopyCount.push(0);
      this.#redirectCount.push(0);
    }
    this.#metacopyCount[number]! += uses.metacopy;
    this.#redirectCount[number]! += uses.redirect;
    return number;
  }

  /** The digest whose object path this is, if it is one. */
  digestOfPath(path: ByteString): ObjectId | undefined {
    const size = 2 * DIGEST_SIZE[this.#rules.hash];
    if (path.length !== size + 1 || path[2] !== "/") return undefined;
    const digest = path.slice(0, 2) + path.slice(3);
    return /^[0-9a-f]*$/.test(digest) ? digest as ObjectId : undefined;
  }

  /**
   * Adds one inode's attributes.
   *
   * @param extras bits of {@linkcode EXTRA}
   * @returns the number of the plan
   * @throws {XattrWriteFault} for a name or a value that no entry can hold
   */
  addPlan(xattrs: Xattrs, extras: number): number {
    let known = this.#planOf.get(extras);
    if (known === undefined) this.#planOf.set(extras, known = new Map());
    let number = known.get(xattrs);
    if (number === undefined) {
      number = this.#newPlan(xattrs, extras, undefined);
      known.set(xattrs, number);
    }
    this.#plans[number]!.uses++;
    return number;
  }

  /** As {@linkcode XattrTable.addPlan}, with a redirect that is not the path of a digest. */
  addPlanWithRedirect(xattrs: Xattrs, extras: number, redirect: ByteString): number {
    const number = this.#newPlan(xattrs, extras, redirect);
    this.#plans[number]!.uses++;
    return number;
  }

  #newPlan(xattrs: Xattrs, extras: number, redirect: ByteString | undefined): number {
    const { v2, c } = this.#rules;
    const items: XattrItem[] = [];
    if ((extras & EXTRA.emptyMetacopy) !== 0) items.push(this.#item(METACOPY_NAME, ""));
    const beforeRedirect = items.length;
    if (redirect !== undefined) items.push(this.#item(REDIRECT_NAME, redirect));
    for (const name of [...xattrs.keys()].sort()) {
      items.push(this.#item(escapeOverlay(name), xattrs.get(name)!));
    }
    const mark = (names: readonly ByteString[], value: ByteString) => {
      for (const name of names) {
        const old = c ? items.findIndex((item) => item.name === name) : -1;
        const item = this.#item(name, value);
        if (old < 0) items.push(item);
        else items[old] = item;
      }
    };
    if ((extras & EXTRA.whiteout) !== 0) mark(WHITEOUT_NAMES, "");
    if ((extras & EXTRA.whiteouts) !== 0) mark(WHITEOUTS_NAMES, "");
    if ((extras & EXTRA.opaqueWhiteouts) !== 0) mark(ESCAPED_OPAQUE_NAMES, "x");
    if ((extras & EXTRA.rootOpaque) !== 0) mark([OPAQUE_NAME], "y");
    if (!v2) items.sort(compareNamed);
    let bits = 0;
    for (const item of items) bits |= item.bit;
    const before = (name: ByteString) => items.filter((item) => item.name < name).length;
    this.#plans.push({
      items,
      bits,
      beforeMetacopy: v2 ? 0 : before(METACOPY_NAME),
      beforeRedirect: v2 ? beforeRedirect : before(REDIRECT_NAME),
      uses: 0,
      shared: 0,
      unsharedSize: 0,
    });
    return this.#plans.length - 1;
  }

  /** Decides what is shared, after everything was added. */
  seal(): void {
    for (const plan of this.#plans) {
      for (const item of plan.items) item.count += plan.uses;
    }
    const table: XattrItem[] = [];
    for (const values of this.#items.values()) {
      for (const item of values.values()) if (item.count > 1) table.push(item);
    }
    for (let i = 0; i < this.#digests.length; i++) {
      if (this.#metacopyCount[i]! > 1) {
        const item = this.#make(METACOPY_NAME, this.#metacopyValue(i));
        item.count = this.#metacopyCount[i]!;
        table.push(this.#metacopyItem[i] = item);
      }
      if (this.#redirectCount[i]! > 1) {
        const item = this.#make(REDIRECT_NAME, this.#redirectValue(i));
        item.count = this.#redirectCount[i]!;
        table.push(this.#redirectItem[i] = item);
      }
    }
    table.sort(this.#rules.v2 ? compareSplit : (a, b) => compareNamed(b, a));
    this.#table = table;
    for (const plan of this.#plans) {
      for (const item of plan.items) {
        if (item.count > 1) plan.shared++;
        else plan.unsharedSize += item.size;
      }
    }
  }

  #metacopyValue(digest: number): ByteString {
    const head = toByteString(metacopyHead(this.#rules.hash));
    return head + toByteString(fromHex(this.#digests[digest]!));
  }

  #redirectValue(digest: number): ByteString {
    const hex = this.#digests[digest]!;
    return "/" + hex.slice(0, 2) + "/" + hex.slice(2);
  }

  /**
   * Size in bytes of the attributes of an inode.
   *
   * @param digest whose metacopy it has, or -1
   * @param redirect digest whose path its redirect is, or -1
   * @throws {XattrWriteFault} when no inode can hold so many
   */
  size(plan: number, digest: number, redirect: number): number {
    const { items, shared, unsharedSize } = this.#plans[plan]!;
    if (items.length === 0 && digest < 0 && redirect < 0) return 0;
    let references = shared;
    let size = unsharedSize;
    if (digest >= 0) {
      if (this.#metacopyItem[digest] !== undefined) references++;
      else size += this.#metacopy.size;
    }
    if (redirect >= 0) {
      if (this.#redirectItem[redirect] !== undefined) references++;
      else size += this.#redirect.size;
    }
    if (references > this.#sharedMax) {
      if (this.#sharedMax === SHARED_MAX) {
        throw new XattrWriteFault(`${references} shared xattrs are more than ${SHARED_MAX}`);
      }
      size += this.#overflow(plan, digest, redirect);
      references = this.#sharedMax;
    }
    size += XATTR_REFERENCE_SIZE * references;
    if (size / XATTR_UNIT > UNITS_MAX) throw new XattrWriteFault("xattrs are too large");
    return XATTR_HEADER_SIZE + size;
  }

  /** Size of the sharable attributes that come after as many as C shares. */
  #overflow(plan: number, digest: number, redirect: number): number {
    let left = this.#sharedMax;
    let size = 0;
    for (const item of this.#merged(plan, digest, redirect)) {
      if (item.count > 1 && --left < 0) size += item.size;
    }
    return size;
  }

  /** All attributes of an inode in order; those of digests have no value. */
  #merged(plan: number, digest: number, redirect: number): XattrItem[] {
    const { items, beforeMetacopy, beforeRedirect } = this.#plans[plan]!;
    const out: XattrItem[] = [];
    for (let i = 0; i <= items.length; i++) {
      if (i === beforeMetacopy && digest >= 0) {
        out.push(this.#metacopyItem[digest] ?? this.#metacopy);
      }
      if (i === beforeRedirect && redirect >= 0) {
        out.push(this.#redirectItem[redirect] ?? this.#redirect);
      }
      if (i < items.length) out.push(items[i]!);
    }
    return out;
  }

  /** Gives the shared attributes their references; the table starts at `inodesEnd`. */
  placeTable(inodesEnd: number): void {
    // References of formats 0 and 1 count from the block in which the table starts.
    let at = this.#rules.v2 ? inodesEnd : inodesEnd % BLOCK_SIZE;
    for (const item of this.#table) {
      item.reference = at / XATTR_UNIT;
      at += item.size;
    }
  }

  /** Size of the shared table in bytes. */
  get tableSize(): number {
    let size = 0;
    for (const item of this.#table) size += item.size;
    return size;
  }

  /** Writes the shared table at `at`. */
  writeTable(out: Uint8Array, at: number): void {
    for (const item of this.#table) at = writeEntry(item, out, at);
  }

  /**
   * Writes the attributes of an inode, as sized by {@linkcode XattrTable.size}, into zeroed bytes.
   *
   * @param where the bytes and where the inode ends
   * @param digest whose metacopy it has, or -1
   * @param redirect digest whose path its redirect is, or -1
   */
  write(
    where: { readonly out: Uint8Array; readonly words: Uint32Array; at: number },
    plan: number,
    digest: number,
    redirect: number,
  ): void {
    const { items, bits, beforeMetacopy, beforeRedirect } = this.#plans[plan]!;
    const { out, words } = where;
    const start = where.at / 4;
    const metacopyItem = digest >= 0 ? this.#metacopyItem[digest] : undefined;
    const redirectItem = redirect >= 0 ? this.#redirectItem[redirect] : undefined;
    let filter = bits;
    if (digest >= 0) filter |= this.#metacopy.bit;
    if (redirect >= 0) filter |= this.#redirect.bit;
    words[start] = ~filter;
    let shared = 0;
    const references = start + XATTR_HEADER_SIZE / 4;
    for (let i = 0; i <= items.length; i++) {
      if (i === beforeMetacopy && metacopyItem !== undefined && shared < this.#sharedMax) {
        words[references + shared++] = metacopyItem.reference;
      }
      if (i === beforeRedirect && redirectItem !== undefined && shared < this.#sharedMax) {
        words[references + shared++] = redirectItem.reference;
      }
      if (i < items.length && items[i]!.count > 1 && shared < this.#sharedMax) {
        words[references + shared++] = items[i]!.reference;
      }
    }
    out[where.at + XATTR_HEADER.sharedCount[0]] = shared;
    let at = where.at + XATTR_HEADER_SIZE + XATTR_REFERENCE_SIZE * shared;
    let left = shared;
    for (let i = 0; i <= items.length; i++) {
      if (i === beforeMetacopy && digest >= 0 && (metacopyItem === undefined || --left < 0)) {
        at = this.#writeMetacopy(digest, out, at);
      }
      if (i === beforeRedirect && redirect >= 0 && (redirectItem === undefined || --left < 0)) {
        at = this.#writeRedirect(redirect, out, at);
      }
      if (i < items.length && (items[i]!.count <= 1 || --left < 0)) {
        at = writeEntry(items[i]!, out, at);
      }
    }
  }

  #writeMetacopy(digest: number, out: Uint8Array, start: number): number {
    const head = this.#metacopyHead;
    for (let i = 0; i < head.length; i++) out[start + i] = head[i]!;
    const hex = this.#digests[digest]!;
    let at = start + head.length;
    for (let i = 0; i < hex.length; i += 2) {
      out[at++] = HEX_VALUE[hex.charCodeAt(i)]! * 16 + HEX_VALUE[hex.charCodeAt(i + 1)]!;
    }
    return start + this.#metacopy.size;
  }

  #writeRedirect(digest: number, out: Uint8Array, start: number): number {
    const head = this.#redirectHead;
    for (let i = 0; i < head.length; i++) out[start + i] = head[i]!;
    const hex = this.#digests[digest]!;
    let at = start + head.length;
    out[at++] = SLASH;
    out[at++] = hex.charCodeAt(0);
    out[at++] = hex.charCodeAt(1);
    out[at++] = SLASH;
    for (let i = 2; i < hex.length; i++) out[at++] = hex.charCodeAt(i);
    return start + this.#redirect.size;
  }
}
