/** Random dumpfiles that both implementations must accept. */
import { Rng } from "../fuzz/_mutate.ts";

const XATTR_NAMES = [
  "user.a",
  "user.bb",
  "user.overlay.opaque",
  "user.overlay.whiteout",
  "security.selinux",
  "security.capability",
  "trusted.t",
  "trusted.overlay.opaque",
  "trusted.overlay.overlay.x",
  "trusted.overlay.metacopy",
  "system.posix_acl_access",
  "system.posix_acl_default",
  "system.posix_acl_accessX",
  "lustre.l",
  "other",
  "user.",
];
const VALUES = ["", "1", "2", "ab", "\\x00", "\\xff\\x00", "y", "x", "system_u:object_r:usr_t:s0"];
const TIMES = ["1000.0", "1000.5", "5.0", "0.0", "4294967296.1", "18446744073709551611.7"];
const NAME_BYTES = [
  "a",
  "b",
  "Z",
  "0",
  "f",
  "-",
  ".",
  "!",
  "\\x20",
  "\\xff",
  "=",
  "\\\\",
  "_",
  "~",
];

/** Makes dumpfiles from one seed. */
export class DumpfileGenerator {
  readonly #rng: Rng;
  #lines: string[] = [];
  #directories: { path: string; depth: number }[] = [];
  #files: string[] = [];
  #used: Set<string> = new Set();
  #xattrRate = 4;
  #times: readonly string[] = TIMES;
  #owners: readonly number[] = [0];

  /** Creates a generator. */
  constructor(seed: number) {
    this.#rng = new Rng(seed);
  }

  /** The next dumpfile. */
  next(): string {
    const rng = this.#rng;
    this.#lines = [];
    this.#directories = [];
    this.#files = [];
    this.#used = new Set();
    this.#xattrRate = rng.pick([1, 2, 4, 1000]);
    // One time keeps the inodes compact; few make both kinds.
    this.#times = rng.pick([["1000.0"], ["7.5", "7.5", "8.5"], TIMES, TIMES.slice(0, 4)]);
    this.#owners = rng.pick([[0], [0, 1000, 65535], [0, 65536, 4294967295]]);
    this.#line("/", `0 ${this.#mode("4")} 2 ${this.#owner()} 0 ${this.#time()} - - -`);
    this.#directories.push({ path: "", depth: 0 });
    const shape = rng.below(10);
    const count = rng.pick([0, 1, 5, 20, 60, 120]);
    for (let i = 0; i < count; i++) this.#entry(shape === 0 ? 1 : 8);
    if (shape === 1) this.#bigDirectory();
    if (shape === 2) this.#deepDirectory();
    return this.#lines.join("\n") + "\n";
  }

  #line(path: string, rest: string): void {
    this.#lines.push(`${path} ${rest}${this.#xattrs()}`);
  }

  #mode(type: string): string {
    return type + this.#rng.pick(["0755", "0644", "4755", "0000", "7777"]);
  }

  #owner(): string {
    return `${this.#rng.pick(this.#owners)} ${this.#rng.pick(this.#owners)}`;
  }

  #time(): string {
    return this.#rng.pick(this.#times);
  }

  #name(): string {
    const rng = this.#rng;
    if (rng.oneIn(20)) return rng.below(256).toString(16).padStart(2, "0");
    let name = "";
    const length = rng.oneIn(15) ? 200 + rng.below(50) : 1 + rng.below(8);
    for (let i = 0; i < length; i++) name += rng.pick(NAME_BYTES);
    const bytes = name.replace(/\\x..|\\\\/g, "?").length;
    return bytes > 255 || name === "." || name === ".." ? "q" : name;
  }

  /** A new path, or none when the name is taken. */
  #path(): { path: string; depth: number } | undefined {
    const parent = this.#rng.pick(this.#directories);
    const path = `${parent.path}/${this.#name()}`;
    if (this.#used.has(path) || path.length > 3000) return undefined;
    this.#used.add(path);
    return { path, depth: parent.depth + 1 };
  }

  #xattrs(): string {
    const rng = this.#rng;
    if (!rng.oneIn(this.#xattrRate)) return "";
    const names = new Set<string>();
    for (let i = 1 + rng.below(4); i > 0; i--) names.add(rng.pick(XATTR_NAMES));
    if (rng.oneIn(30)) { for (let i = 0; i < 40; i++) names.add(`user.n${i}`); }
    return [...names].map((name) => {
      // Long values move inodes over block boundaries.
      const long = rng.oneIn(25) ? "v".repeat(rng.below(3000)) : "";
      return ` ${name}=${rng.pick(VALUES)}${long}`;
    }).join("");
  }

  #digest(): string {
    const rng = this.#rng;
    // Few digests, so that their attributes are shared now and then.
    const byte = rng.below(40).toString(16).padStart(2, "0");
    return rng.oneIn(3) ? byte.repeat(32) : Array.from(
      { length: 8 },
      () => rng.next().toString(16).padStart(8, "0"),
    ).join("");
  }

  #entry(kinds: number): void {
    const rng = this.#rng;
    const place = this.#path();
    if (place === undefined) return;
    const { path, depth } = place;
    const owner = this.#owner();
    const time = this.#time();
    const device = 1 + rng.below(0xffffffff);
    switch (rng.below(kinds)) {
      case 0:
        this.#line(path, `0 ${this.#mode("4")} 2 ${owner} 0 ${time} - - -`);
        this.#directories.push({ path, depth });
        return;
      case 1:
        this.#regular(path, owner, time);
        break;
      case 2: {
        const length = rng.oneIn(3) ? 900 + rng.below(125) : 1 + rng.below(40);
        const target = "t".repeat(length);
        this.#line(path, `${length} 120777 1 ${owner} 0 ${time} ${target} - -`);
        break;
      }
      case 3: {
        const type = rng.pick(["6", "2", "1", "14"]);
        const rdev = type === "6" || type === "2" ? device : 0;
        this.#line(path, `0 ${this.#mode(type)} 1 ${owner} ${rdev} ${time} - - -`);
        break;
      }
      case 4:
        if (!rng.oneIn(3)) return this.#regular(path, owner, time);
        // A whiteout; the plainest one may look like a stub.
        this.#line(path, `0 20644 1 ${rng.oneIn(2) ? owner : "0 0"} 0 ${time} - - -`);
        return;
      case 5:
        if (this.#files.length === 0) return;
        this.#lines.push(`${path} 0 @120000 - - - - 0.0 ${rng.pick(this.#files)} - -`);
        break;
      default:
        this.#regular(path, owner, time);
    }
    this.#files.push(path);
  }

  #regular(path: string, owner: string, time: string): void {
    const rng = this.#rng;
    const head = (size: number) => `${size} ${this.#mode("10")} 1 ${owner} 0 ${time}`;
    const size = rng.pick([1, 65, 4096, 4097, 1048577, 2 ** 32, 2 ** 43 + 1, rng.next()]);
    const digest = this.#digest();
    const payload = `${digest.slice(0, 2)}/${digest.slice(2)}`;
    switch (rng.below(6)) {
      case 0:
        return this.#line(path, `${head(0)} - - -`);
      case 1: {
        const length = 1 + rng.below(512);
        return this.#line(path, `${head(length)} - ${"i".repeat(length)} -`);
      }
      case 2:
        return this.#line(path, `${head(size)} - - -`);
      case 3:
        return this.#line(path, `${head(size)} ${payload} - -`);
      default:
        return this.#line(path, `${head(size)} ${payload} - ${digest}`);
    }
  }

  /** Enough names for several blocks. */
  #bigDirectory(): void {
    const { path } = this.#rng.pick(this.#directories);
    for (let i = this.#rng.below(600); i > 0; i--) {
      const name = `${path}/entry-${i}`;
      if (this.#used.has(name)) continue;
      this.#used.add(name);
      this.#line(name, `0 100644 1 0 0 0 ${this.#time()} - - -`);
    }
  }

  #deepDirectory(): void {
    let { path } = this.#rng.pick(this.#directories);
    for (let i = this.#rng.below(200); i > 0; i--) {
      path += "/D";
      if (this.#used.has(path) || path.length > 3000) return;
      this.#used.add(path);
      this.#line(path, `0 40700 2 0 0 0 ${this.#time()} - - -`);
    }
  }
}
