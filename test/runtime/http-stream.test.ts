// Answers that go on: what a watch of the Kubernetes API is to the HTTP client.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createHttpClient } from "../../src/runtime/http-client.ts";

async function serve(answer: (response: ServerResponse) => void) {
  const server = createServer((_, response) => answer(response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = createHttpClient();
  const abort = new AbortController();
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/watch?secret=1`;
  return {
    abort,
    open: (idleMs = 60_000) => client.stream({ url, idleMs, signal: abort.signal }),
    async close() {
      await client.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function read(body: AsyncIterable<Uint8Array>): Promise<[string, string]> {
  let text = "";
  try {
    for await (const chunk of body) text += new TextDecoder().decode(chunk);
    return [text, "end"];
  } catch (e) {
    return [text, (e as Error).message];
  }
}

test("a stream is read as it comes, and ends in order", async () => {
  let later = () => {};
  const t = await serve((response) => {
    response.writeHead(200, { "x-kind": "watch" }).write("one\n");
    later = () => void response.end("two\n");
  });
  const { status, headers, body } = await t.open();
  assert.equal([status, headers["x-kind"]], [200, "watch"]);
  const parts = body[Symbol.asyncIterator]();
  assert.is(new TextDecoder().decode((await parts.next()).value), "one\n");
  later();
  assert.is(new TextDecoder().decode((await parts.next()).value), "two\n");
  assert.ok((await parts.next()).done);
  await t.close();
});

test("a stream that breaks, idles or is aborted says so in one line without its query", async () => {
  const broken = await serve((response) => {
    response.writeHead(200).write("one\n", () => setTimeout(() => response.destroy(), 20));
  });
  const [text, why] = await read((await broken.open()).body);
  assert.is(text, "one\n");
  assert.match(why, /^GET http:\/\/127\.0\.0\.1:\d+\/watch failed: \S.*$/);
  await broken.close();

  const idle = await serve((response) => void response.writeHead(200).write("one\n"));
  assert.match((await read((await idle.open(300)).body))[1], /failed: nothing came for 300 ms$/);
  const going = await idle.open();
  setTimeout(() => idle.abort.abort(new Error("enough")), 20);
  assert.match((await read(going.body))[1], /failed: \S/);
  await idle.close();

  const silent = await serve(() => {});
  const late = await silent.open(300).then(() => "", (e: Error) => e.message);
  assert.match(late, /failed: nothing came for 300 ms$/);
  await silent.close();
});

test.run();
