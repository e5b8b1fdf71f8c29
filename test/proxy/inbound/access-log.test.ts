// The access log in both formats: what is in a line, that a client cannot write one of its own, and what
// happens when nobody reads.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { NO_FILTERS } from "../../../src/core/filter.ts";
import { AccessLog } from "../../../src/proxy/inbound/access-log.ts";
import { inboundFixture, inboundSnapshot, meshedAs } from "../../support/inbound-fixture.ts";
import { MemoryDriver } from "../../support/memory-driver.ts";
import { ProxyMetrics } from "../../../src/proxy/metrics.ts";
import { route } from "../../support/outbound-fixture.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const WALL = Date.UTC(2026, 0, 2, 3, 4, 5, 600);

function setUp(format: "apache" | "json", room = () => true, client = "web.shop") {
  const driver = new MemoryDriver();
  const metrics = new ProxyMetrics();
  const written: string[] = [];
  const log = new AccessLog({
    format,
    driver,
    metrics,
    wall: () => WALL + driver.now,
    write: (text) => {
      if (!room()) return false;
      written.push(text);
      return true;
    },
  });
  const f = inboundFixture(inboundSnapshot([{ route: route(), chain: NO_FILTERS }]), {
    driver,
    metrics,
    accessLog: log,
  });
  const peer = driver.accept(f.inbound.accept, {
    local: { ip: "127.77.0.9", port: 4143 },
    remote: { ip: "127.77.0.2", port: 50001 },
    tls: meshedAs(client),
  });
  const ask = (request: string, answer = OK) => {
    const n = driver.connects.length;
    driver.feed(peer, request);
    const app = driver.connects.at(-1);
    if (app === undefined) return;
    if (driver.connects.length > n) driver.open(app);
    driver.advance(3);
    driver.feed(app, answer);
  };
  return { driver, metrics, log, written, ask };
}

test("apache is a line in the common format, written together with others after a while", () => {
  const s = setUp("apache");
  s.ask("GET /a?b=1 HTTP/1.1\r\nhost: web\r\n\r\n");
  s.ask("GET /b HTTP/1.1\r\nhost: web\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n");
  assert.equal(s.written, []);
  s.driver.advance(200);
  assert.equal(s.written.join("").split("\n"), [
    '127.77.0.2:50001 web.shop - [2026-01-02T03:04:05.600Z] "GET /a?b=1 HTTP/1.1" 200 2',
    '127.77.0.2:50001 web.shop - [2026-01-02T03:04:05.603Z] "GET /b HTTP/1.1" 204 0',
    "",
  ]);
  assert.is(s.written.length, 1);
});

test("json has Linkerd's fields", () => {
  const s = setUp("json");
  s.ask(
    "POST /a HTTP/1.1\r\nhost: web:80\r\ncontent-length: 3\r\nuser-agent: curl/8\r\nx-request-id: r1\r\n\r\nabc",
  );
  s.driver.advance(200);
  assert.equal(JSON.parse(s.written.join("")), {
    "client.addr": "127.77.0.2:50001",
    "client.id": "web.shop",
    host: "web:80",
    method: "POST",
    processing_ns: "3000000",
    request_bytes: "3",
    response_bytes: "2",
    status: 200,
    timestamp: "2026-01-02T03:04:05.600Z",
    total_ns: "3000000",
    trace_id: "r1",
    uri: "/a",
    user_agent: "curl/8",
    version: "HTTP/1.1",
  });
});

test("what a client says neither ends a field nor a line", () => {
  const apache = setUp("apache");
  apache.ask('GET /"x\\y HTTP/1.1\r\nhost: web\r\n\r\n');
  apache.log.flush();
  assert.match(apache.written.join(""), /"GET \/\\"x\\\\y HTTP\/1\.1" 200 2\n$/);
  const json = setUp("json");
  json.ask('GET /"x HTTP/1.1\r\nhost: web\r\nuser-agent: a"\tb\u00ff\r\n\r\n');
  json.log.flush();
  assert.is(json.written.join("").split("\n").length, 2);
  assert.is(JSON.parse(json.written.join("")).user_agent, 'a"\tb\u00ff');
});

test("a request that was refused here is in it too", () => {
  const s = setUp("apache", () => true, "vote.shop");
  s.ask("GET / HTTP/1.1\r\nhost: web\r\n\r\n");
  s.log.flush();
  assert.match(
    s.written.join(""),
    /^127\.77\.0\.2:50001 vote\.shop - .* "GET \/ HTTP\/1\.1" 403 -\n$/,
  );
});

test("lines that nobody takes are dropped and counted; a full chunk is written at once", () => {
  let room = false;
  const s = setUp("apache", () => room);
  for (let i = 0; i < 5; i++) s.ask("GET / HTTP/1.1\r\nhost: web\r\n\r\n");
  s.driver.advance(200);
  const { sheet, accessLogDropped } = s.metrics;
  assert.is(sheet.cells[sheet.cell(accessLogDropped, {})], 5);
  room = true;
  for (let i = 0; i < 250; i++) s.ask("GET / HTTP/1.1\r\nhost: web\r\n\r\n");
  assert.ok(s.written.length >= 1, "more than 16 Ki characters came");
});

test.run();
