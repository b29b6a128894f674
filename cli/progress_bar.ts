/** The one door to cli-progress, the bars on the terminal. */
// @ts-types="npm:@types/cli-progress@3.11.6"
export { default } from "npm:cli-progress@3.12.0";
