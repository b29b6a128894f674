/** Bounds how many things happen at a time. */
export class Gate {
  readonly #limit: number;
  #inside = 0;
  readonly #waiting: (() => void)[] = [];
  #next = 0;

  /** Lets `limit` in at a time. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Waits until there is room; first come, first served. Each entry is followed by one leave. */
  enter(): Promise<void> | undefined {
    if (this.#inside < this.#limit) {
      this.#inside++;
      return undefined;
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Gives the place to the next one. */
  leave(): void {
    const next = this.#waiting[this.#next];
    if (next === undefined) {
      this.#inside--;
      return;
    }
    this.#next++;
    if (this.#next === this.#waiting.length) this.#next = this.#waiting.length = 0;
    next();
  }
}
