// Observers and their bounds, and which requests a match means.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { create, toBinary } from "@bufbuild/protobuf";
import { ObserveRequestSchema } from "../../../src/api/gen/tap_pb.ts";
import { tapRequestFromBytes } from "../../../src/api/tap.ts";
import {
  type TapEvent,
  type TapMatch,
  tapMatches,
  type TapSubject,
} from "../../../src/model/tap.ts";
import { MAX_EVENTS, MAX_OBSERVERS, TapHub } from "../../../src/proxy/tap/hub.ts";

const SUBJECT: TapSubject = {
  direction: "outbound",
  source: { ip: "10.1.2.3", port: 40_000 },
  destination: { ip: "fd00::9", port: 8080 },
  sourceLabels: {},
  destinationLabels: { pod: "vote-1" },
  routeLabels: { route: "GET /" },
  method: "GET",
  scheme: "http",
  authority: "vote:8080",
  path: "/votes?x=1",
};
const ALL: TapMatch = { kind: "all", of: [] };
const event = (base: number): TapEvent => ({
  id: { base, stream: 1 },
  subject: SUBJECT,
  event: { kind: "request", fields: null },
});

test("tapMatches() follows networks, ports, labels, methods and texts, and their combinations", () => {
  const cases: readonly (readonly [TapMatch, boolean])[] = [
    [ALL, true],
    [{ kind: "any", of: [] }, false],
    [{ kind: "network", side: "source", cidr: "10.0.0.0/8" }, true],
    [{ kind: "network", side: "destination", cidr: "10.0.0.0/8" }, false],
    [{ kind: "network", side: "destination", cidr: "fd00::/8" }, true],
    [{ kind: "ports", side: "destination", min: 8000, max: 8080 }, true],
    [{ kind: "ports", side: "destination", min: 1, max: 80 }, false],
    [{ kind: "label", of: "destination", key: "pod", value: "vote-1" }, true],
    [{ kind: "label", of: "destination", key: "constructor", value: "vote-1" }, false],
    [{ kind: "label", of: "route", key: "route", value: "GET /" }, true],
    [{ kind: "method", method: "POST" }, false],
    [{ kind: "not", of: { kind: "method", method: "POST" } }, true],
    [{ kind: "text", of: "path", exact: false, text: "/votes" }, true],
    [{ kind: "text", of: "path", exact: true, text: "/votes" }, true],
    [{ kind: "text", of: "path", exact: true, text: "/votes?x=1" }, false],
    [{ kind: "text", of: "authority", exact: true, text: "vote:8080" }, true],
    [
      {
        kind: "all",
        of: [{ kind: "scheme", scheme: "http" }, { kind: "scheme", scheme: "https" }],
      },
      false,
    ],
  ];
  for (const [match, wanted] of cases) {
    assert.is(tapMatches(match, SUBJECT), wanted, JSON.stringify(match));
  }
});

test("an observer takes as many requests as it asked for, and is done when they have ended", () => {
  const hub = new TapHub();
  const observer = hub.observe({ limit: 2, match: ALL, headers: false });
  assert.ok(observer !== null);
  assert.is(hub.active, 1);
  for (let i = 0; i < 2; i++) {
    assert.equal(hub.wanting(SUBJECT), [observer]);
    observer.began();
  }
  assert.is(hub.active, 0, "nothing more is looked at");
  assert.equal(hub.wanting(SUBJECT), []);
  observer.ended();
  assert.not.ok(observer.done);
  observer.ended();
  assert.ok(observer.done);
});

test("an observer that does not read keeps a bounded number of events, and counts the rest", () => {
  const hub = new TapHub();
  const observer = hub.observe({ limit: 1, match: ALL, headers: false })!;
  for (let i = 0; i < MAX_EVENTS + 7; i++) observer.push(event(observer.base));
  assert.is(observer.dropped, 7);
  observer.close();
  assert.is(observer.take(), null);
  assert.is(hub.active, 0);
  assert.ok(observer.done);
  observer.close();
});

test("there is a bound of observers, and who left makes room", () => {
  const hub = new TapHub();
  const request = { limit: 1, match: ALL, headers: false };
  const all = Array.from({ length: MAX_OBSERVERS }, () => hub.observe(request)!);
  assert.is(hub.observe(request), null);
  all[3]!.close();
  assert.ok(hub.observe(request) !== null);
});

test("one bound of a range of ports means that port alone, none is refused", () => {
  const ports = (min: number, max: number) => {
    const tcp = { match: { case: "ports" as const, value: { min, max } } };
    const match = { match: { case: "destination" as const, value: tcp } };
    const request = create(ObserveRequestSchema, { limit: 1, match });
    return tapRequestFromBytes(toBinary(ObserveRequestSchema, request)).match;
  };
  const of = (min: number, max: number) => ({ kind: "ports", side: "destination", min, max });
  assert.equal(ports(80, 90), of(80, 90));
  assert.equal(ports(80, 0), of(80, 80));
  assert.equal(ports(0, 80), of(80, 80));
  for (const [min, max] of [[0, 0], [90, 80], [1, 65_536]] as const) {
    assert.throws(
      () => ports(min, max),
      new RegExp(`ports.* is ${min}-${max}`),
    );
  }
});

test("a match that is nested too deep, has too many parts or no limit is refused in one line", () => {
  const bytes = (init: Parameters<typeof create<typeof ObserveRequestSchema>>[1]) =>
    toBinary(ObserveRequestSchema, create(ObserveRequestSchema, init));
  let deep: object = { match: { case: "all", value: { matches: [] } } };
  for (let i = 0; i < 20; i++) deep = { match: { case: "not", value: deep } };
  assert.throws(() => tapRequestFromBytes(bytes({ limit: 1, match: deep })), /nested more than 16/);
  const many = { match: { case: "any" as const, value: { matches: Array(65).fill(deep) } } };
  assert.throws(() => tapRequestFromBytes(bytes({ limit: 1, match: many })), /65 parts, over 64/);
  assert.throws(() => tapRequestFromBytes(bytes({ match: {} })), /limit/);
  assert.throws(() => tapRequestFromBytes(bytes({ limit: 1 })), /match/);
});

test.run();
