// `tulle proxy` asked to end while HTTP/2 clients use it: what runs is finished, clients are told which
// of their requests were taken, and the process ends by itself.

import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../mesh/support/waiting.ts";
import { withProxy } from "./proxy-process.ts";

test("SIGTERM finishes what runs, tells clients by GOAWAY, and ends with 0", async () => {
  const waiting: http.ServerResponse[] = [];
  const app = http.createServer((_request, response) => void waiting.push(response));
  app.listen(0, "127.0.0.1");
  await once(app, "listening");
  try {
    await withProxy((app.address() as AddressInfo).port, "http1", async (proxy) => {
      const client = http2.connect(`http://127.0.0.1:${proxy.port}`);
      client.on("error", () => {});
      const idle = http2.connect(`http://127.0.0.1:${proxy.port}`);
      idle.on("error", () => {});
      await once(idle, "connect");
      const told = [once(client, "goaway"), once(idle, "goaway")];
      const closed = [once(client, "close"), once(idle, "close")];
      const stream = client.request({ ":path": "/" });
      let body = "";
      stream.setEncoding("utf8").on("data", (text: string) => (body += text));
      const answered = once(stream, "response") as Promise<[http2.IncomingHttpHeaders]>;
      const done = once(stream, "end");
      await eventually("the request arrived", () => assert.is(waiting.length, 1));
      process.kill(proxy.pid, "SIGTERM");
      for (const [code] of await Promise.all(told)) assert.is(code, 0);
      waiting[0]!.end("late");
      const [head] = await answered;
      await done;
      assert.equal([head[":status"], body], [200, "late"]);
      assert.is(await proxy.ended, 0);
      await Promise.all(closed);
    });
  } finally {
    app.closeAllConnections();
    await new Promise((end) => app.close(end));
  }
});

test.run();
