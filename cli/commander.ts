/**
 * The one door to commander: the parser itself, with the types that know each command's options.
 *
 * @module
 */
// @ts-types="npm:@commander-js/extra-typings@15.1.0"
export {
  Argument,
  Command,
  CommanderError,
  type CommandUnknownOpts,
  InvalidArgumentError,
  Option,
} from "npm:commander@15.1.0";
