// Pods behind rules of iptables' nf_tables kind, with proxies on Deno: `suite.ts` has the tests.

import { test } from "uvu";
import { meshedPods } from "./suite.ts";

meshedPods({ mode: "nft", image: "deno" });

test.run();
