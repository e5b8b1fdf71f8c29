import { test } from "uvu";
import * as assert from "uvu/assert";
import { addUpdate, EndpointFold, removeUpdate } from "../../../src/api/endpoint.ts";
import { deltaOf } from "../../../src/control/destination/delta.ts";
import { type Endpoint, endpointKey } from "../../../src/model/endpoint.ts";
import { seeded } from "../../support/random.ts";

const endpoint = (n: number, version: number): Endpoint => ({
  addr: { ip: `10.0.0.${n}`, port: 80 },
  weight: 10_000,
  labels: { version: String(version) },
  identity: null,
  transportPort: 0,
  hint: "none",
});

test("deltaOf() gives nothing for equal sets", () => {
  const set = [endpoint(1, 0), endpoint(2, 0)];
  assert.equal(deltaOf(set, [endpoint(2, 0), endpoint(1, 0)]), { add: [], remove: [] });
});

test("deltaOf() adds what is new or different and removes what is gone", () => {
  const { add, remove } = deltaOf(
    [endpoint(1, 0), endpoint(2, 0), endpoint(3, 0)],
    [endpoint(1, 0), endpoint(2, 1), endpoint(4, 0)],
  );
  assert.equal(add, [endpoint(2, 1), endpoint(4, 0)]);
  assert.equal(remove, [{ ip: "10.0.0.3", port: 80 }]);
});

test("replaying the deltas of any sequence of sets gives each set", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const random = seeded(seed);
    const below = (n: number) => Math.floor(random() * n);
    const fold = new EndpointFold((why) => assert.unreachable(why.message));
    let sent: readonly Endpoint[] = [];
    let seen: readonly Endpoint[] = [];
    for (let step = 0; step < 40; step++) {
      const set = new Map<string, Endpoint>();
      for (let n = below(12); n > 0; n--) {
        const e = endpoint(below(10), below(3));
        set.set(endpointKey(e), e);
      }
      const next = [...set.values()];
      const { add, remove } = deltaOf(sent, next);
      assert.ok(
        new Set([...add.map((e) => e.addr.ip), ...remove.map((a) => a.ip)]).size ===
          add.length + remove.length,
        "nothing is both added and removed",
      );
      if (add.length > 0) seen = fold.apply(addUpdate(add, {}))?.endpoints ?? seen;
      if (remove.length > 0) seen = fold.apply(removeUpdate(remove))?.endpoints ?? seen;
      const sorted = (list: readonly Endpoint[]) =>
        [...list].sort((a, b) => endpointKey(a) < endpointKey(b) ? -1 : 1);
      assert.equal(sorted(seen), sorted(next), `seed ${seed}, step ${step}`);
      sent = next;
    }
  }
});

test.run();
