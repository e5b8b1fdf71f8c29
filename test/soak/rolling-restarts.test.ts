// Fifty rolling restarts under load fail no request. `test/mesh/drain.test.ts` does three, every day.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { rollingRestarts } from "../mesh/support/rolling.ts";

test("fifty rolling restarts of a server under HTTP/1, HTTP/2 and gRPC load fail no request", async () => {
  const { done, failures } = await rollingRestarts(128, 50);
  assert.equal(failures, []);
  assert.ok(Object.values(done).every((n) => n > 500), JSON.stringify(done));
  console.log(`  answered: ${JSON.stringify(done)}`);
});

test.run();
