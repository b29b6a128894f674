/** The images of the case table, with their signatures as a registry would have them. */
import { Digest } from "../../lib/base/mod.ts";
import { openArchive } from "../../lib/transport/archive.ts";
import { readDocument } from "../../lib/transport/blob.ts";
import { parseIndex } from "../../lib/transport/documents.ts";
import { layoutAttachments } from "../../lib/transport/layout_attachments.ts";
import {
  chooseRequirements,
  dockerImage,
  DockerName,
  type EvaluateOptions,
  evaluatePolicy,
  findSignatures,
  parsePolicy,
  pathImage,
  type PolicyVerdict,
  RegistriesD,
  type SignaturePlaces,
  type SignedManifest,
} from "../../lib/trust/mod.ts";
import { TempDir } from "../helpers/temp.ts";
import { FIXTURES } from "./_fixtures.ts";

/** A row of the table. */
export interface CaseRow {
  id: string;
  source: string;
  policy: unknown;
  expect: "accept" | "reject";
  judged_by: string;
  skopeo_message?: string;
  reason_hint?: string;
  manifest_digest?: string;
  layout?: string;
  ref?: string;
  reference_only?: boolean;
}

/** How a row is judged. */
export interface JudgeOptions extends EvaluateOptions {
  /** As the reference does it. */
  reference?: boolean;
  /** The lines of registries.d beside the lookaside. */
  attachments?: string;
}

const encode = (text: string) => new TextEncoder().encode(text);

/** Judges a row. */
export async function judge(row: CaseRow, options: JudgeOptions = {}): Promise<PolicyVerdict> {
  const policy = parsePolicy(encode(JSON.stringify(row.policy)), "policy.json");
  const { reference = false, attachments = "  use-sigstore-attachments: true\n", ...rest } =
    options;
  const evaluation = { ...rest, strictReading: reference };
  if (row.source.startsWith("dir:")) {
    const directory = row.source.slice("dir:".length);
    const bytes = Deno.readFileSync(`${directory}/manifest.json`);
    const image = pathImage("dir", directory);
    const { requirements } = chooseRequirements(policy, image);
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const signatures = await findSignatures(Digest.sha256(hash), {
      requirements,
      places: { directory },
    });
    return await evaluatePolicy(policy, { image, manifest: { bytes, signatures } }, evaluation);
  }
  using config = new TempDir();
  const lookaside = `  lookaside: file://${FIXTURES}/lookaside\n`;
  config.write("default.yaml", encode(`default-docker:\n${lookaside}${attachments}`));
  const registries = RegistriesD.load({ directory: config.path });
  using store = await openArchive(`${FIXTURES}/${row.layout}`);
  const name = DockerName.parse(row.source.slice("docker://".length));
  const image = dockerImage(name);
  const { requirements } = chooseRequirements(policy, image);
  const places: SignaturePlaces = {
    physicalName: name,
    registries: () => registries,
    attachments: layoutAttachments(store),
  };
  const { manifests } = parseIndex(store.index);
  const find = async (digest: string): Promise<SignedManifest> => {
    const entry = [...manifests, ...nested].find((one) => one.digest.toString() === digest)!;
    const bytes = readDocument(store, entry, "manifest");
    const signatures = await findSignatures(entry.digest, { requirements, places }, {
      attachments: reference ? "configured" : "wanted",
    });
    return { bytes, signatures };
  };
  const meant = manifests.find((entry) =>
    entry.annotations?.["org.opencontainers.image.ref.name"] === row.ref
  )!;
  const isIndex = meant.mediaType.includes("index");
  const nested = isIndex ? parseIndex(readDocument(store, meant, "index")).manifests : [];
  const chosen = isIndex ? nested[0]!.digest.toString() : meant.digest.toString();
  const index = isIndex && !reference
    ? { ...await find(meant.digest.toString()), digest: meant.digest.toString() }
    : undefined;
  const manifest = await find(chosen);
  return await evaluatePolicy(policy, { image, manifest }, { ...evaluation, index });
}
