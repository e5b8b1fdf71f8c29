// PostgreSQL, whose client speaks first and asks for TLS in bytes of its own: the SSLRequest, the TLS
// inside it, large results and many sessions pass unchanged on every way.

import { writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { material } from "../support/driver-fixture.ts";
import { freePort } from "../support/free-port.ts";
import { testUnless } from "../support/skip.ts";
import { createTestCa } from "../support/test-ca.ts";
import { talk } from "./support/clients.ts";
import {
  own,
  ownFolder,
  programsMissing,
  type Ran,
  run,
  type Server,
  startServer,
} from "./support/programs.ts";
import { type Way, type Ways, waysTo } from "./support/ways.ts";

const MISSING = programsMissing("postgres", "initdb", "psql", "pgbench");

/** A query, with the answer as bare text. */
function psql(port: number, sslmode: string, query: string): Promise<Ran> {
  const to = `host=127.0.0.1 port=${port} user=tulle dbname=postgres sslmode=${sslmode}`;
  return run("psql", ["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", query, to]);
}

async function answer(port: number, sslmode: string, query: string): Promise<string> {
  const { status, out, errors } = await psql(port, sslmode, query);
  assert.is(status, 0, errors);
  return String(out).trimEnd();
}

async function startPostgres(port: number): Promise<Server> {
  const dir = await ownFolder();
  const data = join(dir, "data");
  const made = await run("initdb", [
    ...["-D", data, "-U", "tulle", "-A", "trust", "--locale=C", "-E", "UTF8", "--no-sync"],
  ], { cwd: dir });
  assert.is(made.status, 0, made.errors);
  const { keyPem, certPem } = await material(await createTestCa(), "postgres.test");
  for (const [name, text] of [["server.key", keyPem], ["server.crt", certPem]] as const) {
    await writeFile(join(data, name), text);
    await own(join(data, name));
  }
  const settings = [
    ...["listen_addresses=127.0.0.1", `port=${port}`, "unix_socket_directories=", "ssl=on"],
    ...["fsync=off", "shared_buffers=16MB", "max_connections=60"],
  ];
  const args = ["-D", data, ...settings.flatMap((s) => ["-c", s])];
  return await startServer(dir, "postgres", args, async () => {
    assert.is(await answer(port, "disable", "SELECT 1"), "1");
  });
}

let server: Server | null = null;
let ways: Ways | null = null;
if (MISSING === null) {
  const port = await freePort();
  server = await startPostgres(port);
  ways = await waysTo(port);
  const filled = await run("pgbench", [
    ...["-i", "-q", "-h", "127.0.0.1", "-p", String(port), "-U", "tulle", "postgres"],
  ]);
  assert.is(filled.status, 0, filled.errors);
}
test.after(async () => {
  await ways?.close();
  await server?.end();
});

function checkDetections(way: Way): void {
  const found = way.detections();
  if (way.detects === null) return assert.equal(found, {});
  assert.equal(Object.keys(found), ["not_http"]);
  assert.is(way.detectedWithin(5), found["not_http"]);
}

const TLS = "SELECT ssl, coalesce(version, '') FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

for (const way of ways?.all ?? [{ name: "both meshed" } as Way]) {
  testUnless(MISSING, test, `${way.name}: psql asks for TLS, or does not, and has it`, async () => {
    assert.is(await answer(way.port, "prefer", TLS), "t|TLSv1.3");
    assert.is(await answer(way.port, "require", TLS), "t|TLSv1.3");
    assert.is(await answer(way.port, "disable", TLS), "f|");
    checkDetections(way);
  });

  testUnless(MISSING, test, `${way.name}: a large result comes whole`, async () => {
    const rows = "SELECT md5(i::text) FROM generate_series(1, 100000) i";
    for (const sslmode of ["prefer", "disable"]) {
      const text = await answer(way.port, sslmode, rows);
      assert.is(text.length, 33 * 100_000 - 1);
      const sum = await answer(
        way.port,
        sslmode,
        `SELECT md5(string_agg(md5, E'\\n')) FROM (${rows}) r`,
      );
      assert.is(createHash("md5").update(text).digest("hex"), sum);
    }
    checkDetections(way);
  });

  testUnless(
    MISSING,
    test,
    `${way.name}: an error reaches psql, and cancels nothing else`,
    async () => {
      const { status, errors } = await psql(way.port, "prefer", "SELECT nothing");
      assert.is(status, 1);
      assert.match(errors, /column "nothing" does not exist/);
    },
  );

  testUnless(
    MISSING,
    test,
    `${way.name}: ten sessions at once, and new ones for each`,
    async () => {
      const common = ["-h", "127.0.0.1", "-p", String(way.port), "-U", "tulle", "-n", "postgres"];
      for (const more of [["-c", "10", "-t", "20"], ["-c", "5", "-t", "5", "-C"]]) {
        const { status, out, errors } = await run("pgbench", [...more, ...common]);
        assert.is(status, 0, errors);
        const [clients, each] = [Number(more[1]), Number(more[3])];
        const done = clients * each;
        assert.match(String(out), `actually processed: ${done}/${done}`);
      }
      checkDetections(way);
      await way.settled();
      way.check();
    },
  );

  testUnless(
    MISSING,
    test,
    `${way.name}: a client that ends its direction is answered`,
    async () => {
      const client = await talk(way.port);
      // SSLRequest; the answer is one byte, "S". Then the client has nothing more to say.
      client.socket.end(Uint8Array.of(0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f));
      assert.is((await client.end()).slice(0, 1), "S");
      await way.settled();
    },
  );
}

test.run();
