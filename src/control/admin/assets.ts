// The files of `src/dashboard`, read once at start by whoever may read files, and served from memory.

/** A file as it is served. */
export interface Asset {
  readonly type: string;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** By file name. */
export type Assets = ReadonlyMap<string, Asset>;

/** What the page consists of, in `src/dashboard`. A bundle must carry these. */
export const DASHBOARD_FILES = [
  "index.html",
  "style.css",
  "icon.svg",
  "app.js",
  "dom.js",
  "edge-path.js",
  "filters.js",
  "format.js",
  "graph.js",
  "layout.js",
  "log.js",
  "proxies.js",
  "services.js",
  "sparkline.js",
  "stream.js",
] as const;

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/** Reads them all with `read`, which gets a name of `DASHBOARD_FILES`. */
export async function loadAssets(read: (name: string) => Promise<Uint8Array>): Promise<Assets> {
  const files = await Promise.all(DASHBOARD_FILES.map(async (name) => {
    const type = TYPES[name.slice(name.lastIndexOf(".") + 1)] ?? "application/octet-stream";
    return [name, { type, body: new Uint8Array(await read(name)) }] as const;
  }));
  return new Map(files);
}
