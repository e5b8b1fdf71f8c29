// nginx and HAProxy of Debian as the proxies beside ours, and nginx as the upstream of all: configured
// for the same work, one worker, connections kept on both sides, access logs off.

import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Start } from "./started.ts";

/** What all proxies answer with: 117 bytes of JSON. */
export const BODY = JSON.stringify({
  id: 42,
  name: "Bramley",
  kind: "apple",
  price: { amount: 149, currency: "EUR" },
  stock: 128,
  tags: ["green", "tart"],
});

/** Programs that the bench needs, and where Debian has them. */
export const PROGRAMS = ["nginx", "haproxy", "wrk", "taskset"] as const;

/** What to say when some are missing, or null. */
export function missingPrograms(): string | null {
  const missing = PROGRAMS.filter((p) => spawnSync("which", [p]).status !== 0);
  if (missing.length === 0) return null;
  return `${
    missing.join(", ")
  } not found: run tools/setup-debian, or apt-get install nginx-light haproxy wrk`;
}

/** `nginx 1.22.1`, `haproxy 2.6.12`: the first version number that the program prints. */
export function programVersion(program: string): string {
  const { stdout, stderr } = spawnSync(program, ["-v"], { encoding: "utf8" });
  return `${program} ${/\d+(?:\.\d+)+/.exec(`${stdout}${stderr}`)?.[0] ?? "?"}`;
}

/** The server behind every proxy. */
export async function upstream(dir: string, port: number, core: number | null): Promise<Start> {
  const http = `
  server {
    listen 127.0.0.1:${port} backlog=4096;
    default_type application/json;
    location / { return 200 '${BODY}'; }
  }`;
  return await nginx("upstream", dir, port, http, core);
}

/** As `upstream`, over HTTP/2 without TLS; HTTP/1 on `ready`. */
export async function upstreamHttp2(
  dir: string,
  port: number,
  ready: number,
  core: number | null,
): Promise<Start> {
  const http = `
  server {
    listen 127.0.0.1:${port} http2 backlog=4096;
    listen 127.0.0.1:${ready};
    default_type application/json;
    location / { return 200 '${BODY}'; }
  }`;
  return await nginx("upstream-http2", dir, ready, http, core);
}

/** nginx as a proxy. */
export async function nginxProxy(
  dir: string,
  port: number,
  to: number,
  core: number | null,
): Promise<Start> {
  const http = `
  upstream app { server 127.0.0.1:${to}; keepalive 128; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
  }`;
  return await nginx("nginx", dir, port, http, core);
}

/** Where a peer takes HTTP/2, where it says over HTTP/1 that it is ready, and what is behind it. */
export interface Http2Peer {
  readonly port: number;
  readonly ready: number;
  readonly to: number;
  /** What is spoken there. */
  readonly speaks: "http1" | "http2";
  readonly core: number | null;
}

/** nginx with HTTP/2 and no TLS; to an upstream of HTTP/2 it speaks as to a server of gRPC. */
export async function nginxHttp2(dir: string, o: Http2Peer): Promise<Start> {
  const http = `
  upstream app { server 127.0.0.1:${o.to}; keepalive 128; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:${o.port} http2 backlog=4096;
    listen 127.0.0.1:${o.ready};
    location / { ${o.speaks === "http2" ? GRPC_PASS : PROXY_PASS} }
  }`;
  return await nginx("nginx", dir, o.ready, http, o.core);
}

const PROXY_PASS = `
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    `;
const GRPC_PASS = `
      grpc_pass grpc://app;
      grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    `;

/** HAProxy with HTTP/2 and no TLS. */
export async function haproxyHttp2(dir: string, o: Http2Peer): Promise<Start> {
  const binds = `bind 127.0.0.1:${o.port} proto h2\n  bind 127.0.0.1:${o.ready}`;
  const server = o.speaks === "http2" ? "proto h2" : "pool-max-conn 128";
  return { ...await haproxyWith(dir, binds, o.to, o.core, server), port: o.ready };
}

async function nginx(
  name: string,
  dir: string,
  port: number,
  http: string,
  core: number | null,
): Promise<Start> {
  const path = join(dir, `${name}.conf`);
  const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((kind) => `  ${kind}_temp_path ${join(dir, `${name}-${kind}`)};`).join("\n");
  await writeFile(
    path,
    `daemon off;
master_process off;
worker_processes 1;
pid ${join(dir, `${name}.pid`)};
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
${temp}${http}
}
`,
  );
  const args = ["-p", dir, "-e", "stderr", "-c", path];
  return { name, command: "nginx", args, cwd: dir, core, port };
}

/** HAProxy as a proxy. */
export async function haproxy(
  dir: string,
  port: number,
  to: number,
  core: number | null,
): Promise<Start> {
  return { ...await haproxyWith(dir, `bind 127.0.0.1:${port}`, to, core), port };
}

/** HAProxy that passes bytes on and looks at none of them. */
export async function haproxyTcp(
  dir: string,
  port: number,
  to: number,
  core: number | null,
): Promise<Omit<Start, "name">> {
  const path = join(dir, "haproxy-tcp.cfg");
  await writeFile(
    path,
    `global
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 600s
  timeout server 600s
listen in
  bind 127.0.0.1:${port}
  server app 127.0.0.1:${to}
`,
  );
  return { command: "haproxy", args: ["-db", "-f", path], cwd: dir, core, port };
}

async function haproxyWith(
  dir: string,
  binds: string,
  to: number,
  core: number | null,
  server = "pool-max-conn 128",
): Promise<Omit<Start, "port">> {
  const path = join(dir, "haproxy.cfg");
  await writeFile(
    path,
    `global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  option forwardfor
  http-reuse always
frontend in
  ${binds}
  default_backend app
backend app
  server app 127.0.0.1:${to} ${server}
`,
  );
  return { name: "haproxy", command: "haproxy", args: ["-db", "-f", path], cwd: dir, core };
}
