// Takes pictures of the page with fixture data, to look at after a change of it: light, dark and on a
// phone. `node test/dashboard/screenshot.ts FOLDER`. (docs/images/dashboard.png shows the demo.)

import { mkdir, writeFile } from "node:fs/promises";
import { formatSocketAddr } from "../../src/core/addr.ts";
import { Browser, CHROMIUM } from "./browser.ts";
import { BusyMesh, digestOf } from "./busy-mesh.ts";

const folder = process.argv[2];
if (folder === undefined || CHROMIUM === null) {
  console.error("Usage: node test/dashboard/screenshot.ts FOLDER (needs Chromium)");
  process.exit(2);
}
await mkdir(folder, { recursive: true });
const mesh = new BusyMesh();
for (let s = 0; s < 118; s++) {
  if (s === 40) mesh.rollOut("header-change", { sha256: digestOf("58ae7720") });
  if (s === 90) mesh.rollOut("retry-decision", { sha256: digestOf("77f5190a") });
  if (s === 70 || s === 76) {
    mesh.state.serviceList = mesh.state.serviceList.map((service) => ({
      ...service,
      endpoints: service.endpoints.map((e) =>
        e.pod === "catalogue-2" ? { ...e, ready: s !== 70 } : e
      ),
    }));
  }
  await mesh.step();
}
const server = await mesh.serve();
const browser = await Browser.start(CHROMIUM);
const url = `http://${formatSocketAddr(server.addr)}/`;
const shots = {
  light: { width: 1280, height: 900 },
  dark: { width: 1280, height: 900, dark: true },
  phone: { width: 390, height: 844, mobile: true, scale: 2 },
  "phone-dark": { width: 390, height: 844, mobile: true, scale: 2, dark: true },
} as const;
for (const [name, look] of Object.entries(shots)) {
  await browser.look(look);
  await browser.open(url);
  await browser.until("document.querySelectorAll('.node').length > 3");
  await mesh.step();
  await mesh.step();
  await browser.value("new Promise((r) => setTimeout(r, 700))");
  if (name === "light" || name.startsWith("phone")) {
    await writeFile(`${folder}/${name}.png`, await browser.picture());
  }
  await browser.value("document.querySelectorAll('.toggle')[1].click()");
  await browser.value("document.querySelectorAll('details')[1].open = true");
  await browser.value("new Promise((r) => setTimeout(r, 300))");
  await writeFile(`${folder}/${name}-whole.png`, await browser.picture(true));
}
console.log(browser.complaints);
await browser.close();
await server.close();
