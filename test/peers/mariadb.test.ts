// MariaDB, whose server speaks first, in binary: its handshake reaches a client that waits for it with
// no stall on any way, and large results and many sessions pass unchanged.

import { createHash } from "node:crypto";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { freePort } from "../support/free-port.ts";
import { testUnless } from "../support/skip.ts";
import { talk } from "./support/clients.ts";
import { ownFolder, programsMissing, run, type Server, startServer } from "./support/programs.ts";
import { type Way, type Ways, waysTo } from "./support/ways.ts";

const MISSING = programsMissing("mariadbd", "mariadb", "mariadb-install-db", "mariadb-slap");
const TO = ["--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "-u", "root"];

async function answer(port: number, query: string): Promise<string> {
  const args = [...TO, "-P", String(port), "-N", "-B", "-e", query, "mysql"];
  const { status, out, errors } = await run("mariadb", args);
  assert.is(status, 0, errors);
  return String(out).trimEnd();
}

async function startMariadb(port: number): Promise<Server> {
  const dir = await ownFolder();
  const data = join(dir, "data");
  const made = await run("mariadb-install-db", [
    ...["--no-defaults", `--datadir=${data}`, "--auth-root-authentication-method=normal"],
    ...["--skip-test-db", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M"],
  ], { cwd: dir });
  assert.is(made.status, 0, `${made.errors}${made.out}`);
  const args = [
    ...["--no-defaults", `--datadir=${data}`, `--socket=${join(dir, "socket")}`],
    ...[`--pid-file=${join(dir, "pid")}`, "--bind-address=127.0.0.1", `--port=${port}`],
    ...["--skip-name-resolve", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M"],
    "--innodb-flush-log-at-trx-commit=0",
  ];
  return await startServer(dir, "mariadbd", args, async () => {
    assert.is(await answer(port, "SELECT 1"), "1");
  });
}

let server: Server | null = null;
let ways: Ways | null = null;
if (MISSING === null) {
  const port = await freePort();
  server = await startMariadb(port);
  ways = await waysTo(port);
}
test.after(async () => {
  await ways?.close();
  await server?.end();
});

/** The server spoke first each time, and nobody waited for a client's bytes. */
function checkDetections(way: Way): void {
  const found = way.detections();
  if (way.detects === null) return assert.equal(found, {});
  assert.equal(Object.keys(found), ["server_first"]);
  assert.is(way.detectedWithin(5), found["server_first"]);
}

for (const way of ways?.all ?? [{ name: "both meshed" } as Way]) {
  testUnless(MISSING, test, `${way.name}: the handshake is heard by a silent client`, async () => {
    const client = await talk(way.port);
    const heard = await client.until("mysql_native_password");
    assert.is(heard.charCodeAt(4), 10, "the protocol's version");
    client.socket.destroy();
    checkDetections(way);
  });

  testUnless(MISSING, test, `${way.name}: a large result comes whole`, async () => {
    const rows = "SELECT MD5(seq) AS h FROM seq_1_to_50000";
    const text = await answer(way.port, rows);
    assert.is(text.length, 33 * 50_000 - 1);
    const sum = await answer(
      way.port,
      `SET group_concat_max_len = 10000000; SELECT MD5(GROUP_CONCAT(h SEPARATOR '\\n')) FROM (${rows}) r`,
    );
    assert.is(createHash("md5").update(text).digest("hex"), sum);
    checkDetections(way);
  });

  testUnless(MISSING, test, `${way.name}: twenty sessions at once`, async () => {
    const { status, errors } = await run("mariadb-slap", [
      ...[...TO, "-P", String(way.port), "--concurrency=20", "--number-of-queries=400"],
      ...["--create-schema=slap", "--query=SELECT MD5(RAND())", "--silent"],
    ]);
    assert.is(status, 0, errors);
    checkDetections(way);
    await way.settled();
    way.check();
  });

  testUnless(
    MISSING,
    test,
    `${way.name}: a client that ends its direction ends the session`,
    async () => {
      const client = await talk(way.port);
      await client.until("mysql_native_password");
      client.socket.end();
      await client.end();
      await way.settled();
    },
  );
}

test.run();
