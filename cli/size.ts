const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/**
 * A size for people, as the reference prints it: `N B` below 1024, else two decimals.
 *
 * @param bytes Size in bytes.
 */
export function formatSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(2)} ${UNITS[unit]}`;
}
