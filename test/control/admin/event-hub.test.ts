import { test } from "uvu";
import * as assert from "uvu/assert";
import { EventHub, eventText } from "../../../src/control/admin/event-hub.ts";

type Stream = ReadableStream<Uint8Array>;

function opened(stream: Stream | null): ReadableStreamDefaultReader<Uint8Array> {
  assert.ok(stream !== null, "the hub is full");
  return (stream as Stream).getReader();
}

async function next(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<string> {
  const { value, done } = await reader.read();
  return done ? "(end)" : new TextDecoder().decode(value);
}

test("a stream begins with what it is given, then what is sent", async () => {
  const hub = new EventHub();
  const reader = opened(hub.open([eventText("a", { x: 1 })], 0));
  hub.send("second");
  assert.is(await next(reader), 'retry: 1000\n\nevent: a\ndata: {"x":1}\n\n');
  assert.is(await next(reader), "second");
  await reader.cancel();
  assert.is(hub.clients, 0);
});

test("a client that comes back gets what it missed, one that is new gets all that is kept", async () => {
  const hub = new EventHub({ maxKept: 3 });
  for (let i = 1; i <= 5; i++) hub.keep("swap", i);
  const ids = async (lastId: number) => {
    const reader = opened(hub.open([], lastId));
    const text = await next(reader);
    await reader.cancel();
    return [...text.matchAll(/^id: (\d+)$/gm)].map((m) => Number(m[1]));
  };
  assert.equal(await ids(0), [3, 4, 5]);
  assert.equal(await ids(4), [5]);
  assert.equal(await ids(5), []);
});

test("open() is null past the number of clients, until one leaves", async () => {
  const hub = new EventHub({ maxClients: 2 });
  const first = opened(hub.open([], 0));
  const second = opened(hub.open([], 0));
  assert.is(hub.open([], 0), null);
  await first.cancel();
  const third = opened(hub.open([], 0));
  assert.is(hub.clients, 2);
  await Promise.all([second.cancel(), third.cancel()]);
});

test("a client that does not read is dropped, and the others go on", async () => {
  const hub = new EventHub({ maxQueuedBytes: 100 });
  const slow = opened(hub.open([], 0));
  const quick = opened(hub.open([], 0));
  await next(quick);
  for (let i = 0; i < 3; i++) {
    hub.send("x".repeat(40));
    assert.is((await next(quick)).length, 40);
  }
  assert.equal([hub.clients, hub.dropped], [1, 1]);
  try {
    for (;;) if (await next(slow) === "(end)") assert.unreachable("it ended in order");
  } catch (e) {
    assert.match((e as Error).message, "too slowly");
  }
  await quick.cancel();
});

test("a first message over the bound is a dropped client, not a defect", () => {
  const hub = new EventHub({ maxQueuedBytes: 10 });
  hub.open(["x".repeat(11)], 0);
  assert.equal([hub.clients, hub.dropped], [0, 1]);
});

test("close() ends every stream in order", async () => {
  const hub = new EventHub();
  const reader = opened(hub.open([], 0));
  hub.close();
  await next(reader);
  assert.is(await next(reader), "(end)");
  assert.is(hub.clients, 0);
});

test("data with line ends stays one line", () => {
  assert.is(eventText("e", "a\nb\r\n"), 'event: e\ndata: "a\\nb\\r\\n"\n\n');
});

test.run();
