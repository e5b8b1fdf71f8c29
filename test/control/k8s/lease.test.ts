import { test } from "uvu";
import * as assert from "uvu/assert";
import { createLogger } from "../../../src/core/log.ts";
import { type KubeApi, KubeError } from "../../../src/control/k8s/api.ts";
import { Lease } from "../../../src/control/k8s/lease.ts";
import { FakeClock } from "../../support/fake-clock.ts";

interface Stored {
  metadata: { resourceVersion: string };
  spec: { holderIdentity: string; renewTime: string; leaseTransitions: number };
}

/** Leases as an API server keeps them, in memory. */
function store() {
  let stored: Stored | null = null;
  let version = 1;
  const down = new Set<string>();
  const apiOf = (who: string): KubeApi => ({
    request({ method = "GET", path, body }) {
      if (down.has(who)) return Promise.reject(new Error("GET failed: the connection was refused"));
      const lease = body as Stored;
      if (method === "GET") {
        assert.is(path, "/apis/coordination.k8s.io/v1/namespaces/linkerd/leases/writer");
        return stored === null
          ? Promise.reject(new KubeError(404, "not found"))
          : Promise.resolve(structuredClone(stored));
      }
      const expected = stored?.metadata.resourceVersion;
      if (method === "POST" ? stored !== null : lease.metadata.resourceVersion !== expected) {
        return Promise.reject(new KubeError(409, "conflict"));
      }
      stored = { ...structuredClone(lease), metadata: { resourceVersion: String(++version) } };
      return Promise.resolve(stored);
    },
    watch: () => assert.unreachable() as never,
    close: () => Promise.resolve(),
  });
  return { down, apiOf, lease: () => stored?.spec };
}

function holder(api: KubeApi, clock: FakeClock, name: string) {
  const lines: string[] = [];
  let taken = 0;
  const lease = new Lease({
    api,
    namespace: "linkerd",
    name: "writer",
    holder: name,
    clock,
    random: () => 0.5,
    log: createLogger({
      level: "info",
      format: "plain",
      wall: () => 0,
      write: (l) => lines.push(l),
    }),
    onHeld: () => taken++,
  });
  return { lease, lines, taken: () => taken };
}

test("of two, one holds the lease; when it ends in order the other has it at its next look", async () => {
  const clock = new FakeClock();
  const { apiOf, lease } = store();
  const a = holder(apiOf("a"), clock, "a");
  const b = holder(apiOf("b"), clock, "b");
  a.lease.start();
  await clock.advanceAsync(0);
  b.lease.start();
  await clock.advanceAsync(60_000);
  assert.equal([a.lease.held, b.lease.held], [true, false]);
  assert.match(lease()?.renewTime ?? "", /^2030-01-01T00:01:00\.000000Z$/);
  await a.lease.close();
  assert.not(a.lease.held);
  assert.is(lease()?.holderIdentity, "");
  await clock.advanceAsync(10_000);
  assert.ok(b.lease.held);
  assert.equal([lease()?.holderIdentity, lease()?.leaseTransitions], ["b", 1]);
  assert.equal([a.taken(), b.taken()], [1, 1]);
  await b.lease.close();
  assert.is(clock.pending, 0);
});

test("a holder that cannot renew stops writing before another may begin", async () => {
  const clock = new FakeClock();
  const { apiOf, lease, down } = store();
  const a = holder(apiOf("a"), clock, "a");
  const b = holder(apiOf("b"), clock, "b");
  a.lease.start();
  await clock.advanceAsync(0);
  b.lease.start();
  await clock.advanceAsync(0);
  down.add("a");
  for (let s = 0; s < 60; s++) {
    await clock.advanceAsync(1000);
    assert.not(a.lease.held && b.lease.held, `both at ${s} s`);
  }
  assert.equal([a.lease.held, b.lease.held, lease()?.holderIdentity], [false, true, "b"]);
  assert.match(a.lines.at(-1) ?? "", /the lease cannot be renewed/);
  // Back again: it is another's now.
  down.delete("a");
  await clock.advanceAsync(60_000);
  assert.equal([a.lease.held, b.lease.held], [false, true]);
  await Promise.all([a.lease.close(), b.lease.close()]);
});

test("a holder whose clock is wrong is not taken for dead", async () => {
  const clock = new FakeClock();
  const { apiOf } = store();
  const slow = new FakeClock(Date.UTC(2001, 0, 1));
  const a = holder(apiOf("a"), slow, "a");
  const b = holder(apiOf("b"), clock, "b");
  a.lease.start();
  await slow.advanceAsync(0);
  b.lease.start();
  for (let s = 0; s < 120; s++) {
    await slow.advanceAsync(1000);
    await clock.advanceAsync(1000);
  }
  assert.equal([a.lease.held, b.lease.held], [true, false]);
  await Promise.all([a.lease.close(), b.lease.close()]);
});

test.run();
