// Pods behind rules of whichever iptables the image calls its own, with a folder of YAML in the place of
// an API server: `suite.ts` has the tests.

import { test } from "uvu";
import { meshedPods } from "./suite.ts";

meshedPods({ mode: "plain", image: "node", source: "folder" });

test.run();
