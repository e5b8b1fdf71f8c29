// The arithmetic of the detection bench and its client; the bench itself needs peers.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { summarizeDetection } from "../../bench/detection.ts";
import { BANNER, firstByteMs, speakingServer } from "../../bench/support/speaking.ts";

test("figures are medians over rounds, ratios are against HAProxy round by round", () => {
  const round = (serverFirst: number[], clientFirst: number[]) => ({ serverFirst, clientFirst });
  const [haproxy, tulle] = summarizeDetection(
    new Map([
      ["haproxy", [round([1, 1, 9], [2]), round([2], [4]), round([1], [2])]],
      ["tulle", [round([50, 50, 300], [4]), round([60], [4]), round([55], [8])]],
    ]),
  );
  assert.equal([haproxy?.serverFirstRatio, haproxy?.clientFirstRatio], [1, 1]);
  assert.equal(tulle, {
    name: "tulle",
    serverFirstMs: 55,
    worstMs: 300,
    serverFirstRatio: 50,
    clientFirstMs: 4,
    clientFirstRatio: 2,
  });
});

test("the client measures what comes first, and takes nothing else for it", async () => {
  const server = await speakingServer();
  server.speak("serverFirst");
  assert.ok(await firstByteMs(server.port, null, BANNER) > 0);
  server.speak("clientFirst");
  assert.ok(await firstByteMs(server.port, "PING\r\n", BANNER) > 0);
  try {
    await firstByteMs(server.port, "GET / HTTP/1.1\r\n\r\n", BANNER);
    assert.unreachable();
  } catch (e) {
    assert.match((e as Error).message, /the server said "HTTP/);
  }
  await server.close();
});

test.run();
