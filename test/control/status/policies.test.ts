import { test } from "uvu";
import * as assert from "uvu/assert";
import { Cluster } from "../../../src/control/cluster.ts";
import { DEFAULT_OPTIONS } from "../../../src/control/options.ts";
import { readResource } from "../../../src/control/resource.ts";
import { statusEntries } from "../../../src/control/status/entries.ts";
import { overlap } from "../../../src/control/status/overlap.ts";

const { clusterNetworks } = DEFAULT_OPTIONS;

function cluster(...objects: [kind: string, name: string, created: number, spec: unknown][]) {
  const made = new Cluster();
  for (const [kind, name, created, spec] of objects) {
    const metadata = {
      ...{ name, namespace: "shop" },
      creationTimestamp: new Date(created * 1000).toISOString(),
    };
    made.apply(readResource({ apiVersion: "policy.linkerd.io/v1", kind, metadata, spec }, ""));
  }
  return made;
}

/** Name, and what its first condition says. */
function said(of: Cluster) {
  return Object.fromEntries(
    statusEntries({ cluster: of, filters: [], clusterNetworks }).map(({ name, status }) => {
      const [condition] = "conditions" in status ? status.conditions : [];
      return [name, `${condition?.status} ${condition?.reason}: ${condition?.message}`];
    }),
  );
}

const SERVER = { podSelector: {}, port: 8080 };
const limit = (name: string) => ({
  targetRef: { group: "policy.linkerd.io", kind: "Server", name },
  total: { requestsPerSecond: 5 },
});

test("a rate limit is in force if its Server is there and none is older", () => {
  const entries = cluster(
    ["Server", "web", 0, SERVER],
    ["HTTPLocalRateLimitPolicy", "second", 20, limit("web")],
    ["HTTPLocalRateLimitPolicy", "first", 10, limit("web")],
    ["HTTPLocalRateLimitPolicy", "lost", 5, limit("nobody")],
  );
  assert.equal(said(entries), {
    first: "True Accepted: ",
    second: "False RateLimitReasonAlreadyExists: first is older",
    lost: "False NoMatchingTarget: ",
  });
  const all = statusEntries({ cluster: entries, filters: [], clusterNetworks });
  assert.equal(all.find((e) => e.name === "lost")?.status, {
    conditions: [{ type: "Accepted", status: "False", reason: "NoMatchingTarget", message: "" }],
    targetRef: { group: "policy.linkerd.io", kind: "Server", name: "nobody" },
  });
});

test("an egress network is in force unless it has an address of the cluster", () => {
  const network = (...networks: { cidr: string; except?: string[] }[]) => ({
    trafficPolicy: "Allow",
    ...(networks.length === 0 ? {} : { networks }),
  });
  const ipv4 = clusterNetworks.filter((c) => !c.includes(":"));
  const inside = "False EgressReasonNetworkOverlap: networks overlap with clusterNetworks";
  assert.equal(
    said(cluster(
      ["EgressNetwork", "everything", 0, network()],
      ["EgressNetwork", "outside", 0, network({ cidr: "203.0.113.0/24" })],
      ["EgressNetwork", "inside", 0, network({ cidr: "1.0.0.0/8" }, { cidr: "10.1.0.0/16" })],
      ["EgressNetwork", "around", 0, network({ cidr: "0.0.0.0/0" })],
      ["EgressNetwork", "without", 0, network({ cidr: "0.0.0.0/0", except: ipv4 })],
    )),
    {
      ...{ everything: "True Accepted: ", outside: "True Accepted: " },
      ...{ inside, around: inside },
      without: "True Accepted: ",
    },
  );
});

test("networks overlap if they share an address that is not left out", () => {
  const cases: [cidr: string, except: string[], other: string, shared: boolean][] = [
    ["10.0.0.0/8", [], "10.2.0.0/16", true],
    ["10.2.0.0/16", [], "10.0.0.0/8", true],
    ["10.2.0.0/16", [], "10.3.0.0/16", false],
    ["10.0.0.0/8", ["10.2.0.0/16"], "10.2.0.0/16", false],
    ["10.0.0.0/8", ["10.2.0.0/17"], "10.2.0.0/16", true],
    ["10.2.0.0/16", ["10.0.0.0/8"], "10.0.0.0/8", false],
    ["::/0", [], "10.0.0.0/8", false],
    ["fd00::/8", [], "fd12::/16", true],
    ["fd00::/8", ["fd12::/16"], "fd12::1", false],
  ];
  for (const [cidr, except, other, shared] of cases) {
    assert.is(overlap({ cidr, except }, other), shared, `${cidr} without ${except}, ${other}`);
  }
});

test.run();
