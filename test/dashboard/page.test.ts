// The page as a reader meets it: files, types, and, where Chromium is installed, a headless browser.

import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { DASHBOARD_FILES, loadAssets } from "../../src/control/admin/assets.ts";
import { formatSocketAddr } from "../../src/core/addr.ts";
import { testUnless } from "../support/skip.ts";
import { Browser, CHROMIUM } from "./browser.ts";
import { BusyMesh, digestOf } from "./busy-mesh.ts";

const folder = new URL("../../src/dashboard/", import.meta.url);
const missing = CHROMIUM === null ? "chromium is not installed (tools/setup-debian)" : null;

test("the list of files that are served is what the folder holds", async () => {
  const found = await readdir(folder);
  assert.equal([...DASHBOARD_FILES].sort(), found.sort());
  const assets = await loadAssets((name) => readFile(new URL(name, folder)));
  assert.is(assets.get("app.js")?.type, "text/javascript; charset=utf-8");
  assert.ok((assets.get("index.html")?.body.length ?? 0) > 1000);
});

test("the page needs nothing from elsewhere and nothing inline", async () => {
  for (const name of DASHBOARD_FILES) {
    const text = await readFile(new URL(name, folder), "utf8");
    const addresses = text.match(/https?:\/\/[^\s"'`<>)]+/g) ?? [];
    assert.equal(addresses.filter((a) => a !== "http://www.w3.org/2000/svg"), [], name);
    assert.not.match(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(/, name);
    if (name.endsWith(".html")) assert.not.match(text, /\sstyle=|\son\w+=|<script>|<style>/, name);
  }
});

test("the page's scripts are what their types say", async () => {
  const tsc = fileURLToPath(new URL("../../node_modules/.bin/tsc", import.meta.url));
  const options =
    "--ignoreConfig --noEmit --allowJs --checkJs --strict --noUncheckedIndexedAccess " +
    "--exactOptionalPropertyTypes --module NodeNext --target ES2024 " +
    "--lib ES2024,DOM,DOM.Iterable --allowImportingTsExtensions --skipLibCheck";
  const app = fileURLToPath(new URL("app.js", folder));
  try {
    await promisify(execFile)(tsc, [...options.split(" "), "--types", "", app], {
      timeout: 60_000,
    });
  } catch (e) {
    assert.unreachable((e as { stdout?: string }).stdout || String(e));
  }
});

/** One browser for all tests, which looks at a fresh mesh after twenty seconds of traffic. */
function page(
  name: string,
  run: (browser: Browser, mesh: BusyMesh, close: () => Promise<void>) => Promise<void>,
): void {
  testUnless(missing, test, name, async () => {
    const mesh = new BusyMesh();
    for (let s = 0; s < 20; s++) await mesh.step();
    const server = await mesh.serve();
    browser ??= await Browser.start(CHROMIUM as string);
    try {
      await browser.look({ width: 1280, height: 900 });
      await browser.open(`http://${formatSocketAddr(server.addr)}/`);
      await browser.until("document.body?.dataset.link === 'live'");
      await browser.until("document.querySelectorAll('.node').length > 0");
      await run(browser, mesh, () => server.close());
    } finally {
      await browser.open("about:blank");
      await server.close();
    }
  });
}

let browser: Browser | null = null;
test.after(() => browser?.close());

const text = (selector: string) => `document.querySelector(${JSON.stringify(selector)}).innerText`;

page(
  "the page shows graph, figures, filters and proxies, and complains of nothing",
  async (browser) => {
    assert.is(await browser.value("document.querySelectorAll('.node').length"), 6);
    assert.is(await browser.value("document.querySelectorAll('.edge').length"), 4);
    assert.match(
      await browser.value<string>("document.querySelector('.graph .sr-only').textContent"),
      "load calls web, vote calls store, web calls catalogue, web calls vote.",
    );
    const row = await browser.value<string>(text("[id='service-shop/catalogue'] tr"));
    assert.match(row, /catalogue\s+100 %\s+9\d\.\d+ %\s+\d+\/s/);
    assert.match(await browser.value(text("#services")), /archive\s+–\s+–\s+0\/s/);
    assert.match(await browser.value(text(".filter")), /route-metrics\s+serving/);
    assert.match(
      await browser.value(text("#proxies")),
      /shop\/web-0\s+up\s+\d+\s+0\s+\d+ MiB\s+ends in 23 h/,
    );
    assert.equal(browser.complaints, []);
  },
);

page("figures follow each snapshot, and opened rows stay open", async (browser, mesh) => {
  await browser.value("document.querySelectorAll('.toggle')[1].click()");
  const before = await browser.value(text(".filter .stats"));
  await mesh.step();
  await browser.until(`${text(".filter .stats")} !== ${JSON.stringify(before)}`);
  assert.match(
    await browser.value(text(".detail:not([hidden])")),
    /127\.77\.0\.4:8080\s+catalogue-1\s+ready\s+4\d ms/,
  );
});

page("Roll out makes another build the one that runs, by keyboard alone", async (browser, mesh) => {
  await browser.value("document.querySelector('.builds button:not([hidden])').focus()");
  await browser.press("Enter");
  await browser.until(`${text(".answer")}.startsWith('Rolled out a91b33d2')`);
  await mesh.step();
  await mesh.step();
  await browser.until("document.querySelector('#log li')?.innerText.includes('2 proxies')");
  assert.match(
    await browser.value(text("#log li")),
    /swap\s+route-metrics 4c7a1f0e → a91b33d2: served, running in 2 proxies/,
  );
  assert.is(mesh.state.filterList[0]?.served?.sha256, digestOf("a91b33d2"));
  await browser.until(`${text(".filter .serving")}.startsWith('a91b33d2')`);
});

page("a roll-out that is refused says why", async (browser, mesh) => {
  mesh.state.rollout = () =>
    Promise.resolve({ ok: false, kind: "refused", reason: "imports env.abort" });
  await browser.value("document.querySelector('.builds button:not([hidden])').click()");
  await browser.until(`${text(".answer")} === 'Refused: imports env.abort'`);
});

page("the keyboard reaches links, nodes, rows and buttons in order", async (browser) => {
  const seen: string[] = [];
  for (let i = 0; i < 40; i++) {
    await browser.press("Tab");
    seen.push(
      await browser.value(
        "document.activeElement.getAttribute('class') ?? document.activeElement.tagName",
      ),
    );
  }
  assert.is(seen[0], "skip");
  const first = (name: string) => seen.findIndex((s) => s.split(" ")[0] === name);
  assert.ok(first("node") > 0 && first("node") < first("toggle"), seen.join(", "));
  assert.ok(first("toggle") < first("BUTTON"), seen.join(", "));
});

page(
  "a lost control plane is said in words, with the time of what is shown",
  async (browser, _, close) => {
    await close();
    await browser.until(
      `${
        text("#link")
      }.startsWith('Connection lost, trying again. Showing what was seen at 14:02:20')`,
    );
    assert.match(await browser.value(text("#services")), "catalogue");
  },
);

page("a mesh without anything says so", async (browser, mesh) => {
  Object.assign(mesh.state, { podList: [], serviceList: [], filterList: [] });
  mesh.state.problemList = [{ source: "shop.yaml:3", message: "not YAML" }];
  await mesh.step();
  await browser.until(`!${"document.getElementById('services-empty')"}.hidden`);
  const all = await browser.value<string>("document.getElementById('main').innerText");
  assert.match(all, "shop.yaml:3 not YAML");
  assert.match(all, "The control plane knows no services.");
  assert.match(all, "No filter is known.");
  assert.match(all, "nothing is meshed yet");
});

page("names that look like markup are shown as text", async (browser, mesh) => {
  const evil = "<img src=x onerror=alert(1)>";
  mesh.state.serviceList = [{ namespace: "shop", name: evil, ports: [], endpoints: [] }];
  mesh.state.problemList = [{ source: evil, message: evil }];
  await mesh.step();
  await browser.until("document.querySelector('#problems li')");
  assert.is(await browser.value("document.querySelectorAll('main img').length"), 0);
  assert.match(await browser.value(text("#services")), evil);
  assert.equal(browser.complaints, []);
});

page("nothing is cut off at the side, from a phone to a wide screen", async (browser, mesh) => {
  await browser.value("document.querySelectorAll('.toggle')[1].click()");
  await browser.value("document.querySelectorAll('details').forEach((d) => d.open = true)");
  for (const width of [360, 390, 768, 861, 1021, 1161, 1280, 1920]) {
    await browser.look({ width, height: 900, mobile: width < 600, dark: width % 2 === 0 });
    await mesh.step();
    await browser.value(
      "new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))",
    );
    const wide = await browser.value<number>("document.documentElement.scrollWidth");
    assert.ok(wide <= width, `${wide} of ${width}`);
    const graph = await browser.value<number[]>(
      "(({ scrollWidth, clientWidth }) => [scrollWidth, clientWidth])(document.getElementById('graph'))",
    );
    assert.is(graph[0], graph[1], `the graph at ${width}`);
  }
});

test.run();
