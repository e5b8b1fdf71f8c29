// HTTP/1 through one proxy, inbound, and through two with mutual TLS between: client and application see
// each other's messages as if nobody were between.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../mesh/support/waiting.ts";
import { type App, exchange, raw, serveTcp, type Way } from "./support/apps.ts";
import { add } from "./support/messages.ts";
import { startProxy, type TestProxy } from "./support/proxy.ts";
import { World } from "./support/world.ts";

const HOST = "transparency.test.svc.cluster.local";

let world: World;
let inbound: TestProxy;
test.before(async () => {
  world = await World.start(128);
  inbound = await startProxy(world.control, { ip: `${world.net}.3`, name: "app" });
  world.onEnd(() => inbound.end());
});
test.after(() => world?.end());

/** The way to an application. */
interface Path {
  readonly says: string;
  to(app: App): Way;
}

const PATHS: readonly Path[] = [{
  says: "one proxy",
  to(app) {
    inbound.inbound = app.at;
    return inbound.inboundAt;
  },
}, {
  says: "two proxies",
  to(app) {
    const service = world.service("transparent");
    const { identity, ip } = inbound;
    world.control.get.at(service.path).set(
      add([[app.at, { identity, hint: "h2", inboundPort: 4143 }]]),
    );
    // The other proxy is reached at its own port.
    inbound.inbound = null;
    assert.ok(app.at.startsWith(ip));
    world.proxy.outbound = service.clusterAddr;
    return world.proxy.outboundAt;
  },
}];

/** An application of bytes that answers each whole head with `answer`, and remembers what came. */
async function answering(answer: string | ((head: string) => string), closes = false) {
  const heads: string[] = [];
  const app = await serveTcp(inbound.ip, (socket) => {
    let got = "";
    socket.setEncoding("latin1").on("data", (piece: string) => {
      got += piece;
      for (let end = got.indexOf("\r\n\r\n"); end >= 0; end = got.indexOf("\r\n\r\n")) {
        const head = got.slice(0, end + 4);
        const body = bodyOf(head, got.slice(end + 4));
        if (body === null) return;
        heads.push(head + body);
        got = got.slice(end + 4 + body.length);
        socket.write(typeof answer === "string" ? answer : answer(head), "latin1");
        if (closes) socket.end();
      }
    });
    socket.on("end", () => socket.end());
  });
  world.onEnd(() => app.close());
  return { app, heads };
}

/** As much of a body as belongs to a head; null: not all is there. */
function bodyOf(head: string, rest: string): string | null {
  const length = Number(/^content-length: (\d+)\r$/im.exec(head)?.[1] ?? 0);
  if (/^transfer-encoding: chunked\r$/im.test(head)) {
    const end = rest.indexOf("0\r\n\r\n");
    return end < 0 ? null : rest.slice(0, end + 5);
  }
  return rest.length < length ? null : rest.slice(0, length);
}

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhello h1";
const EMPTY = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const request = (line: string, ...fields: readonly string[]) =>
  [`${line} HTTP/1.1`, `host: ${HOST}`, ...fields, "", ""].join("\r\n");
const has = (head: string, name: string) => new RegExp(`^${name}:`, "im").test(head);

for (const { says, to } of PATHS) {
  test(`${says}: a request reaches the application, and its answer the client`, async () => {
    const { app } = await answering(OK);
    assert.match(
      await exchange(to(app), request("GET /"), /hello h1$/),
      /^HTTP\/1\.1 200 OK\r\n/,
    );
  });

  test(`${says}: what Connection names, and other headers of one hop, are taken out`, async () => {
    const { app, heads } = await answering(
      "HTTP/1.1 200 OK\r\nx-server-quux: lorem\r\nconnection: close, x-server-quux\r\n" +
        "keep-alive: 500\r\nproxy-connection: a\r\ncontent-length: 2\r\n\r\nok",
      true,
    );
    const fields = ["x-foo-bar: baz", "connection: x-foo-bar, close", "keep-alive: 500"];
    const answer = await exchange(
      to(app),
      request("GET /", ...fields, "proxy-connection: a"),
      /ok$/,
    );
    assert.match(answer, /^HTTP\/1\.1 200 /);
    for (const name of ["x-server-quux", "keep-alive", "proxy-connection"]) {
      assert.not.ok(has(answer, name), name);
    }
    for (const name of ["x-foo-bar", "keep-alive", "proxy-connection"]) {
      assert.not.ok(has(heads[0] ?? "", name), name);
    }
  });

  test(`${says}: HTTP/1.0 stays HTTP/1.0 in both directions`, async () => {
    const { app, heads } = await answering("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", true);
    const answer = await exchange(to(app), `GET / HTTP/1.0\r\nhost: ${HOST}\r\n\r\n`, /ok$/);
    assert.match(answer, /^HTTP\/1\.0 200 OK\r\n/);
    assert.match(heads[0] ?? "", /^GET \/ HTTP\/1\.0\r\n/);
    assert.match(heads[0] ?? "", new RegExp(`^host: ${HOST}\r$`, "im"));
  });

  test(`${says}: a whole URL is passed on as it is, and Host is made to agree with it`, async () => {
    const { app, heads } = await answering(EMPTY);
    const text = `GET http://${HOST}/ HTTP/1.1\r\nhost: foo.bar\r\n\r\n`;
    assert.match(await exchange(to(app), text, /\r\n\r\n$/), /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(heads[0] ?? "", new RegExp(`^GET http://${HOST}/ HTTP/1.1\r\n`));
    // One reading only (RFC 9112, 3.2.2), where Linkerd leaves both.
    assert.match(heads[0] ?? "", new RegExp(`^host: ${HOST}\r$`, "im"));
  });

  test(`${says}: an upgrade becomes a connection of its protocol`, async () => {
    const { app, heads } = await upgrading(
      "HTTP/1.1 101 Switching Protocols\r\nupgrade: chatproto\r\nconnection: upgrade\r\n\r\n",
    );
    const one = raw(to(app), request("GET /chat", "connection: upgrade", "upgrade: chatproto"));
    const head = await one.saw(/\r\n\r\n/);
    assert.match(head, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
    assert.match(head, /^upgrade: chatproto\r$/im);
    assert.match(heads[0] ?? "", /^upgrade: chatproto\r$/im);
    one.socket.write("hi all\n");
    await one.saw(/welcome: hi all\n$/);
    one.socket.destroy();
  });

  test(`${says}: l5d-orig-proto is seen by nobody`, async () => {
    const { app, heads } = await answering(EMPTY);
    const answer = await exchange(to(app), request("GET /"), /\r\n\r\n$/);
    assert.not.ok(has(answer, "l5d-orig-proto"));
    assert.not.ok(has(heads[0] ?? "", "l5d-orig-proto"));
  });

  test(`${says}: an upgrade to h2c is taken out of the request`, async () => {
    const { app, heads } = await answering(EMPTY);
    const fields = ["upgrade: h2c", "http2-settings: ", "connection: upgrade, http2-settings"];
    assert.match(
      await exchange(to(app), request("GET /", ...fields), /\r\n\r\n$/),
      /^HTTP\/1\.1 200 /,
    );
    for (const name of ["upgrade", "http2-settings"]) {
      assert.not.ok(has(heads[0] ?? "", name), name);
    }
    assert.not.match(heads[0] ?? "", /^connection: .*upgrade/im);
  });

  for (const length of ["", "content-length: 0\r\n"]) {
    test(`${says}: CONNECT becomes a tunnel${length === "" ? "" : ", and the answer's length is taken out"}`, async () => {
      const { app, heads } = await upgrading(`HTTP/1.1 200 OK\r\n${length}\r\n`);
      const one = raw(to(app), `CONNECT ${HOST} HTTP/1.1\r\nhost: ${HOST}\r\n\r\n`);
      const head = await one.saw(/\r\n\r\n/);
      assert.match(head, /^HTTP\/1\.1 200 OK\r\n/);
      assert.not.ok(has(head, "content-length"));
      assert.match(heads[0] ?? "", new RegExp(`^CONNECT ${HOST}(:80)? HTTP/1\\.1\r\n`));
      one.socket.write("hi all\n");
      await one.saw(/welcome: hi all\n$/);
      one.socket.destroy();
    });
  }

  test(`${says}: CONNECT to what is no authority, and a request without a path, are 400`, async () => {
    const { app, heads } = await answering(OK);
    const way = to(app);
    for (const target of ["/origin-form", "/", "http://test/bar", "http://test", "*"]) {
      const answer = await exchange(
        way,
        `CONNECT ${target} HTTP/1.1\r\nhost: test\r\n\r\n`,
        /\r\n\r\n/,
      );
      assert.match(answer, /^HTTP\/1\.1 400 /, target);
    }
    const bare = await exchange(way, "GET test HTTP/1.1\r\nhost: test\r\n\r\n", /\r\n\r\n/);
    assert.match(bare, /^HTTP\/1\.1 400 /);
    const old = await exchange(way, "CONNECT test HTTP/1.0\r\nhost: test\r\n\r\n", /\r\n\r\n/);
    assert.match(old, /^HTTP\/1\.[01] 400 /);
    assert.equal(heads, []);
  });

  test(`${says}: a body with a length keeps it`, async () => {
    const { app, heads } = await answering(EMPTY);
    await exchange(to(app), request("POST /", "content-length: 5") + "hello", /\r\n\r\n$/);
    assert.match(heads[0] ?? "", /^content-length: 5\r$/im);
    assert.match(heads[0] ?? "", /\r\n\r\nhello$/);
  });

  test(`${says}: bodies in chunks stay in chunks, in both directions`, async () => {
    const chunked = "5\r\nhello\r\n0\r\n\r\n";
    const { app, heads } = await answering(
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\n\r\n",
    );
    const text = request("POST /", "transfer-encoding: chunked") + chunked;
    const answer = await exchange(to(app), text, /0\r\n\r\n$/);
    assert.match(answer, /^transfer-encoding: chunked\r$/im);
    assert.match(answer, /world/);
    assert.match(heads[0] ?? "", /^transfer-encoding: chunked\r$/im);
    assert.match(heads[0] ?? "", /hello/);
  });

  for (const method of ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"]) {
    test(`${says}: ${method} without a body gets no framing, and a length of 0 is kept`, async () => {
      const { app, heads } = await answering(EMPTY);
      const way = to(app);
      const none = await exchange(way, request(`${method} /`), /\r\n\r\n$/);
      assert.not.ok(has(heads[0] ?? "", "transfer-encoding"));
      assert.match(none, /^content-length: 0\r$/im);
      await exchange(way, request(`${method} /`, "content-length: 0"), /\r\n\r\n$/);
      assert.match(heads[1] ?? "", /^content-length: 0\r$/im);
    });
  }

  test(`${says}: HEAD, 204 and 304 have no body and no framing of their own`, async () => {
    const { app } = await answering((head) => {
      const status = /x-status: (\d+)/.exec(head)?.[1] ?? "200";
      return `HTTP/1.1 ${status} Whatever\r\nx-seen: yes\r\n\r\n`;
    });
    const way = to(app);
    const head = await exchange(way, request("HEAD /"), /\r\n\r\n$/);
    assert.match(head, /^HTTP\/1\.1 200 /);
    assert.not.ok(has(head, "transfer-encoding"));
    for (const status of ["204", "304"]) {
      const answer = await exchange(way, request("GET /", `x-status: ${status}`), /\r\n\r\n$/);
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
      assert.not.ok(has(answer, "transfer-encoding"));
    }
  });

  test(`${says}: the length of an answer to HEAD is kept, without a body`, async () => {
    const { app } = await answering("HTTP/1.1 200 OK\r\ncontent-length: 55\r\n\r\n");
    const one = raw(to(app), request("HEAD /") + request("HEAD /"));
    // The second answer comes right after the first head.
    const twice = await one.saw(/200 OK[^]*\r\n\r\n[^]*200 OK[^]*\r\n\r\n$/);
    one.socket.destroy();
    assert.is(twice.match(/^content-length: 55\r$/gim)?.length, 2);
  });

  for (const version of ["1.0", "1.1"]) {
    test(`${says}: a body of HTTP/${version} that ends with its connection comes whole`, async () => {
      const { app } = await answering(`HTTP/${version} 200 OK\r\n\r\nbody till eof`, true);
      const one = raw(to(app), request("GET /"));
      const answer = await one.saw(/body till eof/);
      assert.not.ok(has(answer, "content-length"));
      // Told by its own end: chunks, or that of the connection.
      if (has(answer, "transfer-encoding")) await one.saw(/0\r\n\r\n$/);
      else await one.ended();
      one.socket.destroy();
    });
  }
}

/** Answers one head, then says welcome to whatever comes. */
async function upgrading(answer: string) {
  const heads: string[] = [];
  const app = await serveTcp(inbound.ip, (socket) => {
    socket.setEncoding("latin1").on("data", (piece: string) => {
      if (heads.length === 0) {
        heads.push(piece);
        socket.write(answer, "latin1");
      } else socket.write(`welcome: ${piece}`, "latin1");
    });
    socket.on("end", () => socket.end());
  });
  world.onEnd(() => app.close());
  return { app, heads };
}

test("two proxies: an application that cannot be reached is 502 of HTTP/1, not a broken connection", async () => {
  const { app } = await answering(OK);
  await app.close();
  const way = PATHS[1]!.to(app);
  const one = raw(way, request("GET /"));
  assert.match(await one.saw(/\r\n\r\n/), /^HTTP\/1\.1 50[24] /);
  one.socket.destroy();
});

test("one proxy: HTTP/1.0 without Host is served as it is", async () => {
  const { app, heads } = await answering("HTTP/1.0 200 OK\r\n\r\n", true);
  const answer = await exchange(PATHS[0]!.to(app), "GET / HTTP/1.0\r\n\r\n", /\r\n\r\n$/);
  assert.match(answer, /^HTTP\/1\.0 200 OK\r\n/);
  assert.match(heads[0] ?? "", /^GET \/ HTTP\/1\.0\r\n/);
  assert.not.ok(has(heads[0] ?? "", "host"));
});

test("one proxy: requests of one host share a connection to the application", async () => {
  const { app } = await answering(OK);
  const one = raw(PATHS[0]!.to(app), request("GET /1"));
  await one.saw(/hello h1$/);
  one.socket.write(request("GET /2"));
  await eventually("the second answer", () => {
    assert.is(one.text().match(/hello h1/g)?.length, 2);
  });
  one.socket.destroy();
  assert.is(app.connections, 1);
});

test.run();
