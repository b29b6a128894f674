import { policyImage, shownRequirement } from "../../lib/oci/mod.ts";
import {
  chooseRequirements,
  findPolicy,
  noPolicy,
  type Policy,
  type Requirement,
} from "../../lib/trust/mod.ts";
import type { CommandUnknownOpts } from "../commander.ts";
import type { Context } from "../context.ts";
import { newCommand, withNotes } from "../declare.ts";
import { printable } from "../printable.ts";
import { identityOption, policyOption } from "../trust_options.ts";
import { requirementLine } from "../trust_output.ts";

const DESCRIPTION = `Show the policy that decides which images are accepted

With IMAGE, a reference as for oci pull, only what applies to it.`;

interface ShownScope {
  readonly transport: string | null;
  readonly scope: string;
  readonly requirements: readonly Record<string, unknown>[];
}

function acceptsAnything(requirements: readonly Requirement[]): boolean {
  return requirements.every(({ type }) => type === "insecureAcceptAnything");
}

function allScopes(policy: Policy): ShownScope[] {
  const shown = (requirements: readonly Requirement[]) => requirements.map(shownRequirement);
  const named = [...policy.transports].flatMap(([transport, scopes]) =>
    [...scopes].map(([scope, requirements]) => ({
      transport,
      scope,
      requirements: shown(requirements),
    }))
  );
  return [{ transport: null, scope: "", requirements: shown(policy.default) }, ...named];
}

/** Declares `trust show`. */
export function command(context: Context): CommandUnknownOpts {
  const declared = newCommand("show")
    .description(DESCRIPTION)
    .argument("[IMAGE]", "Image reference")
    .addOption(policyOption())
    .addOption(identityOption())
    .option("--json", "Output as JSON")
    .action(async (reference, options) => {
      const found = findPolicy({ path: options.policy });
      if (found === undefined) throw noPolicy();
      const { policy, file } = found;
      let scopes = allScopes(policy);
      let open = acceptsAnything(policy.default);
      let image: string | undefined;
      if (reference !== undefined) {
        const { identity } = options;
        const asked = await policyImage(reference, identity === undefined ? {} : { identity });
        const { transport, scope, requirements } = chooseRequirements(policy, asked);
        open = acceptsAnything(requirements);
        image = asked.shown;
        scopes = [{
          transport: transport ?? null,
          scope,
          requirements: requirements.map(shownRequirement),
        }];
      }
      if (options.json) {
        context.stdout.json({
          file: file ?? null,
          ...image === undefined ? {} : { image },
          accepts_unsigned: open,
          scopes,
        });
        return;
      }
      const line = (text: string) => context.stdout.line(printable(text));
      line(`policy ${file}`);
      if (image !== undefined) line(`image  ${image}`);
      for (const { transport, scope, requirements } of scopes) {
        line(transport === null ? "default" : `${transport} ${JSON.stringify(scope)}`);
        for (const one of requirements) line(`  ${requirementLine(one)}`);
      }
      if (open) {
        line(
          image === undefined
            ? "this policy accepts unsigned images"
            : "this policy accepts the image unsigned",
        );
      }
    });
  return withNotes(declared, {
    examples: ["cfs trust show", "cfs trust show docker://registry.example.org/os:41 --json"],
    complete: { "0": "source", "--policy": "file" },
  });
}
