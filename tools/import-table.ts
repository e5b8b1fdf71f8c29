// Who may import whom: the table of docs/ARCHITECTURE.md as data. Read by the lint rule
// `import-table` (tools/check/file-rules.ts), which an editor shows too. The first row whose `files`
// fits a path counts; a path that fits none fails.

/** One row: a folder (ends in `/`) or a file, and what it may use. */
export interface ImportRow {
  readonly files: string;
  /** Folders and files of the project; its own row's folder is written out where it is meant. */
  readonly mayImport: readonly string[];
  readonly packages: readonly PackageUse[];
  /** Whether `node:` modules and the runtimes' globals (`Deno`, `process`, `Buffer`) may appear. */
  readonly runtime: boolean;
  /** What to do instead, for the message. */
  readonly hint: string;
}

/** A package, and which files of the row may use it (all when `only` is missing). */
export interface PackageUse {
  readonly name: string;
  readonly only?: RegExp;
}

const ANYTHING = [
  "src/",
  "wasm/",
  "filters/",
  "demo/",
  "test/",
  "bench/",
  "tools/",
  "bin/",
  "package.json",
];
const RINGS = "the rings are core ← model ← api ← {proxy, control, cli}: nothing points outwards";
const HAND_IN = "take what is needed as an argument; a main.ts hands it in";

const CONNECT = { name: "@connectrpc/connect" };
const PROTOBUF = { name: "@bufbuild/protobuf" };

/** The table. Order matters: a file before its folder. */
export const IMPORT_TABLE: readonly ImportRow[] = [
  { files: "src/core/", mayImport: ["src/core/"], packages: [], runtime: false, hint: RINGS },
  {
    files: "src/model/",
    mayImport: ["src/core/", "src/model/"],
    packages: [],
    runtime: false,
    hint: RINGS,
  },
  {
    files: "src/api/",
    mayImport: ["src/core/", "src/model/", "src/api/"],
    packages: [PROTOBUF, CONNECT],
    runtime: false,
    hint: RINGS,
  },
  {
    files: "src/runtime/",
    mayImport: ["src/core/", "src/runtime/"],
    packages: [
      CONNECT,
      { name: "@connectrpc/connect-node" },
      { name: "undici" },
      { name: "@hono/node-server", only: /\/http-server/ },
    ],
    runtime: true,
    hint: "the runtime knows core only; what it serves is handed to it",
  },
  // The proxy's entries – process, `tulle proxy`, worker thread – and what makes a thread for them.
  // What they serve is built by data-plane.ts and static-plane.ts, which know no runtime.
  ...["main", "static", "thread", "threads", "worker"].map((file): ImportRow => ({
    files: `src/proxy/${file}.ts`,
    mayImport: [
      "src/core/",
      "src/model/",
      "src/api/",
      "src/proxy/",
      "src/runtime/",
      "wasm/host/",
    ],
    packages: [],
    runtime: false,
    hint: "proxy and control never see each other: they meet in model and api",
  })),
  {
    files: "src/proxy/",
    mayImport: ["src/core/", "src/model/", "src/api/", "src/proxy/"],
    packages: [
      { name: "hono", only: /\/admin/ },
      { ...CONNECT, only: /\/(discovery|tap|credentials)/ },
      { ...PROTOBUF, only: /\/(discovery|tap|credentials)/ },
    ],
    runtime: false,
    hint: HAND_IN,
  },
  {
    files: "src/control/main.ts",
    mayImport: [
      "src/core/",
      "src/model/",
      "src/api/",
      "src/control/",
      "src/dashboard/",
      "src/runtime/",
      "wasm/host/",
    ],
    packages: [],
    runtime: false,
    hint: "proxy and control never see each other: they meet in model and api",
  },
  {
    files: "src/control/injector/main.ts",
    mayImport: [
      "src/core/",
      "src/control/admission/serve.ts",
      "src/control/injector/",
      "src/runtime/",
    ],
    packages: [],
    runtime: false,
    hint: "the injector's process: it knows nothing of the other services",
  },
  {
    files: "src/control/",
    mayImport: ["src/core/", "src/model/", "src/api/", "src/control/"],
    packages: [
      { name: "hono", only: /\/(admin|webhook)/ },
      { ...CONNECT, only: /-service\.ts$/ },
      { ...PROTOBUF, only: /-service\.ts$/ },
      { name: "@peculiar/x509", only: /^src\/control\/identity\// },
      { name: "reflect-metadata", only: /^src\/control\/identity\// },
      { name: "yaml", only: /^src\/control\/(files|k8s\/kubeconfig)/ },
    ],
    runtime: false,
    hint: HAND_IN,
  },
  {
    files: "src/init/",
    mayImport: ["src/core/", "src/init/"],
    packages: [],
    runtime: false,
    hint: HAND_IN,
  },
  {
    files: "src/cni/",
    mayImport: ["src/core/", "src/init/", "src/cni/", "src/control/field.ts"],
    packages: [],
    runtime: false,
    hint: HAND_IN,
  },
  {
    files: "src/install/",
    mayImport: ["src/core/", "src/model/", "src/control/injector/", "src/install/"],
    packages: [{ name: "yaml", only: /\/render\.ts$/ }],
    runtime: false,
    hint: "values in, manifests out: certificates and files are the command's",
  },
  {
    files: "src/cli/",
    mayImport: [
      "src/core/",
      "src/model/",
      "src/api/",
      "src/cli/",
      "src/cni/",
      "src/init/",
      "src/runtime/",
      "src/proxy/main.ts",
      "src/proxy/static-options.ts",
      "src/control/main.ts",
      "src/control/injector/",
      "src/control/field.ts",
      "src/control/k8s/",
      "src/install/",
      "package.json",
      "wasm/host/",
      "wasm/sdk/",
    ],
    packages: [
      { name: "@peculiar/x509" },
      { name: "reflect-metadata" },
      { name: "assemblyscript" },
      { name: "yaml", only: /\/(inject|install)/ },
    ],
    runtime: true,
    hint: "a command is an entry point: one main.ts, the runtime, model and api",
  },
  {
    files: "src/dashboard/",
    mayImport: ["src/dashboard/", "src/api/"],
    packages: [{ name: "hono" }],
    runtime: false,
    hint: "pages know the admin API and nothing behind it",
  },
  {
    files: "wasm/host/",
    mayImport: ["src/core/", "wasm/host/", "wasm/abi.ts"],
    packages: [],
    runtime: false,
    hint: "the host knows core's interfaces and the ABI",
  },
  {
    files: "wasm/conformance/",
    mayImport: ["wasm/conformance/"],
    packages: [],
    runtime: false,
    hint: "the suite knows no host: what plays it lies in test/",
  },
  {
    files: "wasm/abi.ts",
    mayImport: [],
    packages: [],
    runtime: false,
    hint: "the ABI is read by host and guest: it stands alone",
  },
  ...[
    "testing",
    "testing-callouts",
    "testing-clock",
    "testing-filter",
    "testing-heads",
    "testing-results",
  ].map((
    file,
  ): ImportRow => ({
    files: `wasm/sdk/${file}.ts`,
    mayImport: [
      "src/core/",
      "src/cli/filter-compiler.ts",
      "src/proxy/http1/parse.ts",
      "wasm/host/",
      "wasm/sdk/",
    ],
    packages: [{ name: "uvu" }],
    runtime: true,
    hint: "the test harness is the engine with the compiler in front and plain values around",
  })),
  {
    files: "wasm/sdk/",
    mayImport: ["wasm/sdk/", "wasm/abi.ts"],
    packages: [{ name: "assemblyscript" }],
    runtime: false,
    hint: "the SDK knows the ABI only",
  },
  {
    files: "filters/",
    mayImport: ["filters/", "wasm/sdk/", "wasm/abi.ts"],
    packages: [],
    runtime: false,
    hint: "a filter knows the SDK only",
  },
  {
    files: "demo/",
    mayImport: ["demo/", "src/core/"],
    packages: [],
    runtime: true,
    hint: "the demo's services are ordinary applications: they know nothing of the mesh",
  },
  ...["test/", "bench/", "tools/", "bin/"].map((files): ImportRow => ({
    files,
    mayImport: ANYTHING,
    packages: [
      "@bufbuild/protobuf",
      "@connectrpc/connect",
      "@connectrpc/connect-node",
      "@hono/node-server",
      "@peculiar/x509",
      "assemblyscript",
      "esbuild",
      "hono",
      "reflect-metadata",
      "undici",
      "uvu",
      "yaml",
    ].map((name) => ({ name })),
    runtime: true,
    hint: "a new package needs a line in docs/adr/0003-dependencies.md and in this table",
  })),
];

/**
 * Files that are longer than 400 lines on purpose. Each was read and found to be one concept; the
 * reason says which.
 */
export const LONG_FILES: Readonly<Record<string, string>> = {};

/** The row of a file, or null when the table forgot it. */
export function rowOf(path: string): ImportRow | null {
  return IMPORT_TABLE.find((row) => fits(path, row.files)) ?? null;
}

/** Whether `path` is the file `pattern`, or lies in the folder `pattern` (which then ends in `/`). */
export function fits(path: string, pattern: string): boolean {
  return pattern.endsWith("/") ? path.startsWith(pattern) : path === pattern;
}
