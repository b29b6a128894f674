/** One report on what ties an image to its signatures and its files (spec: trust 11). */
import type { Repository } from "../repository/mod.ts";
import type {
  FoundSignatures,
  IdentityRule,
  KeySource,
  PolicyImage,
  Requirement,
  SignaturePlaces,
} from "../trust/mod.ts";
import { type ImageTrust, judgeImage, policyImage, type TrustOptions } from "./admission.ts";
import { openImageRef, openManifest } from "./image.ts";
import {
  layoutAttachments,
  nativePlatform,
  openSource,
  parseImageReference,
  type RegistryAccess,
} from "../transport/mod.ts";
import { storedAttachments } from "./stored_attachments.ts";
import { manifestStream } from "./tags.ts";
import { imageLinks, type TrustLink, type TrustLinkOptions } from "./trust_links.ts";

/** A signature in a report. */
export interface ReportedSignature {
  /** Its kind. */
  readonly kind: "gpg" | "cosign" | "bundle";
  /** Where it was found. */
  readonly source: string;
  /** Who made it. */
  readonly signer: string | null;
  /** Name that it claims. */
  readonly identity: string | null;
  /** Digest that it claims. */
  readonly digest: string | null;
  /** When it was made. */
  readonly time: string | null;
  /** Whether the claims are the signer's. */
  readonly verified: boolean;
  /** Whether it meets the demand that it was checked for. */
  readonly accepted: boolean;
  /** Why it does not. */
  readonly reason: string | null;
}

/** The report; the names are those of the JSON output. */
export interface TrustReport {
  /** Version of this form. */
  readonly version: 1;
  /** The image. */
  readonly image: {
    /** Name that it was asked for by. */
    readonly name: string;
    /** Digest of the manifest. */
    readonly manifest: string;
    /** Digest of the config. */
    readonly config: string;
  };
  /** The policy that applied; `null` when there is none. */
  readonly policy: {
    /** Its file; `null` for `--insecure-policy`. */
    readonly file: string | null;
    /** The image as the policy sees it. */
    readonly image: string;
    /** Where the demands are: `default`, or transport and scope. */
    readonly scope: string;
    /** The demands. */
    readonly requirements: readonly Record<string, unknown>[];
    /** Whether all of them are met. */
    readonly accepted: boolean;
    /** Why not. */
    readonly reason: string | null;
    /** Digest of the index whose signatures counted. */
    readonly by_index: string | null;
  } | null;
  /** The signatures that were checked. */
  readonly signatures: readonly ReportedSignature[];
  /** What could not be read, and where nothing was looked for. */
  readonly notes: readonly string[];
  /** The links. */
  readonly links: readonly TrustLink[];
  /** What it comes to. */
  readonly verdict: "trusted" | "untrusted" | "refused";
}

/** How to report. */
export interface TrustReportOptions extends TrustOptions, TrustLinkOptions {
  /** How registries are talked to; without it a stored image's registry is not asked. */
  registry?: RegistryAccess | undefined;
}

/**
 * Reports on a stored image.
 *
 * @param name tag or digest of the image
 * @throws {NotFoundError} when there is no such image
 * @throws {DigestMismatchError} when its manifest or config was changed
 */
export async function reportStored(
  repository: Repository,
  name: string,
  options: TrustReportOptions = {},
): Promise<TrustReport> {
  const stored = openImageRef(repository, name);
  const links = imageLinks(repository, stored, options);
  const { findPolicy } = await import("../trust/mod.ts");
  const policy = findPolicy({ path: options.policy, insecure: options.insecurePolicy });
  const image = await storedImage(name, options);
  const places: SignaturePlaces = {
    stored: storedAttachments(repository),
    ...image.name === undefined ? {} : { physicalName: image.name },
  };
  const manifest = { digest: stored.manifestDigest, bytes: stored.manifestStream.bytes };
  const judge = (where: SignaturePlaces) =>
    judgeImage(manifest, { policy, image, places: where }, options);
  let trust = await judge(places);
  const { registry } = options;
  if (trust.verdict?.accepted === false && registry !== undefined && image.name !== undefined) {
    await using source = await openSource(`docker://${image.name}`, registry);
    trust = await judge({ ...await source.signaturePlaces?.(), ...places });
  }
  return trustReport({
    name,
    manifest: stored.manifestDigest.toString(),
    config: stored.configDigest.toString(),
    trust,
    links,
  });
}

/**
 * Reports on an image that is somewhere else; nothing is stored.
 *
 * @param reference as of {@linkcode openSource}
 * @throws {NotFoundError} when there is no such image, or none for the platform
 */
export async function reportRemote(
  reference: string,
  options: TrustReportOptions = {},
): Promise<TrustReport> {
  const { findPolicy } = await import("../trust/mod.ts");
  const policy = findPolicy({ path: options.policy, insecure: options.insecurePolicy });
  const image = await policyImage(reference, options);
  await using source = await openSource(reference, options.registry ?? {});
  const selected = await source.resolve({ platform: nativePlatform() });
  const { descriptor, bytes } = selected.original ?? selected;
  const index = selected.index;
  const trust = await judgeImage(
    {
      digest: descriptor.digest,
      bytes,
      index: index && { digest: index.descriptor.digest, bytes: index.bytes },
    },
    { policy, image, places: await source.signaturePlaces?.() ?? {} },
    options,
  );
  const config = selected.manifest.config.digest.toString();
  const unchecked = (id: TrustLink["id"], subject: string): TrustLink => ({
    id,
    subject,
    status: "unchecked",
    detail: "not pulled",
  });
  return trustReport({
    name: reference,
    manifest: descriptor.digest.toString(),
    config,
    trust,
    links: [
      {
        id: "manifest",
        subject: descriptor.digest.toString(),
        status: "ok",
        detail: "fetched bytes have this digest",
      },
      unchecked("config", config),
      ...selected.manifest.layers.map(({ digest }) => unchecked("layer", digest.toString())),
    ],
  });
}

/**
 * Reports on an image by a file with its signatures, as far as it is stored here.
 *
 * @param path file by {@linkcode trustBundle}
 * @throws {FormatError} when it is none
 */
export async function reportBundle(
  repository: Repository | undefined,
  path: string,
  options: TrustReportOptions = {},
): Promise<TrustReport> {
  const { openTrustBundle } = await import("./trust_bundle_read.ts");
  const { findPolicy } = await import("../trust/mod.ts");
  const policy = findPolicy({ path: options.policy, insecure: options.insecurePolicy });
  using bundle = await openTrustBundle(path);
  const { digest, simple } = bundle;
  const image = await storedImage(path, options);
  const places = { stored: layoutAttachments(bundle.store), known: simple };
  const trust = await judgeImage(
    { digest, bytes: bundle.manifest },
    { policy, image, places },
    options,
  );
  const stored = repository?.streamObject(manifestStream(digest)) === undefined
    ? undefined
    : openManifest(repository, digest);
  const manifest = digest.toString();
  const config = bundle.config.toString();
  const detail = "the file's bytes have this digest";
  const links: TrustLink[] = stored !== undefined && repository !== undefined
    ? imageLinks(repository, stored, options)
    : [
      { id: "manifest", subject: manifest, status: "ok", detail },
      { id: "config", subject: config, status: "ok", detail },
      { id: "layer", subject: "", status: "unchecked", detail: "the image is not stored here" },
    ];
  return trustReport({ name: path, manifest, config, trust, links });
}

/**
 * The simple signatures of a stored image, by the name it has in its registry.
 *
 * @param name tag or digest of the image
 */
export async function simpleSignatures(
  repository: Repository,
  name: string,
  options: TrustOptions = {},
): Promise<FoundSignatures> {
  const { findInDirectory, findLookaside, joinSignatures, RegistriesD } = await import(
    "../trust/mod.ts"
  );
  const { manifestDigest: digest } = openImageRef(repository, name);
  const { name: docker } = await storedImage(name, options);
  const { lookaside, registriesD, signal, places } = options;
  const parts: FoundSignatures[] = [];
  if (lookaside !== undefined) parts.push(await findInDirectory(lookaside));
  if (docker !== undefined) {
    const registries = await RegistriesD.load({ directory: registriesD, places });
    const base = registries.storageFor(docker).lookaside;
    parts.push(await findLookaside(base, { path: docker.path, digest, signal }));
  }
  return joinSignatures(parts);
}

/** A stored image as policies see it: by the name given, by its tag when that is a reference. */
async function storedImage(name: string, options: TrustOptions): Promise<PolicyImage> {
  const { dockerImage, DockerName, plainImage } = await import("../trust/mod.ts");
  const { identity } = options;
  if (identity !== undefined) {
    return dockerImage(DockerName.parse(identity.replace(/^docker:\/\//, "")));
  }
  if (isReference(name)) {
    try {
      return await policyImage(name, options);
    } catch (error) {
      // A tag that looks like the path of something that is gone by now.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return plainImage("composefs", name);
}

/** Whether a name is one that an image can be pulled by. */
export function isReference(name: string): boolean {
  if (!/^[a-z-]+:/.test(name) || /^sha(?:256|384|512):/.test(name)) return false;
  try {
    parseImageReference(name);
    return true;
  } catch {
    // No transport of that name: a tag.
    return false;
  }
}

function trustReport(
  parts: {
    name: string;
    manifest: string;
    config: string;
    trust: ImageTrust;
    links: readonly TrustLink[];
  },
): TrustReport {
  const { name, manifest, config, trust, links } = parts;
  const { policy, verdict, found, image } = trust;
  const chosen = verdict?.chosen;
  const failed = links.some(({ status }) => status === "FAIL");
  return {
    version: 1,
    image: { name, manifest, config },
    policy: policy === undefined || chosen === undefined || verdict === undefined ? null : {
      file: policy.file ?? null,
      image: image.shown,
      scope: chosen.transport === undefined
        ? "default"
        : `transports.${chosen.transport}[${JSON.stringify(chosen.scope)}]`,
      requirements: chosen.requirements.map(shownRequirement),
      accepted: verdict.accepted,
      reason: verdict.reason ?? null,
      by_index: verdict.byIndex ?? null,
    },
    signatures: (verdict?.requirements ?? []).flatMap(({ signatures }) =>
      signatures.map((one) => ({
        kind: one.kind,
        source: one.place,
        signer: one.signer ?? null,
        identity: one.identity ?? null,
        digest: one.digest ?? null,
        time: one.time?.toISOString() ?? null,
        verified: one.verified,
        accepted: one.accepted,
        reason: one.reason ?? null,
      }))
    ),
    notes: [
      ...found.faults.map(({ place, reason }) => `unreadable at ${place}: ${reason}`),
      ...found.notes,
    ],
    links,
    verdict: failed ? "untrusted" : verdict?.accepted === true ? "trusted" : "refused",
  };
}

/** A demand as plain data: keys by their files, data by its size. */
export function shownRequirement(requirement: Requirement): Record<string, unknown> {
  const { type } = requirement;
  if (type === "signedBy") {
    const { keyType, keys, identity } = requirement;
    return { type, keyType, keys: shownKeys(keys), signedIdentity: shownIdentity(identity) };
  }
  if (type !== "sigstoreSigned") return { type };
  const { trust, rekor, identity } = requirement;
  const who = trust.kind === "keys" ? { keys: shownKeys(trust.keys) } : trust.kind === "fulcio"
    ? {
      fulcio: {
        ca: shownKeys(trust.ca),
        oidcIssuer: trust.oidcIssuer,
        subjectEmail: trust.subjectEmail,
      },
    }
    : {
      pki: {
        roots: shownKeys(trust.roots),
        intermediates: shownKeys(trust.intermediates),
        subjectEmail: trust.subjectEmail ?? null,
        subjectHostname: trust.subjectHostname ?? null,
      },
    };
  return {
    type,
    ...who,
    rekor: rekor === undefined ? null : shownKeys(rekor),
    signedIdentity: shownIdentity(identity),
  };
}

function shownKeys({ paths, data }: KeySource): string[] {
  return [...paths, ...data.map((bytes) => `(${bytes.length} bytes in the policy)`)];
}

function shownIdentity(rule: IdentityRule): Record<string, string> {
  switch (rule.type) {
    case "exactReference":
      return { type: rule.type, dockerReference: rule.reference.toString() };
    case "exactRepository":
      return { type: rule.type, dockerRepository: rule.repository.repository };
    case "remapIdentity":
      return { type: rule.type, prefix: rule.prefix, signedPrefix: rule.signedPrefix };
    default:
      return { type: rule.type };
  }
}
