/** What a policy can ask for (spec: trust 2). */
import type { DockerName } from "./docker_name.ts";

/** Keys or certificates: files, which are read when they are needed, or the bytes themselves. */
export interface KeySource {
  /** Paths of files. */
  readonly paths: readonly string[];
  /** Contents. */
  readonly data: readonly Uint8Array[];
}

/** Which names in a signature count for an image (spec: trust 5). */
export type IdentityRule =
  | { readonly type: "matchExact" | "matchRepoDigestOrExact" | "matchRepository" }
  | { readonly type: "exactReference"; readonly reference: DockerName }
  | { readonly type: "exactRepository"; readonly repository: DockerName }
  | { readonly type: "remapIdentity"; readonly prefix: string; readonly signedPrefix: string };

/** Kinds of keys that `signedBy` can name; only the first is implemented by anybody. */
export const KEY_TYPES = [
  "GPGKeys",
  "signedByGPGKeys",
  "X509Certificates",
  "signedByX509CAs",
] as const;

/** A kind of keys of `signedBy`. */
export type KeyType = (typeof KEY_TYPES)[number];

/** Who must have signed with a certificate of Fulcio's. */
export interface FulcioTrust {
  /** What it is. */
  readonly kind: "fulcio";
  /** Authorities, all of them anchors. */
  readonly ca: KeySource;
  /** Issuer that certified the e-mail address. */
  readonly oidcIssuer: string;
  /** The signer's e-mail address. */
  readonly subjectEmail: string;
}

/** Who must have signed with a certificate of one's own authorities. */
export interface PkiTrust {
  /** What it is. */
  readonly kind: "pki";
  /** Anchors. */
  readonly roots: KeySource;
  /** Certificates between anchors and signers. */
  readonly intermediates: KeySource;
  /** The signer's e-mail address. */
  readonly subjectEmail: string | undefined;
  /** The signer's host. */
  readonly subjectHostname: string | undefined;
}

/** Keys that must have signed. */
export interface KeyTrust {
  /** What it is. */
  readonly kind: "keys";
  /** The keys, any of them. */
  readonly keys: KeySource;
}

/** A demand for a simple signature. */
export interface SignedBy {
  /** What it is. */
  readonly type: "signedBy";
  /** Kind of the keys. */
  readonly keyType: KeyType;
  /** The keys. */
  readonly keys: KeySource;
  /** The names that count. */
  readonly identity: IdentityRule;
}

/** A demand for a sigstore signature. */
export interface SigstoreSigned {
  /** What it is. */
  readonly type: "sigstoreSigned";
  /** Who must have signed. */
  readonly trust: KeyTrust | FulcioTrust | PkiTrust;
  /** Keys of the log that must know the signature; `undefined` when none is asked for. */
  readonly rekor: KeySource | undefined;
  /** The names that count. */
  readonly identity: IdentityRule;
}

/** One demand. */
export type Requirement =
  | { readonly type: "insecureAcceptAnything" }
  | { readonly type: "reject" }
  | { readonly type: "signedBaseLayer" }
  | SignedBy
  | SigstoreSigned;

/** A policy. */
export interface Policy {
  /** Demands where no scope applies; all must be met. */
  readonly default: readonly Requirement[];
  /** By transport and scope; the scope `""` is the whole transport. */
  readonly transports: ReadonlyMap<string, ReadonlyMap<string, readonly Requirement[]>>;
}

/** The policy that `--insecure-policy` means. */
export const INSECURE_POLICY: Policy = {
  default: [{ type: "insecureAcceptAnything" }],
  transports: new Map(),
};
