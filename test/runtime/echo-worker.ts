// A worker for test/runtime/workers.test.ts: echoes, throws, leaves or spins, as it is told.

import { workerSide } from "../../src/runtime/workers.ts";

const side = workerSide();
side.post({ data: side.data });
side.listen((message) => {
  if (message === "throw") {
    setTimeout(() => {
      throw new Error("boom");
    }, 0);
  } else if (message === "leave") {
    side.post("last");
    side.leave();
  } else if (message === "spin") {
    side.post("spinning");
    for (;;);
  } else if (message instanceof WebAssembly.Module) {
    const { exports } = new WebAssembly.Instance(message, {});
    side.post(Object.keys(exports));
  } else side.post(message);
});
