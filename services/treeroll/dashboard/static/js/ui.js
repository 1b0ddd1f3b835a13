// Which file of others the pages use; scripts/vendor writes this line.
export * from "../vendor/ui-28cdf0f9.js";
