/** Facts about this process: user, capabilities, umask. */
import { libc } from "./libc.ts";
import { addressable, addressOf } from "./memory.ts";
import { check } from "./errno.ts";

/** Effective user id. */
export function effectiveUser(): number {
  return libc().geteuid();
}

/**
 * Sets the file mode creation mask of the whole process.
 *
 * @returns the mask that was set before
 */
export function setUmask(mask: number): number {
  return libc().umask(mask);
}

/** Capabilities (linux/capability.h) that composefs asks about. */
export const CAP = {
  CHOWN: 0,
  DAC_OVERRIDE: 1,
  DAC_READ_SEARCH: 2,
  FOWNER: 3,
  MKNOD: 27,
  SYS_ADMIN: 21,
} as const;

const CAPGET = Deno.build.arch === "aarch64" ? 90 : 125;
const CAPABILITY_VERSION_3 = 0x20080522;
/** `struct __user_cap_header_struct`, then two `struct __user_cap_data_struct`. */
const CAPS = { version: 0, pid: 4, effectiveLow: 8, effectiveHigh: 20 } as const;
const caps = addressable(64);
const capsView = new DataView(caps.buffer);

/** Whether a capability of {@linkcode CAP} is in effect for this thread. */
export function hasCapability(capability: number): boolean {
  capsView.setUint32(CAPS.version, CAPABILITY_VERSION_3, true);
  capsView.setUint32(CAPS.pid, 0, true);
  const header = addressOf(caps);
  check(libc().syscall(CAPGET, header, header + CAPS.effectiveLow, 0, 0, 0, 0), "capget");
  const word = capsView.getUint32(capability < 32 ? CAPS.effectiveLow : CAPS.effectiveHigh, true);
  return Math.floor(word / 2 ** (capability % 32)) % 2 === 1;
}
