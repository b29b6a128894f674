/** A program of the tests in a process of its own, which says in lines how far it is. */
import assert from "node:assert/strict";

/** A running program; it is killed, or ends by itself. */
export class Child {
  /** The process. */
  readonly process: Deno.ChildProcess;
  readonly #output: ReadableStreamDefaultReader<string>;
  #text = "";

  private constructor(process: Deno.ChildProcess) {
    this.process = process;
    this.#output = process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Starts a command line; its standard error is not shown. */
  static start([program, ...args]: readonly [string, ...string[]]): Child {
    return new Child(
      new Deno.Command(program, { args, stdout: "piped", stderr: "null" }).spawn(),
    );
  }

  /** Starts a module of the tests. */
  static startModule(path: string, args: readonly string[]): Child {
    return Child.start([Deno.execPath(), "run", "-A", "--quiet", "--no-check", path, ...args]);
  }

  /** Waits until it has said a line; several may come at once when the machine is busy. */
  async said(line: string): Promise<void> {
    while (!this.#text.includes(`${line}\n`)) {
      const { value, done } = await this.#output.read();
      if (done) assert.fail(`it ended with ${JSON.stringify(this.#text)}, without "${line}"`);
      this.#text += value;
    }
  }

  /** Kills it (SIGKILL) unless it was faster; whether it had ended well. */
  async kill(): Promise<boolean> {
    try {
      this.process.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended already
    }
    return await this.end();
  }

  /** Waits for its end; whether it was a good one. */
  async end(): Promise<boolean> {
    await this.#output.cancel();
    return (await this.process.status).success;
  }
}
