// What every source of objects must do, shown of both: the folder and the API server.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { createLogger } from "../../../src/core/log.ts";
import { Cluster } from "../../../src/control/cluster.ts";
import { Counters } from "../../../src/control/counters.ts";
import type { Feed } from "../../../src/control/feed.ts";
import { FolderSource } from "../../../src/control/files/folder-source.ts";
import { apiKind, apiVersion, kindPath } from "../../../src/control/k8s/kinds.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { MemoryFiles } from "../support/memory-files.ts";
import { service, startKube, until } from "./fixture.ts";

interface TestObject {
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** A source under test: objects are written where it reads them. */
interface Bench {
  readonly cluster: Cluster;
  readonly counters: Counters;
  readonly source: Feed;
  set(kind: string, object: TestObject): void;
  remove(kind: string, namespace: string, name: string): void;
  /** Lets it read until this holds. */
  until(holds: () => boolean, what: string): Promise<void>;
  close(): Promise<void>;
}

function folder(): Promise<Bench> {
  const files = new MemoryFiles();
  files.write("empty.yaml", "# nothing\n");
  const clock = new FakeClock();
  const cluster = new Cluster();
  const counters = new Counters();
  const source = new FolderSource({
    folder: "/mesh",
    files,
    cluster,
    clock,
    counters,
    log: createLogger({ level: "off", format: "plain", wall: () => 0, write: () => {} }),
    onProblems: () => {},
  });
  const path = (kind: string, namespace: string, name: string) =>
    `${kind.replaceAll("/", "_")}.${namespace}.${name}.yaml`;
  return Promise.resolve({
    cluster,
    counters,
    source,
    set(name, object) {
      const kind = apiKind(name);
      const whole = { apiVersion: apiVersion(kind), kind: kind.kind, ...object };
      const { namespace = "", name: called } = object.metadata;
      files.write(path(name, namespace, called), JSON.stringify(whole));
    },
    remove: (kind, namespace, name) => files.remove(path(kind, namespace, name)),
    async until(holds, what) {
      for (let i = 0; i < 100 && !holds(); i++) {
        clock.advance(50);
        for (let j = 0; j < 100; j++) await Promise.resolve();
      }
      assert.ok(holds(), what);
    },
    close: () => Promise.resolve(source.close()),
  });
}

async function kubernetes(): Promise<Bench> {
  const t = await startKube();
  return {
    ...t,
    set: (kind, object) => t.server.put(kindPath(apiKind(kind)), { ...object }),
    remove: (kind, namespace, name) => t.server.delete(kindPath(apiKind(kind)), namespace, name),
    until: (holds, what) => until(holds, what),
  };
}

for (const [name, open] of [["the folder", folder], ["the API server", kubernetes]] as const) {
  const check = (what: string, body: (bench: Bench) => Promise<void>) =>
    test(`${name}: ${what}`, async () => {
      const bench = await open();
      try {
        await body(bench);
      } finally {
        await bench.close();
      }
    });
  const names = (b: Bench) => [...b.cluster.services.rows.keys()].sort();
  const portOf = (b: Bench, key: string) => b.cluster.services.get(key)?.ports[0]?.port;

  check("all that is there is known when start() resolves, of every kind", async (b) => {
    b.set("/Service", service("a"));
    b.set("/Service", service("b"));
    b.set("/Namespace", { metadata: { name: "shop" } });
    const spec = { podSelector: {}, port: 80 };
    b.set("policy.linkerd.io/Server", { metadata: { name: "s", namespace: "shop" }, ...{ spec } });
    await b.source.start();
    assert.equal(names(b), ["shop/a", "shop/b"]);
    assert.equal([...b.cluster.namespaces.rows.keys()], ["/shop"]);
    assert.equal([...b.cluster.servers.rows.keys()], ["shop/s"]);
    assert.equal(b.source.problems, []);
  });

  check("what is added, changed and removed is followed", async (b) => {
    b.set("/Service", service("a"));
    await b.source.start();
    b.set("/Service", service("b", 81));
    await b.until(() => names(b).length === 2, "the new one is known");
    b.set("/Service", service("b", 82));
    await b.until(() => portOf(b, "shop/b") === 82, "the change is known");
    b.remove("/Service", "shop", "a");
    await b.until(() => names(b).length === 1, "the old one is gone");
    assert.equal(names(b), ["shop/b"]);
  });

  check("a bad object is said, keeps its last good version, and the rest is served", async (b) => {
    b.set("/Service", service("a", 1));
    b.set("/Service", service("never", "web site"));
    b.set("/Service", service("z", 2));
    await b.source.start();
    assert.equal(names(b), ["shop/a", "shop/z"]);
    assert.is(b.source.problems.length, 1);
    assert.match(
      b.source.problems[0]?.source + " " + b.source.problems[0]?.message,
      /Service shop\/never.*spec\.ports\[0\]\.port: is "web site"/,
    );
    b.set("/Service", service("a", "bad port"));
    await b.until(() => b.source.problems.length === 2, "the second is said");
    assert.is(portOf(b, "shop/a"), 1);
    assert.ok(
      b.source.problems.some((p) => /the version before it stays in force/.test(p.message)),
    );
    assert.is(b.counters.refusals["resource"], 2);
    b.set("/Service", service("a", 3));
    b.remove("/Service", "shop", "never");
    await b.until(() => b.source.problems.length === 0, "nothing is wrong any more");
    assert.is(portOf(b, "shop/a"), 3);
  });

  check(
    "a batch that nothing changed in tells nobody, and nothing comes after close()",
    async (b) => {
      b.set("/Service", service("a"));
      await b.source.start();
      const told: string[][] = [];
      b.cluster.subscribe((dirty) => told.push([...dirty]));
      b.set("/Service", service("a"));
      b.set("/Service", service("b"));
      await b.until(() => names(b).length === 2, "the new one is known");
      assert.equal(told, [["shop"]]);
      b.source.close();
      b.set("/Service", service("c"));
      await new Promise((again) => setTimeout(again, 20));
      assert.equal(names(b), ["shop/a", "shop/b"]);
    },
  );
}

test("every kind that has a table has a place in the API", () => {
  for (const name of new Cluster().kinds) assert.ok(kindPath(apiKind(name)).startsWith("/api"));
});

test.run();
