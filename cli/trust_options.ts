/**
 * The options of commands that ask policies, named as skopeo and podman have them.
 *
 * @module
 */
import type { TrustOptions } from "../lib/oci/mod.ts";
import { Option } from "./commander.ts";

/** `--policy`. */
export function policyOption() {
  return new Option("--policy <FILE>", "policy.json to go by, in place of the user's or system's")
    .conflicts("insecurePolicy");
}

/** `--insecure-policy`. */
export function insecurePolicyOption() {
  return new Option("--insecure-policy", "Accept any image, whatever policies there are");
}

/** `--registries.d`. */
export function registriesDOption() {
  return new Option("--registries.d <DIR>", "Directory that says where signatures are");
}

/** `--lookaside`. */
export function lookasideOption() {
  return new Option("--lookaside <DIR>", "Directory with signatures of the image: signature-1, …");
}

/** `--identity`. */
export function identityOption() {
  return new Option("--identity <NAME>", "Registry name of an image that comes from elsewhere");
}

/** `--bundle-identity`. */
export function bundleIdentityOption() {
  return new Option(
    "--bundle-identity <WHAT>",
    "What sigstore bundles, which carry no name, count as signed for",
  ).choices(["repository"] as const);
}

/** `--no-index-signatures`. */
export function indexSignaturesOption() {
  return new Option(
    "--no-index-signatures",
    "Signatures of an image's index do not count for the image",
  );
}

/** What the options were given as. */
export interface TrustValues {
  /** Value of `--policy`. */
  readonly policy?: string | undefined;
  /** Whether `--insecure-policy` was given. */
  readonly insecurePolicy?: true | undefined;
  /** Value of `--registries.d`. */
  readonly "registries.d"?: string | undefined;
  /** Value of `--lookaside`. */
  readonly lookaside?: string | undefined;
  /** Value of `--identity`. */
  readonly identity?: string | undefined;
  /** Value of `--bundle-identity`. */
  readonly bundleIdentity?: "repository" | undefined;
  /** False when `--no-index-signatures` was given. */
  readonly indexSignatures?: boolean | undefined;
}

/** Which policy counts, and where signatures are looked for. */
export function trustOptions(values: TrustValues): TrustOptions {
  return {
    policy: values.policy,
    insecurePolicy: values.insecurePolicy,
    registriesD: values["registries.d"],
    lookaside: values.lookaside,
    identity: values.identity,
    bundleIdentity: values.bundleIdentity,
    indexSignatures: values.indexSignatures,
  };
}
