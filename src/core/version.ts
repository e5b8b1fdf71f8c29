// The version of the package, for processes that may not read its manifest. A test compares both.

/** As in `package.json`. */
export const VERSION = "0.1.0";
