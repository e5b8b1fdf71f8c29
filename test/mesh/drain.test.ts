// A rolling restart under load fails no request: a few restarts, for every day. `test/soak` does fifty.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { rollingRestarts } from "./support/rolling.ts";

test("three rolling restarts of a server under HTTP/1, HTTP/2 and gRPC load fail no request", async () => {
  const { done, failures } = await rollingRestarts(126, 3);
  assert.equal(failures, []);
  assert.ok(Object.values(done).every((n) => n > 10), JSON.stringify(done));
});

test.run();
