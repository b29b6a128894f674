/** The one door to smol-toml, which reads registries.conf. */
export { parse, TomlError } from "npm:smol-toml@1.9.1";
