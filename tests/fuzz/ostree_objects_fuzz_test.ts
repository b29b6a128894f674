import "../helpers/libraries.ts";
import assert from "node:assert/strict";
import {
  ALGORITHMS,
  ComposefsError,
  nodeZstd,
  type ObjectId,
  objectIdFromBytes,
} from "../../lib/base/mod.ts";
import {
  type Checksum,
  CommitChunk,
  commitTree,
  ContentImporter,
  encodeCommit,
  encodeDirMeta,
  encodeDirTree,
  isChecksum,
  parseArchiveHeader,
  parseCommit,
  parseDirMeta,
  parseDirTree,
  parseFrame,
  parseKeyfile,
} from "../../lib/ostree/mod.ts";
import { openSplitstream } from "../../lib/splitstream/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";
import { ROOT } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";
import { mutate, Rng, seed } from "./_mutate.ts";

const ROUNDS = 20_000;
const OBJECTS = `${ROOT}fixtures/ostree/objects/`;
const algorithm = ALGORITHMS.sha256;

function originals(extension: string): Uint8Array<ArrayBuffer>[] {
  const names = [...Deno.readDirSync(OBJECTS)].map(({ name }) => name).sort();
  const found = names.filter((name) => name.endsWith(extension));
  assert.ok(found.length > 0);
  return found.map((name) => Deno.readFileSync(OBJECTS + name));
}

/** Mutates inputs and reads them; what is accepted must come out as it went in. */
function fuzz(inputs: readonly Uint8Array[], read: (bytes: Uint8Array) => void): void {
  const rng = new Rng(seed());
  let refused = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = mutate(rng.pick(inputs), rng);
    const started = performance.now();
    try {
      read(bytes);
    } catch (error) {
      assert.ok(error instanceof ComposefsError, `round ${round}: ${(error as Error).stack}`);
      refused++;
    }
    assert.ok(performance.now() - started < 1000, `round ${round} took too long`);
  }
  assert.ok(refused > ROUNDS / 10 && refused <= ROUNDS);
}

const KINDS: readonly [string, (bytes: Uint8Array) => void][] = [
  [
    ".commit",
    (bytes) => assert.deepEqual(encodeCommit(parseCommit(bytes)), Uint8Array.from(bytes)),
  ],
  [
    ".dirtree",
    (bytes) => assert.deepEqual(encodeDirTree(parseDirTree(bytes)), Uint8Array.from(bytes)),
  ],
  [
    ".dirmeta",
    (bytes) => assert.deepEqual(encodeDirMeta(parseDirMeta(bytes)), Uint8Array.from(bytes)),
  ],
  [".filez", (bytes) => {
    const end = 8 + parseFrame(bytes);
    if (end <= bytes.length) parseArchiveHeader(bytes.subarray(8, end));
  }],
];

for (const [extension, read] of KINDS) {
  Deno.test(`Mutated ${extension} objects are read or refused (SEED=${seed()})`, () => {
    fuzz(originals(extension), read);
  });
}

Deno.test(`Mutated .filez files are never taken for another object (SEED=${seed()})`, () => {
  using dir = new TempDir();
  initRepository(dir.join("r"), { insecure: true, algorithm });
  using repository = Repository.open(dir.join("r"));
  const objects = { dir: repository.objects.makeDirectory().number, algorithm, secure: false };
  using importer = new ContentImporter({ objects });
  const checksum = "0".repeat(64) as Checksum;
  fuzz(originals(".filez"), (bytes) => {
    // In one piece, and in pieces of an odd size.
    const outcomes = [() => void importer.archive(checksum, bytes), () => {
      using sink = importer.archiveSink(checksum);
      for (let at = 0; at < bytes.length; at += 7) sink.write(bytes.subarray(at, at + 7));
      sink.finish();
    }].map((work) => {
      try {
        work();
        return undefined;
      } catch (error) {
        return error;
      }
    });
    assert.ok(outcomes[0] instanceof ComposefsError);
    assert.ok(outcomes[1] instanceof ComposefsError, String((outcomes[1] as Error)?.stack));
    throw outcomes[0];
  });
  assert.deepEqual([...repository.objects.list()], []);
});

Deno.test(`Mutated chunks of commits make a tree or are refused (SEED=${seed()})`, () => {
  const path = `${ROOT}fixtures/ostree/splitstreams/`;
  const chunks = ["commitA", "buo"].map((name) => chunkOf(`${path}${name}.sha256.splitstream`));
  fuzz(chunks, (bytes) => {
    const chunk = new CommitChunk(bytes, {
      externals: 40,
      external: (index): ObjectId => objectIdFromBytes(new Uint8Array(32).fill(index)),
    });
    for (const id of chunk.ids()) assert.ok(isChecksum(id) && chunk.get(id) !== undefined);
    commitTree(chunk.commit, (checksum) => chunk.get(checksum));
  });
});

function chunkOf(path: string): Uint8Array<ArrayBuffer> {
  const stream = openSplitstream(Deno.readFileSync(path), { algorithm, codec: nodeZstd });
  const pieces: number[] = [];
  for (const chunk of stream.chunks()) if (chunk.type === "inline") pieces.push(...chunk.bytes);
  return Uint8Array.from(pieces);
}

Deno.test(`Mutated configs are read or refused (SEED=${seed()})`, () => {
  const text =
    '[core]\nrepo_version=1\nmode=bare\n\n# x\n[remote "a"]\nurl=http://x\ngpg-verify=false\n';
  const decoder = new TextDecoder();
  fuzz([new TextEncoder().encode(text)], (bytes) => {
    for (const group of parseKeyfile(decoder.decode(bytes)).values()) assert.ok(group.size >= 0);
  });
});
