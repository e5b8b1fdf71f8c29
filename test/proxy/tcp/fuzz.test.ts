// Random beginnings of connections, by seed: nothing throws, what is decided does not depend on how the
// bytes were cut, no byte is lost between who looks and who serves, and each connection ends once.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { readClientHello } from "../../../src/core/client-hello.ts";
import { PREFACE } from "../../../src/proxy/http2/frames.ts";
import { AwaitHello } from "../../../src/proxy/tcp/await-hello.ts";
import { detectProtocol, MAX_DETECT_BYTES, type Protocol } from "../../../src/proxy/tcp/detect.ts";
import { Detect, type EarlyForward, type Served } from "../../../src/proxy/tcp/detect-core.ts";
import { MemoryDriver, turn } from "../../support/memory-driver.ts";
import { fuzzSeed, type Random, seeded } from "../../support/random.ts";

const RUNS = 3000;
const latin1 = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** A ClientHello with a name and an extension that is as long as a post-quantum key share. */
function clientHello(name: string, padding: number): Uint8Array {
  const u16 = (n: number) => String.fromCharCode((n >> 8) & 255, n & 255);
  const sni = `\0${u16(name.length)}${name}`;
  const extensions = `\0\x33${u16(padding)}${"k".repeat(padding)}` +
    `\0\0${u16(sni.length + 2)}${u16(sni.length)}${sni}`;
  const body = `\x03\x03${"r".repeat(32)}\0\0\x02\x13\x01\x01\0${
    u16(extensions.length)
  }${extensions}`;
  const handshake = `\x01\0${u16(body.length)}${body}`;
  return latin1(`\x16\x03\x01${u16(handshake.length)}${handshake}`);
}

/** Something like a beginning, mostly damaged. */
function beginning(random: Random): Uint8Array {
  const bytes = random.pick([
    () => latin1("GET /a HTTP/1.1\r\nhost: a\r\n\r\n"),
    () => latin1(`\r\nPOST /${"p".repeat(random.int(0, 400))} HTTP/1.1\r\n`),
    () => Uint8Array.from([...PREFACE, ...random.bytes(random.int(0, 40))]),
    () => clientHello("db.example.test", random.int(0, 800)),
    () => latin1("*1\r\n$4\r\nPING\r\n"),
    () => random.bytes(random.int(1, 300)),
  ])().slice();
  for (let i = random.int(0, 3); i > 0; i--) {
    bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
  }
  return random() < 0.2 ? bytes.slice(0, random.int(1, bytes.length)) : bytes;
}

test("what a beginning is does not depend on how it is cut", () => {
  const random = seeded(fuzzSeed("detection"));
  for (let run = 0; run < RUNS; run++) {
    const bytes = beginning(random);
    if (bytes.length >= MAX_DETECT_BYTES) continue;
    const whole = detectProtocol(bytes, 0, bytes.length);
    let first: Protocol | null = null;
    for (let to = 0; to <= bytes.length && first === null; to++) {
      first = detectProtocol(bytes, 0, to);
    }
    assert.is(first, whole);
    const long = new Uint8Array(MAX_DETECT_BYTES);
    long.set(bytes);
    assert.is.not(detectProtocol(long, 0, long.length), undefined);
  }
});

test("a ClientHello is read whole or not at all, and a damaged one is no harm", () => {
  const random = seeded(fuzzSeed("ClientHello"));
  for (let run = 0; run < RUNS; run++) {
    const name = `h${"x".repeat(random.int(0, 200))}.test`;
    const hello = clientHello(name, random.int(0, 1500));
    assert.is(readClientHello(hello)?.serverName, name);
    const cut = random.int(0, hello.length - 1);
    assert.is(readClientHello(hello.subarray(0, cut)), null);
    for (let i = random.int(1, 6); i > 0; i--) {
      hello[random.int(0, hello.length - 1)] = random.int(0, 255);
    }
    const read = readClientHello(hello);
    assert.ok((read?.serverName?.length ?? 0) <= hello.length);
  }
});

/** Takes everything, and says so when it is over. */
function recorder(heard: { bytes: number[]; ends: number }): Served {
  return {
    onGone: null,
    opened: () => {},
    feed: (_ch, buf, from, to) => {
      heard.bytes.push(...buf.subarray(from, to));
      return to - from;
    },
    writable: () => {},
    ended: () => void heard.ends++,
    closed() {
      this.onGone?.();
    },
  };
}

test("whatever comes, late or early, in whatever pieces, reaches one core, whole", async () => {
  const random = seeded(fuzzSeed("detecting cores"));
  for (let run = 0; run < RUNS / 3; run++) {
    const driver = new MemoryDriver();
    const bytes = beginning(random);
    const heard = { bytes: [] as number[], ends: 0 };
    let gone = 0;
    let served = 0;
    let begun = 0;
    let ended = 0;
    const serve = () => {
      served++;
      return recorder(heard);
    };
    /** An upstream that was opened early, speaks, fails, or is silent. */
    const early = (): EarlyForward | null => {
      if (random() < 0.3) return null;
      const does = random.pick(["speaks", "is lost", "is silent"] as const);
      begun++;
      let over = false;
      const end = () => {
        assert.not(over, `run ${run}: ended twice`);
        over = true;
        ended++;
      };
      return {
        ...recorder(heard),
        beginEarly(_near, spoke, lost) {
          if (does === "is silent") return;
          queueMicrotask(() => {
            if (over) return;
            if (does === "is lost") end();
            (does === "speaks" ? spoke : lost)();
          });
        },
        release: end,
        discard: end,
      };
    };
    const client = driver.accept(() => {
      const core = random() < 0.3
        ? new AwaitHello(driver, random.int(1, 200), serve)
        : new Detect(driver, {
          detectMs: random.int(20, 200),
          earlyMs: 20,
          silentMs: random.pick([0, 0, 30]),
          early,
          serve: (_found, open) => {
            if (open === null) return serve();
            served++;
            return open;
          },
          detected: () => {},
        });
      core.onGone = () => gone++;
      return core;
    });
    for (const piece of random.pieces(bytes, random.pick([1, 7, 2000]))) {
      if (random() < 0.1) driver.advance(random.int(1, 100));
      driver.feed(client, piece);
      if (random() < 0.1) await turn();
    }
    const ends = random() < 0.5;
    if (ends) driver.end(client);
    driver.advance(400);
    await turn();
    assert.is(served, 1, `run ${run}`);
    assert.equal(heard.bytes, [...bytes], `run ${run}`);
    if (ends) assert.ok(heard.ends >= 1, `run ${run}: the end was not passed on`);
    assert.is(ended, begun, `run ${run}: an early upstream was left`);
    assert.is(gone, 0);
    driver.fail(client, { kind: "reset", message: "ECONNRESET" });
    assert.is(gone, 1, `run ${run}`);
    assert.is(driver.timers.armed, 0);
  }
});

test.run();
