// Pods behind rules of iptables' legacy kind, with proxies on Node: `suite.ts` has the tests.

import { test } from "uvu";
import { meshedPods } from "./suite.ts";

meshedPods({ mode: "legacy", image: "node" });

test.run();
