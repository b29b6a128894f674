/** OpenPGP messages that carry their content (RFC 9580, 10.3; spec: trust 6). */
import { FormatError } from "../base/mod.ts";
import type { OpenPgp } from "./openpgp.ts";

/** Largest content, in bytes. */
const MAX_CONTENT = 4 * 1024 * 1024;

/**
 * How often the library may look at the limit on unpacked bytes: once a packed packet, once a piece
 * of what comes out. Packed packets may hold packed packets, even themselves, without end.
 */
const MAX_STEPS = 256;

/** Packets that are looked at: one too many signatures is as bad as a thousand. */
const MAX_PACKETS = 64;

/** A message taken apart; nothing of it is verified. */
export interface GpgMessage {
  /** What is said to be signed. */
  readonly content: Uint8Array;
  /** The signatures on it. */
  readonly signatures: readonly OpenPgp.SignaturePacket[];
}

/**
 * Takes a message apart.
 *
 * @throws {FormatError} when it is none, or has other packets in it
 */
export async function readGpgMessage(
  openpgp: typeof OpenPgp,
  bytes: Uint8Array,
): Promise<GpgMessage> {
  let packets: OpenPgp.AnyPacket[];
  try {
    packets = await allPackets(await readPackets(openpgp, bytes));
    const [first] = packets;
    if (packets.length === 1 && first instanceof openpgp.CompressedDataPacket) {
      packets = await allPackets((first as unknown as { packets: LazyPackets }).packets);
    }
  } catch (cause) {
    // The library throws errors of any kind for bytes it cannot parse.
    throw new FormatError("openpgp message", "Malformed OpenPGP message", { cause });
  }
  const signatures: OpenPgp.SignaturePacket[] = [];
  let content: Uint8Array | undefined;
  for (const packet of packets) {
    if (packet instanceof openpgp.SignaturePacket) signatures.push(packet);
    else if (packet instanceof openpgp.LiteralDataPacket && content === undefined) {
      content = (packet as unknown as { getBytes(): Uint8Array }).getBytes();
    } else if (!(packet instanceof openpgp.OnePassSignaturePacket)) {
      throw new FormatError("openpgp message", "Unexpected packet in an OpenPGP message");
    }
  }
  if (content === undefined) {
    throw new FormatError("openpgp message", "OpenPGP message without content");
  }
  return { content, signatures };
}

/** What comes after a packet with content, the library reads only when asked to. */
type LazyPackets = OpenPgp.AnyPacket[] & {
  readonly stream?: {
    getReader(): { read(): Promise<{ value?: OpenPgp.AnyPacket; done: boolean }> };
  } | null;
};

async function allPackets(packets: LazyPackets): Promise<OpenPgp.AnyPacket[]> {
  const all = [...packets];
  const reader = packets.stream?.getReader();
  while (reader !== undefined && all.length < MAX_PACKETS) {
    const { value, done } = await reader.read();
    if (done || value === undefined) break;
    all.push(value);
  }
  return all;
}

async function readPackets(
  openpgp: typeof OpenPgp,
  bytes: Uint8Array,
): Promise<LazyPackets> {
  const allowed = [
    openpgp.CompressedDataPacket,
    openpgp.LiteralDataPacket,
    openpgp.OnePassSignaturePacket,
    openpgp.SignaturePacket,
  ];
  let steps = 0;
  const config = Object.defineProperty({ ...openpgp.config }, "maxDecompressedMessageSize", {
    get() {
      if (++steps > MAX_STEPS) throw new Error("packed too often");
      return MAX_CONTENT;
    },
  });
  const byTag = Object.fromEntries(allowed.map((kind) => [kind.tag, kind]));
  return await openpgp.PacketList.fromBinary(bytes, byTag as never, config);
}
