// A filter registry over files in memory, with modules that say which they are.

import { sha256Hex } from "../../../src/api/hex.ts";
import { createLogger } from "../../../src/core/log.ts";
import { FilterRefused, type ModuleInfo, type ModuleInspector } from "../../../src/core/filter.ts";
import { type SignatureCheck } from "../../../src/core/signature.ts";
import { Cluster } from "../../../src/control/cluster.ts";
import { Counters } from "../../../src/control/counters.ts";
import { FilterRegistry } from "../../../src/control/filters/registry.ts";
import { memoryStateDir, type StateDir } from "../../../src/control/state-dir.ts";
import { SourceMap, withPositions } from "../../../wasm/host/source-map.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { MemoryFiles } from "../support/memory-files.ts";
import { apply } from "../support/mesh-fixture.ts";

/** A module that says which it is; `bad` ones are refused by the inspector. */
export function wasm(text: string, bytes = 0): Uint8Array {
  const magic = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  return new Uint8Array([...magic, ...new TextEncoder().encode(text), ...new Uint8Array(bytes)]);
}
export const V1 = wasm("one");
export const V2 = wasm("two");
export const BAD = wasm("bad");
export const [SHA1, SHA2, SHA_BAD] = await Promise.all([V1, V2, BAD].map(sha256Hex)) as [
  string,
  string,
  string,
];

export const INSPECTOR: ModuleInspector = {
  inspect(module) {
    if (new TextDecoder().decode(module.subarray(8)).startsWith("bad")) {
      return Promise.reject(new FilterRefused("function 3 imports env.exit, which is not allowed"));
    }
    return Promise.resolve({} as ModuleInfo);
  },
};

export const filter = (sha256: string, more = "", name = "retry", namespace = "shop") => `
apiVersion: tulle.dev/v1alpha1
kind: WasmFilter
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  targetRef: { kind: Service, name: web }
  module: { sha256: ${sha256}, file: ../build/retry.wasm }
  config: { maxRetries: 2 }
${more}`;

export const WEB = { kind: "Service", namespace: "shop", name: "web" } as const;

export async function setUp(options: {
  yaml?: string;
  module?: Uint8Array | null;
  state?: StateDir;
  inspector?: ModuleInspector | null;
  signatures?: SignatureCheck;
} = {}) {
  const files = new MemoryFiles();
  const { module = V1, state = memoryStateDir(), inspector = INSPECTOR } = options;
  if (module !== null) files.write("/build/retry.wasm", module);
  const clock = new FakeClock();
  const cluster = new Cluster();
  const counters = new Counters();
  const lines: string[] = [];
  const registry = await FilterRegistry.open({
    cluster,
    files,
    stateDir: state,
    inspector,
    signatures: options.signatures ?? null,
    readMap: (text, place) => {
      const map = SourceMap.parse(text, place);
      return (reason) => withPositions(reason, map);
    },
    clock,
    counters,
    log: createLogger({
      level: "info",
      format: "plain",
      wall: () => 0,
      write: (l) => lines.push(l),
    }),
    onChange: () => {},
  });
  if (options.yaml !== "") apply(cluster, options.yaml ?? filter(SHA1));
  await registry.settled();
  return {
    files,
    clock,
    cluster,
    counters,
    lines,
    registry,
    state,
    serves: () => registry.refs(WEB, null).map((f) => f.sha256),
    one: () => registry.states()[0],
    /** Writes the module's file and lets it be read. */
    async edit(bytes: Uint8Array) {
      files.write("/build/retry.wasm", bytes);
      clock.advance(60);
      await registry.settled();
    },
  };
}
