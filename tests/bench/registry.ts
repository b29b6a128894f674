/**
 * A registry on loopback that has the benchmark's image, for as long as the benchmark runs.
 *
 * @module
 */
import { TempDir } from "../helpers/temp.ts";
import { TestRegistry } from "../helpers/registry.ts";

const NAME = "bench:v1";

/** A registry with the benchmark's image. */
export class BenchRegistry implements AsyncDisposable {
  readonly #registry: TestRegistry;
  readonly #dir: TempDir;

  private constructor(registry: TestRegistry, dir: TempDir) {
    this.#registry = registry;
    this.#dir = dir;
    const conf = `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`;
    dir.write(".config/containers/registries.conf", conf);
  }

  /** Starts it, and fills it from a layout; `reference` is the image in the layout. */
  static async start(reference: string): Promise<BenchRegistry> {
    const registry = await TestRegistry.start();
    await registry.push(reference, NAME, ["--preserve-digests"]);
    return new BenchRegistry(registry, new TempDir());
  }

  /** What to pull. */
  get reference(): string {
    return `docker://${this.#registry.host}/${NAME}`;
  }

  /** Variables with which the programs do without TLS; skopeo, which the reference runs, knows only the home. */
  get env(): { ours: Record<string, string>; theirs: Record<string, string> } {
    const home = this.#dir.join("");
    const conf = this.#dir.join(".config/containers/registries.conf");
    return { ours: { CONTAINERS_REGISTRIES_CONF: conf }, theirs: { HOME: home } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#registry[Symbol.asyncDispose]();
    this.#dir[Symbol.dispose]();
  }
}
