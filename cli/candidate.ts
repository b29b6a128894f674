/** A word that could stand where the cursor is. */
export interface Candidate {
  /** The whole word. */
  readonly value: string;
  /** One line about it, or nothing. */
  readonly description: string;
}
