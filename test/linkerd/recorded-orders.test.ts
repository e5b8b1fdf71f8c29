// Whole conversations of Linkerd's control plane, message by message, from `recorded-orders/*.json`: the
// protobuf messages in JSON, in the order in which it sends them, and after each what the proxy must do.
// The files are ours; no message has a field of ours.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { readdir, readFile } from "node:fs/promises";
import { DestinationProfileSchema, UpdateSchema } from "../../src/api/gen/destination_pb.ts";
import { ServerSchema } from "../../src/api/gen/inbound_pb.ts";
import { OutboundPolicySchema } from "../../src/api/gen/outbound_pb.ts";
import { ask } from "../mesh/support/http.ts";
import { eventually } from "../mesh/support/waiting.ts";
import type { App } from "./support/apps.ts";
import type { Feed } from "./support/feeds.ts";
import { tcpAddress } from "./support/messages.ts";
import { type Service, World } from "./support/world.ts";

/** What one request must get. */
interface Expected {
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** From another pod to this one. */
  readonly inbound?: boolean;
  readonly status: number;
  /** The applications of which one answers. */
  readonly body?: readonly string[];
  /** Headers of the response. */
  readonly header?: Readonly<Record<string, string>>;
  /** Headers that the application got; null: not this one. */
  readonly seen?: Readonly<Record<string, string | null>>;
}

/** One event on a stream, and what holds after it. */
interface Step {
  readonly says: string;
  readonly on: "profile" | "policy" | "endpoints" | "server";
  /** The destination, where it is not the Service's own. */
  readonly at?: string;
  readonly message?: JsonValue;
  readonly how?: "end" | "fail" | "refuse";
  readonly code?: keyof typeof Code;
  /** What the stream that follows begins with. */
  readonly next?: readonly JsonValue[];
  /** The proxy opens the stream again. */
  readonly reopened?: true;
  readonly then: readonly Expected[];
}

interface Recorded {
  readonly about: string;
  readonly apps: readonly string[];
  readonly steps: readonly Step[];
}

const FOLDER = new URL("./recorded-orders/", import.meta.url);

let world: World;
test.before(async () => {
  world = await World.start(156, {
    env: {
      LINKERD2_PROXY_OUTBOUND_HTTP_FAILFAST_TIMEOUT: "1s",
      // A reset comes while no connection is open: what is known must not be forgotten by then.
      LINKERD2_PROXY_OUTBOUND_DISCOVERY_IDLE_TIMEOUT: "60s",
      LINKERD2_PROXY_INBOUND_DEFAULT_POLICY: "deny",
    },
  });
});
test.after(() => world?.end());

/** The file's text with this run's names and addresses. */
function resolved(text: string, service: Service, apps: ReadonlyMap<string, App>): Recorded {
  const label = service.name.split(".", 1)[0] ?? "";
  const named = text.replaceAll("$path", service.path).replaceAll("$name", service.name)
    .replaceAll("$label", label);
  return JSON.parse(named, (_key, value: unknown) => {
    if (typeof value !== "string" || !value.startsWith("$tcp:")) return value;
    return tcpAddress((apps.get(value.slice(5)) as App).at);
  }) as Recorded;
}

function feedOf<T>(feed: Feed<T>, step: Step, read: (json: JsonValue) => T): Feed<T> {
  const { how, code = "Unavailable", next = [] } = step;
  if (how === "refuse") feed.refuse(Code[code]);
  if (how === "end") feed.next(...next.map(read)).end();
  if (how === "fail") feed.next(...next.map(read)).fail(Code[code]);
  if (step.message !== undefined) {
    const message = read(step.message);
    // Endpoints are deltas; all else is a whole state each time.
    if (step.on === "endpoints") feed.add(message);
    else feed.set(message);
  }
  return feed;
}

function play(step: Step, service: Service): Pick<Feed<unknown>, "opened"> {
  const { control } = world;
  switch (step.on) {
    case "profile":
      return feedOf(
        control.profile.at(service.clusterAddr),
        step,
        (json) => fromJson(DestinationProfileSchema, json),
      );
    case "policy":
      return feedOf(
        control.outbound.at(service.clusterAddr),
        step,
        (json) => fromJson(OutboundPolicySchema, json),
      );
    case "endpoints":
      return feedOf(
        control.get.at(step.at ?? service.path),
        step,
        (json) => fromJson(UpdateSchema, json),
      );
    case "server":
      return feedOf(control.inbound.at("web 8080"), step, (json) => fromJson(ServerSchema, json));
  }
}

async function check(one: Expected, service: Service, apps: ReadonlyMap<string, App>) {
  const { path = "/", headers = {}, body } = one;
  const answer = one.inbound === true
    ? await ask({ ...world.proxy.inboundAt, agent: false, path, headers })
    : await world.ask("HTTP/1", service, path, { headers });
  assert.is(answer.status, one.status);
  if (body !== undefined) assert.ok(body.includes(answer.body), `${answer.body} of ${body}`);
  for (const [name, value] of Object.entries(one.header ?? {})) {
    assert.is(answer.headers[name], value, name);
  }
  const got = apps.get(answer.body)?.got.at(-1);
  for (const [name, value] of Object.entries(one.seen ?? {})) {
    assert.is(got?.headers[name] ?? null, value, name);
  }
}

for (const file of (await readdir(FOLDER)).sort()) {
  const text = await readFile(new URL(file, FOLDER), "utf8");
  const { about, apps: labels } = JSON.parse(text) as Recorded;

  test(`${file}: ${about}`, async () => {
    const service = world.named(file.replace(".json", ""));
    const apps = new Map<string, App>();
    for (const label of labels) {
      const isOwn = label === "inbound";
      const app = isOwn
        ? await world.app("http1", label, world.proxy.ip, 8080)
        : await world.app("http1", label);
      apps.set(label, app);
    }
    const { steps } = resolved(text, service, apps);
    for (const step of steps) {
      const feed = play(step, service);
      const before = feed.opened;
      const holds = async () => {
        for (const one of step.then) await check(one, service, apps);
      };
      await eventually(`${file}, ${step.says}`, holds);
      await holds(); // and was not met by chance
      await holds();
      if (step.reopened === undefined) continue;
      await eventually(`${file}, ${step.says}: the next stream`, () => {
        assert.ok(feed.opened > before);
      });
      await holds();
    }
  });
}

test.run();
