/**
 * Unpacking fixtures that are kept as tar archives because a checkout cannot hold their modes,
 * owners, links or extended attributes.
 *
 * @module
 */
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { ROOT, runOk } from "./run.ts";

/**
 * Unpacks an archive with the system's tar: modes, times and `user.*` attributes as stored; owners
 * and other attributes when root.
 *
 * @param archive Path of a plain, gzip or zstd archive; a relative one counts from the top of the
 * checkout.
 * @param directory Where to; must exist.
 */
export async function unpack(archive: string, directory: string): Promise<void> {
  const stored = await Deno.readFile(archive.startsWith("/") ? archive : ROOT + archive);
  const root = Deno.uid() === 0;
  await runOk([
    "tar",
    "--extract",
    "--file=-",
    `--directory=${directory}`,
    "--preserve-permissions",
    "--numeric-owner",
    root ? "--same-owner" : "--no-same-owner",
    "--xattrs",
    root ? "--xattrs-include=*" : "--xattrs-include=user.*",
  ], { stdin: decompress(stored) });
}

function decompress(bytes: Uint8Array): Uint8Array {
  const magic = new DataView(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 4));
  if (bytes.length > 2 && magic.getUint16(0) === 0x1f8b) return gunzipSync(bytes);
  if (bytes.length > 4 && magic.getUint32(0) === 0x28b52ffd) return zstdDecompressSync(bytes);
  return bytes;
}
