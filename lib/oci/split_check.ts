/** Comparing how a layer is split with how its tar has to be (spec: oci 2.1). */
import { FormatError } from "../base/mod.ts";
import { type TarSplitSink, TarSplitter } from "../tar/mod.ts";

/** The content of a file: where it starts in the tar, and how long it is, in bytes. */
interface Place {
  readonly offset: number;
  readonly size: number;
}

/** Objects that may come before the splitter sees why; it looks no further ahead than that many. */
const MAX_WAITING = 2048;

/**
 * Follows a layer that somebody else has split. The digest of a layer is that of its bytes and says
 * nothing of where they are cut; a tree made of the parts would not be the tar's if an object held
 * more or less than one file's content.
 */
export class SplitCheck {
  readonly #splitter: TarSplitter;
  /** Bytes that were given. */
  #given = 0;
  /** Bytes that the splitter has come to; it may have to look ahead. */
  #split = 0;
  /** Contents that only one of both has come to, and which of them it is. */
  readonly #waiting: Place[] = [];
  #waitingFor: "object" | "file" = "object";

  /** Starts at the beginning of the layer. */
  constructor() {
    let size = 0;
    let started = false;
    const sink: TarSplitSink = {
      inline: (bytes) => void (this.#split += bytes.length),
      externalStart: (bytes) => {
        size = bytes;
        started = false;
      },
      externalData: (bytes) => {
        // Only now has everything before it been counted.
        if (!started) this.#meet("file", { offset: this.#split, size });
        started = true;
        this.#split += bytes.length;
      },
      externalEnd: () => {},
    };
    this.#splitter = new TarSplitter(sink);
  }

  /** The next `size` bytes are an object; {@linkcode bytes} is given them after this. */
  object(size: number): void {
    this.#meet("object", { offset: this.#given, size });
  }

  /**
   * Takes the next bytes of the layer.
   *
   * @throws {FormatError} for faults of the tar, and where it is cut in the wrong place
   */
  bytes(bytes: Uint8Array): void {
    this.#given += bytes.length;
    this.#splitter.push(bytes);
  }

  /**
   * Ends the layer.
   *
   * @throws {FormatError} as {@linkcode bytes} does
   */
  finish(): void {
    this.#splitter.finish();
    if (this.#waiting.length > 0) throw wronglySplit(this.#waiting[0]!);
  }

  #meet(who: "object" | "file", place: Place): void {
    if (this.#waiting.length === 0 || this.#waitingFor === who) {
      if (this.#waiting.length === MAX_WAITING) throw wronglySplit(this.#waiting[0]!);
      this.#waitingFor = who;
      this.#waiting.push(place);
      return;
    }
    const other = this.#waiting.shift()!;
    if (other.offset !== place.offset || other.size !== place.size) throw wronglySplit(place);
  }
}

function wronglySplit({ offset, size }: Place): FormatError {
  return new FormatError("splitstream", `Layer is split in the wrong place: ${size} bytes`, {
    offset,
  });
}
