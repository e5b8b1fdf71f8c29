import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { testUnless } from "../support/skip.ts";
import { join, Namespace, namespacesMissing } from "./namespaces.ts";

const MISSING = namespacesMissing();

testUnless(
  MISSING,
  test,
  "the validator ends with 95 without rules and with 0 behind them",
  async () => {
    const pod = new Namespace(`tulle-a-${process.pid}`);
    const other = new Namespace(`tulle-b-${process.pid}`);
    try {
      join(pod, other);
      for (
        const [listen, connect] of [
          ["0.0.0.0:4140", "10.77.0.2:20001"],
          ["[::]:4140", "[fd77::2]:20001"],
        ]
      ) {
        const validate = () =>
          pod.tulle(
            ...["network-validator", "--timeout", "5s", "--listen-addr", listen as string],
            ...["--connect-addr", connect as string],
          );
        const without = validate();
        assert.is(without.status, 95, without.stdout + without.stderr);
        assert.match(without.stdout, "Traffic is not redirected");
        assert.is(
          pod.tulle("init", "-p", "4143", "-o", "4140", "--iptables-mode", "nft").status,
          0,
        );
        const behind = validate();
        assert.is(behind.status, 0, behind.stdout + behind.stderr);
        assert.is(pod.tulle("init", "--undo").status, 0);
      }
    } finally {
      await pod.remove();
      await other.remove();
    }
  },
);

test.run();
