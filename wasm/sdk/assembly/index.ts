// `@tulle/filter`: everything that a filter imports. Where a parameter is called `slot`, a filter
// writes a name in quotes; the compiler puts the number there and the name into the manifest.

export * from "./text";
export * from "./http";
export * from "./body";
export * from "./callout";
export * from "./config";
export * from "./metrics";
export * from "./world";
export * from "./limits";
