/** Whether a signature's name is one for an image (spec: trust 5). */
import { InvalidNameError } from "../base/mod.ts";
import { DockerName } from "./docker_name.ts";
import type { IdentityRule } from "./policy.ts";

/**
 * Whether a rule takes the name in a signature for that of an image.
 *
 * @param image the image's name; archives and directories have none
 * @param signed the name in the signature, as it is written
 */
export function matchesIdentity(
  rule: IdentityRule,
  image: DockerName | undefined,
  signed: string,
): boolean {
  const name = parseOrUndefined(signed);
  if (name === undefined) return false;
  switch (rule.type) {
    case "matchExact":
      return image !== undefined && image.isExact && name.isExact &&
        image.toString() === name.toString();
    case "matchRepoDigestOrExact":
      return image !== undefined && matchesDigestOrExact(image, name);
    case "matchRepository":
      return image !== undefined && image.repository === name.repository;
    case "exactReference":
      return name.isExact && rule.reference.toString() === name.toString();
    case "exactRepository":
      return rule.repository.repository === name.repository;
    case "remapIdentity": {
      const remapped = image === undefined ? undefined : remap(image, rule);
      return remapped !== undefined && matchesDigestOrExact(remapped, name);
    }
  }
}

function matchesDigestOrExact(image: DockerName, name: DockerName): boolean {
  if (!name.isExact) return false;
  if (image.tag !== undefined) return image.toString() === name.toString();
  return image.digest !== undefined && image.repository === name.repository;
}

/** The name after remapping; `undefined` when that is no name in full. */
function remap(
  image: DockerName,
  rule: { readonly prefix: string; readonly signedPrefix: string },
): DockerName | undefined {
  const { prefix, signedPrefix } = rule;
  const { repository } = image;
  if (repository !== prefix && !repository.startsWith(`${prefix}/`)) return image;
  const text = signedPrefix + image.toString().slice(prefix.length);
  const name = parseOrUndefined(text);
  return name?.toString() === text ? name : undefined;
}

function parseOrUndefined(text: string): DockerName | undefined {
  try {
    return DockerName.parse(text);
  } catch (error) {
    if (error instanceof InvalidNameError) return undefined;
    throw error;
  }
}

/** A rule as it is shown in reasons. */
export function formatIdentityRule(rule: IdentityRule): string {
  switch (rule.type) {
    case "exactReference":
      return `${rule.type} ${rule.reference}`;
    case "exactRepository":
      return `${rule.type} ${rule.repository.repository}`;
    case "remapIdentity":
      return `${rule.type} ${rule.prefix} to ${rule.signedPrefix}`;
    default:
      return rule.type;
  }
}
