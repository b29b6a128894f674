/** What the program's exit codes mean; the peers' codes where there is a peer. */
export const EXIT = {
  /** The work is done (`fsck --json` also when it found damage: the document says so). */
  ok: 0,
  /** The work failed; standard error says why. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** `trust check`: nothing was tampered with, but the policy does not accept it. */
  refused: 3,
  /** Ended by the interrupt key. */
  interrupted: 130,
} as const;
