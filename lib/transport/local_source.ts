/** Sources on this machine's disks (spec: oci 5.1). */
import type { SignaturePlaces } from "../trust/mod.ts";
import type { Digest } from "../base/mod.ts";
import { type Blob, type BlobStore, readDocument } from "./blob.ts";
import { toOci } from "./convert.ts";
import { type Descriptor, parseIndex, type Platform } from "./documents.ts";
import type { LayoutStore } from "./layout.ts";
import { layoutAttachments } from "./layout_attachments.ts";
import type { LayoutReference, Transport } from "./reference.ts";
import { entriesFor, selectManifest } from "./select.ts";
import type { ImageSource, SelectedManifest } from "./source.ts";

/** Layouts and archives: blobs and an index that leads to them. */
export class LocalSource implements ImageSource {
  readonly transport: Transport;
  readonly remote = false;
  readonly #store: LayoutStore;
  readonly #select: LayoutReference["select"];

  /** Takes over the store. */
  constructor(
    store: LayoutStore,
    options: { transport: Transport; select?: LayoutReference["select"] },
  ) {
    this.#store = store;
    this.transport = options.transport;
    this.#select = options.select;
  }

  get name(): string {
    return this.#store.name;
  }

  async resolve(options: { platform: Platform }): Promise<SelectedManifest> {
    const entries = entriesFor(parseIndex(this.#store.index), this.#select);
    const read = (descriptor: Descriptor, what: string) =>
      readDocument(this.#store, descriptor, what);
    const selected = await selectManifest(read, {
      name: this.name,
      entries,
      meant: this.#select !== undefined,
      platform: options.platform,
    });
    return toOci(selected);
  }

  // deno-lint-ignore require-await -- what goes wrong comes as a rejection
  async document(descriptor: Descriptor, what: string): Promise<Uint8Array<ArrayBuffer>> {
    return readDocument(this.#store, descriptor, what);
  }

  // deno-lint-ignore require-await -- what goes wrong comes as a rejection
  async blob(descriptor: Descriptor): Promise<Blob> {
    return this.#store.blob(descriptor);
  }

  async referrers(digest: Digest, artifactType?: string): Promise<Descriptor[]> {
    const all = await layoutAttachments(this.#store).referrers(digest);
    return all.filter((entry) => artifactType === undefined || entry.artifactType === artifactType);
  }

  // deno-lint-ignore require-await -- what goes wrong comes as a rejection
  async signaturePlaces(): Promise<SignaturePlaces> {
    if (this.transport === "dir") return { directory: this.name };
    const layout = this.transport === "oci" || this.transport === "oci-archive";
    return layout ? { attachments: layoutAttachments(this.#store) } : {};
  }

  /** The blobs, for those who read parts of them in place. */
  get store(): BlobStore {
    return this.#store;
  }

  // deno-lint-ignore require-await -- closing a file waits for nothing
  async [Symbol.asyncDispose](): Promise<void> {
    this.#store[Symbol.dispose]();
  }
}
