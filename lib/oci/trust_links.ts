/** What ties a stored image together, from its manifest to the mounted files (spec: trust 11). */
import { ComposefsError, type Digest, type ObjectId } from "../base/mod.ts";
import type { ErofsVersion } from "../erofs/mod.ts";
import { reasonOf, type Repository } from "../repository/mod.ts";
import { buildTree, imageBytes, type LayerRef } from "./erofs_image.ts";
import { imageRefName, isSplitTar, layerObject, linkedImage, type OciImage } from "./image.ts";
import { hashLayer } from "./layer.ts";
import { judgeSeal } from "./seal.ts";
import { layerStream } from "./tags.ts";

/** Options of the kernel's command line that name an image; a question mark makes them insecure. */
const KERNEL_OPTION =
  /(?:^|\s)composefs(?:\.digest)?=(\??)(?:v1-sha(?:256|512)-12:)?([0-9a-f]+)(?=\s|$)/g;

/** Most bytes of a command line that are looked at; the kernel has fewer. */
const MAX_COMMAND_LINE = 64 * 1024;

/** One thing that must fit to another. */
export interface TrustLink {
  /** Kind of the link. */
  readonly id: "manifest" | "config" | "layer" | "erofs" | "seal" | "cmdline" | "verity";
  /** What it is about: a digest, an object id, a file. */
  readonly subject: string;
  /** Whether it fits; `none` when there is nothing, `unchecked` when it was not looked at. */
  readonly status: "ok" | "FAIL" | "none" | "unchecked";
  /** What was found. */
  readonly detail: string;
}

/** How to check. */
export interface TrustLinkOptions {
  /** Hash the content of all layers and objects. @default false */
  deep?: boolean;
  /** The kernel's command line. @default what /proc/cmdline says */
  commandLine?: string | undefined;
}

/** Checks the links of a stored image whose manifest and config were opened, so that they fit. */
export function imageLinks(
  repository: Repository,
  image: OciImage,
  options: TrustLinkOptions = {},
): TrustLink[] {
  const links: TrustLink[] = [
    ok("manifest", image.manifestDigest, "stored bytes have this digest"),
    ok("config", image.configDigest, "stored bytes have the digest that the manifest names"),
  ];
  const layers: LayerRef[] = [];
  for (const id of image.layerIds) {
    links.push(attempt("layer", id.toString(), () => {
      const object = layerObject(image, id);
      layers.push({ id, object });
      return layerLink(repository, { id, object, plain: image.config === undefined }, options);
    }));
  }
  const whole = layers.length === image.layerIds.length;
  const ids = image.config !== undefined && whole
    ? erofsLinks(repository, image, { layers, links })
    : new Map<ErofsVersion, ObjectId>();
  links.push(attempt("seal", "", () => sealLink(repository, image, { ids, layers })));
  links.push(commandLineLink(ids, options));
  links.push(...verityLinks(repository, image, options));
  return links;
}

function ok(id: TrustLink["id"], subject: Digest | string, detail: string): TrustLink {
  return { id, subject: subject.toString(), status: "ok", detail };
}

/** A link of which something that goes wrong is the fault. */
function attempt(id: TrustLink["id"], subject: string, check: () => TrustLink): TrustLink {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof ComposefsError)) throw error;
    return { id, subject, status: "FAIL", detail: reasonOf(error) };
  }
}

function layerLink(
  repository: Repository,
  layer: { id: Digest; object: ObjectId; plain: boolean },
  options: TrustLinkOptions,
): TrustLink {
  const { id, object } = layer;
  const subject = id.toString();
  const fail = (detail: string): TrustLink => ({ id: "layer", subject, status: "FAIL", detail });
  const named = repository.streamObject(layerStream(id));
  if (named === undefined) return fail("its stream is missing");
  if (named !== object) return fail(`its stream is ${named}, the config says ${object}`);
  const stream = repository.openStreamObject(object);
  for (const ref of stream.objectRefs) {
    if (repository.objects.size(ref) === undefined) return fail(`object ${ref} is missing`);
  }
  const whole = layer.plain || isSplitTar(stream);
  if (!whole) return fail("its stream is no layer");
  if (options.deep !== true) return ok("layer", id, "stream and objects are there; not hashed");
  for (const ref of stream.objectRefs) {
    using _fd = repository.objects.openVerified(ref);
  }
  if (layer.plain && !isSplitTar(stream)) return ok("layer", id, "objects hashed");
  const actual = hashLayer(repository, id, stream);
  if (!actual.equals(id)) return fail(`content has digest ${actual}`);
  return ok("layer", id, "content hashed to diff_id, objects measured");
}

/** Builds the images again and compares them with those that are linked. */
function erofsLinks(
  repository: Repository,
  image: OciImage,
  options: { layers: LayerRef[]; links: TrustLink[] },
): Map<ErofsVersion, ObjectId> {
  const ids = new Map<ErofsVersion, ObjectId>();
  const { layers, links } = options;
  links.push(...repository.formats.map((version) => {
    const name = imageRefName(version);
    return attempt("erofs", name, () => {
      const linked = linkedImage(image.configStream.refs, version);
      if (linked === undefined) {
        return { id: "erofs", subject: name, status: "none", detail: "no image is linked" };
      }
      const id = repository.idOf(imageBytes(repository, buildTree(repository, layers), version));
      ids.set(version, id);
      if (id === linked) return ok("erofs", id, `format ${version}, built again from the layers`);
      const detail = `linked ${linked}, the layers make ${id}`;
      return { id: "erofs", subject: linked, status: "FAIL", detail };
    });
  }));
  return ids;
}

/** What the manifest or the config claims the image to be. */
function sealLink(
  repository: Repository,
  image: OciImage,
  images: { ids: ReadonlyMap<ErofsVersion, ObjectId>; layers: readonly LayerRef[] },
): TrustLink {
  const { ids, layers } = images;
  const named = [...ids].map(([version, id]) => [`image of format ${version}`, id] as const);
  // Boot images are made of another tree; they are what they are if the image is.
  const boot = repository.formats.flatMap((version) => {
    const id = linkedImage(image.configStream.refs, version, true);
    return id === undefined ? [] : [[`boot image of format ${version}`, id] as const];
  });
  const { manifest, config } = image;
  const { claim, status, detail } = judgeSeal(repository, {
    manifest,
    config,
    images: new Map([...named, ...boot]),
    build: (version) =>
      repository.idOf(imageBytes(repository, buildTree(repository, layers), version)),
  });
  return { id: "seal", subject: claim ?? "", status, detail };
}

/** Whether the running system was started with this image. */
function commandLineLink(
  ids: ReadonlyMap<ErofsVersion, ObjectId>,
  options: TrustLinkOptions,
): TrustLink {
  const subject = "/proc/cmdline";
  const text = (options.commandLine ?? readCommandLine()).slice(0, MAX_COMMAND_LINE);
  const named = [...text.matchAll(KERNEL_OPTION)];
  const mine = named.find(([, , id]) => [...ids.values()].includes(id as ObjectId));
  if (mine !== undefined) {
    const insecure = mine[1] === "?";
    const detail = `names ${mine[2]}${insecure ? " with ?, so that it is not enforced" : ""}`;
    return { id: "cmdline", subject, status: "ok", detail };
  }
  const detail = named.length === 0 ? "names no image" : `names another image, ${named[0]![2]}`;
  return { id: "cmdline", subject, status: "none", detail };
}

function readCommandLine(): string {
  try {
    return Deno.readTextFileSync("/proc/cmdline");
  } catch (error) {
    // A system without /proc says nothing about what it was started with.
    if (!(error instanceof Error)) throw error;
    return "";
  }
}

/** Who makes sure of the image's bytes when they are used. */
function verityLinks(
  repository: Repository,
  image: OciImage,
  options: TrustLinkOptions,
): TrustLink[] {
  const links: TrustLink[] = [];
  for (const version of repository.formats) {
    const id = linkedImage(image.configStream.refs, version);
    if (id === undefined) continue;
    links.push(attempt("verity", id, () => {
      const opened = repository.objects.open(id);
      using _fd = opened.fd;
      if (opened.verified && repository.secure) {
        return ok("verity", id, "enforced by the kernel");
      }
      if (options.deep !== true) {
        const detail = opened.verified
          ? "measured by the kernel, but the repository does not insist"
          : "not checked: the repository has no fs-verity";
        return { id: "verity", subject: id, status: "unchecked", detail };
      }
      using _verified = repository.objects.openVerified(id);
      return ok("verity", id, "checked by hashing now; not enforced when it is used");
    }));
  }
  return links;
}
