/** Whether a policy lets an image in that is about to be pulled (spec: trust 1 to 4, 11). */
import { type Digest, InvalidNameError } from "../base/mod.ts";
import { glanceAtPolicy, noPolicy } from "../trust/places/mod.ts";
// Its values are imported when they are needed: most commands need none.
import type {
  AttachmentSource,
  FoundSignatures,
  LoadedPolicy,
  PolicyImage,
  PolicyVerdict,
  SignaturePlaces,
  SignedIndex,
  TrustPlaces,
} from "../trust/mod.ts";
import type { Repository } from "../repository/mod.ts";
import {
  type ImageSource,
  parseImageReference,
  parseIndex,
  type SelectedManifest,
  type Transport,
} from "../transport/mod.ts";
import { SeenAttachments } from "./kept_signatures.ts";

/** Which policy counts, and where signatures are looked for. */
export interface TrustOptions {
  /** File of the policy, which must be there. @default the user's, else the system's */
  policy?: string | undefined;
  /** Accept everything, whatever policies there are. @default false */
  insecurePolicy?: boolean | undefined;
  /** Directory that says where signatures are. @default the user's, else the system's */
  registriesD?: string | undefined;
  /** A directory with simple signatures of the image. */
  lookaside?: string | undefined;
  /** Name of an image that is in no registry. */
  identity?: string | undefined;
  /** What bundles, which carry no name, are taken to be signed for. @default nothing */
  bundleIdentity?: "repository" | undefined;
  /** Whether signatures of the index count for its manifests. @default true */
  indexSignatures?: boolean | undefined;
  /** The time at which keys, signatures and certificates must be valid. @default now */
  now?: Date | undefined;
  /** Where files are looked for that are not named. @default those of the process */
  places?: TrustPlaces | undefined;
  /** Gives up when aborted. */
  signal?: AbortSignal | undefined;
}

/** What a policy says of an image. */
export interface ImageTrust {
  /** The policy; `undefined` when there is none anywhere. */
  readonly policy: LoadedPolicy | undefined;
  /** The image as the policy sees it. */
  readonly image: PolicyImage;
  /** The verdict; `undefined` when there is no policy. */
  readonly verdict: PolicyVerdict | undefined;
  /** Signatures that were found; none are looked for unless the policy asks for some. */
  readonly found: FoundSignatures;
}

/**
 * Keeps the signatures of an image that was stored.
 *
 * @param warn told what cannot be kept
 */
export type KeepSignatures = (
  repository: Repository,
  warn?: (text: string) => void,
) => Promise<void>;

/**
 * Decides about an image whose manifest was read and verified. Throws when it is not let in.
 *
 * @returns what is to be done when the image is stored
 */
export type Admission = (
  selected: SelectedManifest,
  source: ImageSource,
  places?: SignaturePlaces,
) => Promise<KeepSignatures | undefined>;

/** A manifest that is judged. */
export interface JudgedManifest {
  /** Its digest, which was checked. */
  readonly digest: Digest;
  /** Its exact bytes. */
  readonly bytes: Uint8Array;
  /** The index from which it was chosen. */
  readonly index?: { readonly digest: Digest; readonly bytes: Uint8Array } | undefined;
}

/**
 * Prepares the decision about a pull.
 *
 * @param reference image reference, as the user typed it
 * @returns the hook of {@linkcode PullOptions}
 * @throws {FormatError} when the policy is invalid; {NotFoundError} when a named one is not there
 */
export async function policyAdmission(
  reference: string,
  options: TrustOptions = {},
): Promise<Admission> {
  const { policy: path, insecurePolicy, places } = options;
  if (insecurePolicy) return () => Promise.resolve(undefined);
  // Without a policy, or with that of most machines, nothing else of that room is needed: it takes
  // longer to load than to pull what is there.
  // Who names an identity is told of a malformed one by what evaluates policies.
  const mayGlance = path === undefined && options.identity === undefined;
  const glance = mayGlance ? glanceAtPolicy(places) : "unread";
  if (glance === "accepts-everything") return () => Promise.resolve(undefined);
  const trust = glance === "unread" ? await import("../trust/mod.ts") : undefined;
  const policy = trust?.findPolicy({ path, places });
  return async (selected, source, known) => {
    if (trust === undefined || policy === undefined) {
      // Who carries the image over by hand decides by that, and so did earlier versions.
      if (source.remote) throw noPolicy(places);
      return undefined;
    }
    const image = await policyImage(reference, options);
    const manifest = { ...selected.original ?? selected, index: selected.index };
    const { digest } = manifest.descriptor;
    const found = known ?? await source.signaturePlaces?.() ?? {};
    const seen = (one: AttachmentSource | undefined) => one && new SeenAttachments(one);
    const [attachments, stored] = [seen(found.attachments), seen(found.stored)];
    const where: SignaturePlaces = { ...found, attachments, stored };
    const judged = await judgeImage(
      { ...manifest, digest, index: judgedIndex(selected) },
      { policy, image, places: where },
      options,
    );
    const { verdict } = judged;
    const { faults } = judged.found;
    if (verdict?.accepted === true) {
      return async (repository, warn) => {
        // Of the manifest as it is stored, which a converted one is not.
        if (selected.original !== undefined) return;
        for (const one of [attachments, stored]) await one?.keep(repository, digest, { warn });
      };
    }
    const { now } = options;
    throw trust.rejection(verdict!, { faults, ...now === undefined ? {} : { now } });
  };
}

/** The index that a manifest was chosen from, when it lists it. */
function judgedIndex(selected: SelectedManifest): JudgedManifest["index"] {
  const { index } = selected;
  if (index === undefined) return undefined;
  const digest = (selected.original ?? selected).descriptor.digest;
  const listed = parseIndex(index.bytes).manifests.some((entry) => entry.digest.equals(digest));
  return listed ? { digest: index.descriptor.digest, bytes: index.bytes } : undefined;
}

/** Judges an image by a policy, with the signatures that are found in places. */
export async function judgeImage(
  manifest: JudgedManifest,
  subject: {
    readonly policy: LoadedPolicy | undefined;
    readonly image: PolicyImage;
    readonly places: SignaturePlaces;
  },
  options: TrustOptions = {},
): Promise<ImageTrust> {
  const trust = await import("../trust/mod.ts");
  const { policy, image } = subject;
  if (policy === undefined) {
    return { policy, image, verdict: undefined, found: trust.NO_SIGNATURES };
  }
  const { requirements } = trust.chooseRequirements(policy.policy, image);
  const { lookaside, registriesD, signal } = options;
  let registries: ReturnType<typeof trust.RegistriesD.load> | undefined;
  const places: SignaturePlaces = {
    ...subject.places,
    lookaside,
    registries: () =>
      registries ??= trust.RegistriesD.load({
        directory: registriesD,
        places: options.places,
      }),
  };
  const find = async (one: JudgedManifest, instance: boolean) =>
    await trust.findSignatures(one.digest, { requirements, places }, { signal, instance });
  const evaluation = {
    ...options.now === undefined ? {} : { now: options.now },
    bundleIdentity: options.bundleIdentity,
    keys: new trust.PolicyKeys(),
  };
  const { index } = manifest;
  const signatures = await find(manifest, index !== undefined);
  const subjectOf = { image, manifest: { bytes: manifest.bytes, signatures } };
  const verdict = await trust.evaluatePolicy(policy.policy, subjectOf, evaluation);
  const needed = trust.needsSignatures(requirements) && options.indexSignatures !== false;
  if (verdict.accepted || index === undefined || !needed) {
    return { policy, image, verdict, found: signatures };
  }
  const ofIndex = await find(index, false);
  const signedIndex: SignedIndex = {
    digest: index.digest.toString(),
    bytes: index.bytes,
    signatures: ofIndex,
  };
  const again = await trust.evaluatePolicy(policy.policy, subjectOf, {
    ...evaluation,
    index: signedIndex,
  });
  return { policy, image, verdict: again, found: trust.joinSignatures([signatures, ofIndex]) };
}

/** Transports whose images lie where a path says. */
const PATHS: readonly Transport[] = ["oci", "oci-archive", "dir"];

/**
 * An image reference as policies see it.
 *
 * @throws {InvalidNameError} when it, or the identity given for it, is none
 */
export async function policyImage(
  reference: string,
  options: Pick<TrustOptions, "identity"> = {},
): Promise<PolicyImage> {
  const { dockerImage, DockerName, nameScopes, pathImage, plainImage } = await import(
    "../trust/mod.ts"
  );
  const { transport, rest } = parseImageReference(reference);
  const identity = options.identity?.replace(/^docker:\/\//, "");
  const name = identity === undefined ? undefined : DockerName.parse(identity).withLatest();
  if (transport === "docker" || transport === "registry") {
    return dockerImage(DockerName.parse(rest.replace(/^\/\//, "")));
  }
  if (transport === "docker-daemon") {
    // An image by its id has no name.
    if (/^[a-z0-9]+:[0-9a-f]{64}$/.test(rest)) return { ...plainImage(transport, rest), name };
    const own = DockerName.parse(rest).withLatest();
    const scopes = [own.toString(), ...nameScopes(own)];
    return { transport, scopes, name: name ?? own, shown: reference };
  }
  if (!PATHS.includes(transport)) return { ...plainImage(transport, rest), name };
  const { parseLayoutReference } = await import("../transport/mod.ts");
  const path = transport === "dir" ? rest : parseLayoutReference(rest).path;
  const kind = transport as "oci" | "oci-archive" | "dir";
  return { ...pathImage(kind, realPath(path)), name, shown: reference };
}

/** The path without symbolic links; for one that is not there, its directory's. */
function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const slash = path.replace(/\/+$/, "").lastIndexOf("/");
    const name = path.replace(/\/+$/, "").slice(slash + 1);
    if (name === "" || name === "." || name === "..") {
      throw new InvalidNameError(`No such file or directory: ${path}`);
    }
    const parent = Deno.realPathSync(slash < 0 ? "." : path.slice(0, slash) || "/");
    return parent === "/" ? `/${name}` : `${parent}/${name}`;
  }
}
