// Host functions for everything around a request: who asks and where, time and chance, time-outs and
// endpoints, shared state, configuration, the log.

import { latin1 } from "../../src/core/intern.ts";
import { LIMIT_EXCHANGE, LIMIT_HEAD, LIMIT_IDLE, LIMIT_RESPONSE, LIMITS } from "../abi.ts";
import { fromByteString } from "./config.ts";
import { charge, type Guard } from "./guard.ts";
import type { FilterPlan } from "./plan.ts";
import {
  PHASE_ATTEMPT,
  PHASE_REQUEST,
  PHASE_START,
  type Situation,
  type World,
} from "./situation.ts";
import { ConfigRefusal, HostTrap, printable } from "./trap.ts";

/** What is neither a head nor a body. */
export function worldFunctions(plan: FilterPlan, at: Situation, world: World, guard: Guard) {
  const { config } = plan;
  const { during, exchange, field, keyOf, memoryAt, textOf, timeout } = guard;
  const log = (level: number, message: unknown, value: number | null): void => {
    const text = textOf(message, "a log message");
    if (!world.mayLog()) return;
    const fields = { filter: plan.ref.name, ...(value === null ? {} : { value }) };
    const say = [world.log.debug, world.log.info, world.log.warn, world.log.error][level];
    if (say === undefined) throw new HostTrap(`${level} is not a log level`);
    say(fromByteString(text).slice(0, 1000), fields);
  };
  return {
    peer_id: () => exchange().conn.tls?.identity ?? null,
    route: () => exchange().routeName,
    remote_ip: () => exchange().conn.remote.ip,
    remote_port: () => exchange().conn.remote.port,
    target_ip: () => exchange().conn.target.ip,
    target_port: () => exchange().conn.target.port,
    elapsed_ms: () => Math.max(0, world.now() - exchange().startedMs),
    wall_ms: () => world.wall(),
    set_request_timeout: (ms: number) => {
      during(PHASE_REQUEST, "the request's time-out is set only in onRequest");
      exchange().timeoutMs = timeout(ms);
    },
    set_attempt_timeout: (ms: number) => {
      during(PHASE_REQUEST | PHASE_ATTEMPT, "the attempt's time-out is set before it begins");
      exchange().attemptTimeoutMs = ms === 0 ? 0 : timeout(ms);
    },
    set_time_limit: (kind: number, ms: number) => {
      during(PHASE_REQUEST, "a time limit is set only in onRequest");
      if (!(ms >= 1)) {
        throw new HostTrap(`${ms} is not a time limit from 1 to ${LIMITS.maxLimitMs} ms`);
      }
      const x = exchange();
      switch (kind) {
        case LIMIT_HEAD:
          x.timeoutMs = ms;
          return;
        case LIMIT_EXCHANGE:
          x.exchangeLimitMs = ms;
          return;
        case LIMIT_RESPONSE:
          x.responseLimitMs = ms;
          return;
        case LIMIT_IDLE:
          x.idleLimitMs = ms;
          return;
        default:
          throw new HostTrap(`${kind} is not a kind of time limit`);
      }
    },
    choose_endpoint: (label: unknown, value: unknown, strict: number) => {
      during(PHASE_REQUEST | PHASE_ATTEMPT, "an endpoint is chosen before an attempt begins");
      exchange().choice = {
        label: fromByteString(textOf(label, "a label's name")),
        value: fromByteString(textOf(value, "a label's value")),
        strict: strict !== 0,
      };
    },
    is_inbound: () => exchange().conn.direction === "inbound" ? 1 : 0,
    attempt: () => exchange().attempt,
    grpc_status: () => exchange().grpcStatus,
    endpoint_label: (name: unknown) => {
      const labels = exchange().endpointLabels;
      const text = textOf(name, "a label's name");
      return Object.hasOwn(labels, text) ? labels[text] ?? null : null;
    },
    shared_take: (key: unknown, rate: number, burst: number, cost: number) => {
      if (!(rate > 0 && rate <= 1e6 && burst > 0 && burst <= 1e6 && cost > 0 && cost <= 1e6)) {
        throw new HostTrap("rate, burst and cost of take() are above 0 and at most 1000000");
      }
      const text = keyOf(key);
      return world.cells === null || world.cells.take(text, rate, burst, cost) ? 1 : 0;
    },
    shared_add: (key: unknown, by: number) => {
      if (!Number.isInteger(by) || Math.abs(by) > 2 ** 31) {
        throw new HostTrap(`${by} is not a whole number to add`);
      }
      const text = keyOf(key);
      return world.cells === null ? by : world.cells.add(text, by);
    },
    config_i32: (slot: number) => {
      field(slot, "i32", "bool");
      return config.numbers[slot];
    },
    config_f64: (slot: number) => {
      field(slot, "f64");
      return config.numbers[slot];
    },
    config_text: (slot: number) => {
      field(slot, "text", "statuses");
      return config.texts[slot];
    },
    config_length: (slot: number) => {
      field(slot, "list");
      return config.lists[slot]?.length;
    },
    config_item: (slot: number, n: number) => {
      field(slot, "list");
      return config.lists[slot]?.[n] ?? null;
    },
    config_refuse: (slot: number, why: unknown) => {
      const key = plan.manifest.config[slot]?.key;
      if (key === undefined) throw new HostTrap(`configuration slot ${slot} does not exist`);
      if (at.phase !== PHASE_START) {
        throw new HostTrap("the configuration is refused only while the filter starts");
      }
      throw new ConfigRefusal(`configuration: "${key}" ${printable(textOf(why, "a reason"))}`);
    },
    text: (from: number, count: number) => {
      const units = count >>> 0;
      if (units > LIMITS.textBytes) {
        throw new HostTrap(`a text of ${units} bytes; ${LIMITS.textBytes} are allowed`);
      }
      const bytes = memoryAt(from, units * 2);
      if (at.fuel !== null) charge(at.fuel, units);
      for (let i = 1; i < bytes.length; i += 2) {
        if (bytes[i] !== 0) throw new HostTrap("a text has a character that is no byte");
      }
      return latin1(bytes.filter((_, i) => i % 2 === 0), 0, units);
    },
    now_ms: () => world.now(),
    random: () => world.random(),
    log: (level: number, message: unknown) => log(level, message, null),
    log_number: (level: number, message: unknown, value: number) => log(level, message, value),
  };
}
