/**
 * Repositories on servers: fixtures that are unpacked, small ones made by hand, and composefs
 * repositories to pull them into.
 *
 * @module
 */
import "../helpers/libraries.ts";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { deflateRawSync } from "node:zlib";
import { type Algorithm, ALGORITHMS, utf8ByteString } from "../../lib/base/mod.ts";
import {
  type Checksum,
  checksumOf,
  encodeArchiveHeader,
  encodeCommit,
  encodeDirMeta,
  encodeDirTree,
  encodeStreamHeader,
  type FileHeader,
  listCommits,
  listCommitTags,
  ostreeObjectPath,
  Variant,
} from "../../lib/ostree/mod.ts";
import { initRepository, Repository } from "../../lib/repository/mod.ts";

/** Both algorithms. */
export const BOTH: readonly Algorithm[] = [ALGORITHMS.sha256, ALGORITHMS.sha512];

/** Commits of the fixtures. */
export const A = "07c21df612e3ecd8f5421edbaecf8d762a57859e69c937c95494a9edee43a7b2";
/** Child of A. */
export const B = "927c5470b98460a6e908a9f8539535def1566d5e11af003872b8ae1e573d9939";

/** Unpacks repositories of the fixtures over each other. */
export function unpack(dir: string, ...names: string[]): string {
  Deno.mkdirSync(dir, { recursive: true });
  for (const name of names) {
    const tar = fileURLToPath(
      new URL(`../../fixtures/ostree/repos/${name}.tar`, import.meta.url),
    );
    const args = ["--no-same-owner", "-xf", tar, "-C", dir];
    const { code, stderr } = new Deno.Command("tar", { args }).outputSync();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
  }
  return dir;
}

/** Makes a composefs repository. */
export function newRepository(path: string, algorithm: Algorithm = ALGORITHMS.sha256): Repository {
  initRepository(path, { insecure: true, algorithm });
  return Repository.open(path);
}

/** Checks that nothing has a name. */
export function assertNothingNamed(repository: Repository): void {
  assert.deepEqual(listCommits(repository), []);
  assert.deepEqual(listCommitTags(repository), []);
}

/** A repository in memory: paths and what is there. */
export type MemoryRemote = Map<string, Uint8Array>;

/** A file's name and content. */
export type MemoryFile = readonly [name: string, content: Uint8Array];

/** Adds a commit with files in one directory to a repository in memory. */
export function addCommit(
  remote: MemoryRemote,
  files: readonly MemoryFile[],
  options: { ref: string; parent?: Checksum; timestamp?: bigint; bound?: readonly string[] },
): Checksum {
  const encoder = new TextEncoder();
  const put = (extension: "commit" | "dirtree" | "dirmeta", bytes: Uint8Array): Checksum => {
    const checksum = checksumOf(bytes);
    remote.set(`/objects/${ostreeObjectPath(checksum, extension)}`, bytes);
    return checksum;
  };
  const tree = files.map(([name, content]) => {
    const header: FileHeader = {
      size: content.length,
      uid: 0,
      gid: 0,
      mode: 0o100644,
      target: "",
      xattrs: new Map(),
    };
    const checksum = checksumOf(encodeStreamHeader(header), content);
    const packed = deflateRawSync(content, { level: 1 });
    const head = encodeArchiveHeader(header);
    const archive = new Uint8Array(head.length + packed.length);
    archive.set(head);
    archive.set(packed, head.length);
    remote.set(`/objects/${ostreeObjectPath(checksum, "filez")}`, archive);
    return { name: utf8ByteString(name), checksum };
  });
  const { bound, timestamp = 1n } = options;
  const commit = put(
    "commit",
    encodeCommit({
      metadata: bound === undefined ? [] : [["ostree.ref-binding", new Variant("as", bound)]],
      ...(options.parent === undefined ? {} : { parent: options.parent }),
      related: [],
      subject: "test",
      body: "",
      timestamp,
      rootTree: put("dirtree", encodeDirTree({ files: tree, dirs: [] })),
      rootMeta: put("dirmeta", encodeDirMeta({ uid: 0, gid: 0, mode: 0o40755, xattrs: new Map() })),
    }),
  );
  remote.set("/config", encoder.encode("[core]\nrepo_version=1\nmode=archive-z2\n"));
  remote.set(`/refs/heads/${options.ref}`, encoder.encode(commit + "\n"));
  return commit;
}

/** Bytes that do not pack and are always the same. */
export function noise(size: number, seed = 1): Uint8Array {
  const hash = (index: number) => createHash("sha512").update(`${seed} ${index}`).digest();
  const out = new Uint8Array(Math.ceil(size / 64) * 64);
  for (let at = 0; at < size; at += 64) out.set(hash(at), at);
  return out.subarray(0, size);
}
