/** The integrity check of images (spec: oci 4.5). */
import { type Digest, InvalidNameError, type ObjectId } from "../base/mod.ts";
import {
  decodeRefComponent,
  type FsckOptions,
  type FsckReport,
  reasonOf,
  type Repository,
} from "../repository/mod.ts";
import { CONTENT_TYPE } from "../splitstream/mod.ts";
import {
  isImageConfigType,
  type Manifest,
  parseConfig,
  parseManifest,
  tarCompression,
  verifyBytes,
} from "../transport/mod.ts";
import { TAG_REFS } from "./ref_names.ts";
import { layerDamage } from "./damage.ts";
import { buildTree, imageBytes } from "./erofs_image.ts";
import { type DocumentStream, imageRefName, readDocumentStream } from "./image.ts";
import { SEAL_LABEL } from "./seal.ts";
import { layerStream, manifestOf, manifestStream, tagRef } from "./tags.ts";

/** What a check of images found; the names are those of the JSON output. */
export interface OciFsckReport {
  /** Whether there is no error, in the images and in the repository. */
  ok: boolean;
  /** Images looked at. */
  images_checked: number;
  /** Images with at least one error. */
  images_corrupted: number;
  /** One line an error, `fsck: <kind>: <text>`. */
  errors: string[];
  /** The check of the repository. */
  repo: FsckReport;
}

/** How to check images. */
export interface OciFsckOptions extends FsckOptions {
  /** Check only the image with this tag. */
  name?: string;
  /** Hash every layer's content and compare it with its diff_id. @default true */
  layers?: boolean;
  /** Build every image again and compare. @default false */
  deep?: boolean;
}

/** Checks the repository, then every tagged image. */
export async function checkImages(
  repository: Repository,
  options: OciFsckOptions = {},
): Promise<OciFsckReport> {
  const repo = await repository.fsck(options);
  const report: OciFsckReport = {
    ok: repo.ok,
    images_checked: 0,
    images_corrupted: 0,
    errors: [],
    repo,
  };
  const layers = new Map<string, string | undefined>();
  for (const { name, entry } of tagsToCheck(repository, options.name)) {
    report.images_checked++;
    const check = new ImageCheck(repository, name, { ...options, layerFaults: layers });
    check.run(entry);
    if (check.errors.length === 0) continue;
    report.images_corrupted++;
    report.errors.push(...check.errors);
    report.ok = false;
  }
  return report;
}

function tagsToCheck(repository: Repository, name?: string): { name: string; entry: string }[] {
  if (name !== undefined) return [{ name, entry: tagEntry(repository, name) }];
  return repository.listRefs("streams", TAG_REFS)
    .map((ref) => ({
      name: decodeRefComponent(ref.name.slice(TAG_REFS.length + 1)),
      entry: ref.entry,
    }));
}

/** Entry that a tag leads to; empty when there is no such tag, whatever it looks like. */
function tagEntry(repository: Repository, name: string): string {
  try {
    return repository.resolveRef("streams", tagRef(name)) ?? "";
  } catch (error) {
    if (error instanceof InvalidNameError) return ""; // a name that no tag can have
    throw error;
  }
}

/** The check of one image. */
class ImageCheck {
  readonly errors: string[] = [];
  readonly #repository: Repository;
  readonly #name: string;
  readonly #options: OciFsckOptions & { layerFaults: Map<string, string | undefined> };

  constructor(
    repository: Repository,
    name: string,
    options: OciFsckOptions & { layerFaults: Map<string, string | undefined> },
  ) {
    this.#repository = repository;
    this.#name = name;
    this.#options = options;
  }

  #error(kind: string, text = ""): void {
    this.errors.push(`fsck: ${kind}: ${this.#name}${text === "" ? "" : `: ${text}`}`);
  }

  run(entry: string): void {
    if (entry === "") {
      this.#error("ref-resolve-failed", `OCI reference not found: ${this.#name}`);
      return;
    }
    if (this.#name.startsWith("@")) {
      this.#error("invalid-ref-name", "leading '@' is reserved for digest references");
    }
    const digest = manifestOf(entry);
    if (digest === undefined) {
      this.#error("ref-resolve-failed", `it leads to ${entry}, which is no manifest`);
      return;
    }
    const found = this.#document(
      () =>
        this.#repository.openStream(manifestStream(digest), {
          contentType: CONTENT_TYPE.ociManifest,
        }),
      { what: "manifest", digest },
    );
    if (found === undefined) return;
    let manifest: Manifest;
    try {
      manifest = parseManifest(found.bytes);
    } catch (error) {
      this.#error("manifest-parse-failed", reasonOf(error));
      return;
    }
    this.#checkConfig(found, manifest);
  }

  /** Reads a document and compares its bytes with its digest. */
  #document(
    open: () => Parameters<typeof readDocumentStream>[1],
    options: { what: "manifest" | "config"; digest: Digest },
  ): DocumentStream | undefined {
    const { what, digest } = options;
    let document: DocumentStream;
    try {
      document = readDocumentStream(this.#repository, open());
    } catch (error) {
      this.#error(`${what}-read-failed`, reasonOf(error));
      return undefined;
    }
    try {
      verifyBytes(document.bytes, digest, what);
    } catch (error) {
      const actual = error instanceof Error && "actual" in error ? error.actual : "unknown";
      this.#error(`${what}-digest-mismatch`, `expected ${digest}, got ${actual}`);
      return undefined;
    }
    return document;
  }

  #checkConfig(manifestDoc: DocumentStream, manifest: Manifest): void {
    const digest = manifest.config.digest;
    const object = manifestDoc.refs.get(`config:${digest}`);
    if (object === undefined) {
      this.#error("config-ref-missing", digest.toString());
      return;
    }
    const contentType = CONTENT_TYPE.ociConfig;
    const config = this.#document(
      () => this.#repository.openStreamObject(object, { contentType }),
      { what: "config", digest },
    );
    if (config === undefined) return;
    if (isImageConfigType(manifest.config.mediaType)) {
      this.#checkContainer({ manifestDoc, manifest, config });
      return;
    }
    for (const { digest: id, mediaType } of manifest.layers) {
      const layer = manifestDoc.refs.get(id.toString());
      if (layer === undefined) this.#error("artifact-layer-ref-missing", id.toString());
      else if (this.#repository.objects.size(layer) === undefined) {
        this.#error("artifact-layer-object-missing", id.toString());
      } else if (tarCompression(mediaType) === undefined || tarCompression(mediaType) === "none") {
        this.#checkLayer(id, layer);
      }
    }
  }

  #checkContainer(
    image: { manifestDoc: DocumentStream; manifest: Manifest; config: DocumentStream },
  ): void {
    const { config, manifest } = image;
    let parsed;
    try {
      parsed = parseConfig(config.bytes);
    } catch (error) {
      this.#error("config-parse-failed", reasonOf(error));
      return;
    }
    const layers: { id: Digest; object: ObjectId }[] = [];
    for (const id of parsed.diffIds) {
      const object = config.refs.get(id.toString());
      if (object === undefined) {
        this.#error("layer-ref-missing", id.toString());
        continue;
      }
      const named = this.#repository.streamObject(layerStream(id));
      if (named === undefined) this.#error("layer-stream-missing", id.toString());
      else if (named !== object) {
        this.#error("layer-check-failed", `${id}: stream is ${named}, the config says ${object}`);
      }
      if (this.#repository.objects.size(object) === undefined) {
        this.#error("layer-object-missing", id.toString());
      } else {
        layers.push({ id, object });
        this.#checkLayer(id, object);
      }
    }
    const seal = manifest.annotations?.[SEAL_LABEL] ?? parsed.labels[SEAL_LABEL];
    if (seal !== undefined) this.#checkSeal(seal);
    if (this.#options.deep && layers.length === parsed.diffIds.length && this.errors.length === 0) {
      this.#rebuild(layers, config);
    }
  }

  /** Hashes a layer's content; each layer once, however many images have it. */
  #checkLayer(id: Digest, object: ObjectId): void {
    if (this.#options.layers === false || this.#options.metadataOnly) return;
    const { layerFaults } = this.#options;
    const key = `${id} ${object}`;
    if (!layerFaults.has(key)) layerFaults.set(key, this.#layerFault(id, object));
    const fault = layerFaults.get(key);
    if (fault !== undefined) this.#error("layer-check-failed", `${id}: ${fault}`);
  }

  #layerFault(id: Digest, object: ObjectId): string | undefined {
    return layerDamage(this.#repository, object, id)?.text;
  }

  #checkSeal(seal: string): void {
    try {
      this.#repository.readImage(this.#repository.findImage(seal));
    } catch (error) {
      this.#error("seal-image-missing", `${seal}: ${reasonOf(error)}`);
    }
  }

  /** Builds the image again from its layers. */
  #rebuild(layers: { id: Digest; object: ObjectId }[], config: DocumentStream): void {
    try {
      const tree = buildTree(this.#repository, layers);
      for (const version of this.#repository.formats) {
        const linked = config.refs.get(imageRefName(version));
        if (linked === undefined) continue;
        const id = this.#repository.idOf(imageBytes(this.#repository, tree, version));
        if (id !== linked) this.#error("image-mismatch", `linked ${linked}, rebuilt ${id}`);
      }
    } catch (error) {
      this.#error("image-mismatch", reasonOf(error));
    }
  }
}
