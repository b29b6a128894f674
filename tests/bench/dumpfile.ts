/**
 * The big dumpfile of the benchmarks: always the same bytes.
 *
 * @module
 */

/** A small generator of random numbers with a fixed seed (xorshift). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/**
 * A dumpfile with directories of 100 files each: four in five external with a digest, one in ten
 * inline, the rest symlinks; every tenth with an attribute. Some owners, modes and times differ and
 * some files are the same object, as in real trees.
 *
 * @param files How many entries that are not directories.
 * @returns The text, in the order the format wants.
 */
export function makeDumpfile(files: number): string {
  const random = randomFrom(20_240_601);
  const hex = (digits: number) => {
    let text = "";
    while (text.length < digits) text += random(0x1_0000).toString(16).padStart(4, "0");
    return text;
  };
  const lines = [
    "/ 4096 40755 3 0 0 0 1700000000.0 - - -",
    "/usr 4096 40755 3 0 0 0 1700000000.0 - - -",
  ];
  let digest = hex(64);
  const directories = Math.ceil(files / 100);
  for (let directory = 0; directory < directories; directory++) {
    const parent = `/usr/dir${String(directory).padStart(5, "0")}`;
    lines.push(`${parent} 4096 40755 2 0 0 0 ${1_700_000_000 + directory}.0 - - -`);
    for (let file = 0; file < 100 && directory * 100 + file < files; file++) {
      const path = `${parent}/file-${String(file).padStart(3, "0")}-${hex(4 + 4 * random(4))}`;
      const owner = random(20) === 0 ? "1000 1000" : "0 0";
      const mtime = `${1_700_000_000 + random(1000)}.${random(4) === 0 ? random(1e9) : 0}`;
      const attribute = random(10) === 0 ? ` user.kind=value${random(50)}` : "";
      const kind = random(10);
      if (kind === 0) {
        const target = `../dir${String(random(directories)).padStart(5, "0")}/${hex(8)}`;
        lines.push(`${path} ${target.length} 120777 1 ${owner} 0 ${mtime} ${target} - -`);
      } else if (kind === 1) {
        const content = hex(4 * random(16)) || "-";
        const size = content === "-" ? 0 : content.length;
        lines.push(`${path} ${size} 100644 1 ${owner} 0 ${mtime} - ${content} -${attribute}`);
      } else {
        if (random(8) !== 0) digest = hex(64);
        const size = 65 + random(200_000);
        const mode = random(4) === 0 ? "100755" : "100644";
        const object = `${digest.slice(0, 2)}/${digest.slice(2)}`;
        lines.push(
          `${path} ${size} ${mode} 1 ${owner} 0 ${mtime} ${object} - ${digest}${attribute}`,
        );
      }
    }
  }
  return lines.join("\n") + "\n";
}
