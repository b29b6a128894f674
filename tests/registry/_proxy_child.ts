/** Asks a registry for a manifest, with the proxies of its environment. */
import { parseDockerReference, RegistryClient } from "../../lib/registry/mod.ts";

if (import.meta.main) {
  using client = new RegistryClient({
    tlsVerify: false,
    credentials: "none",
    surroundings: { variable: () => undefined, uid: 0, root: "/nonexistent" },
    http: { retries: 0 },
  });
  const repository = await client.repository(parseDockerReference(Deno.args[0]!));
  const { mediaType } = await repository.manifest("latest");
  await Deno.stdout.write(new TextEncoder().encode(mediaType));
}
