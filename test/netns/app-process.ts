// The applications of the tests in namespaces, which know of no proxy: `serve PORT…` answers HTTP, and
// with 5432 speaks first; `get IP PORT…` asks each once and prints what came, or why nothing did; a port
// may have a path, as in 4191/ready; `relay IP PORT…` carries loopback there.

import http from "node:http";
import net from "node:net";
import process from "node:process";

const [what = "", ...args] = process.argv.slice(2);

if (what === "serve") {
  for (const port of args.map(Number)) {
    const server = port === 5432
      ? net.createServer((socket) => {
        socket.on("error", () => {});
        socket.write("server first\n");
      })
      : http.createServer((request, response) => {
        const from = request.headers["l5d-client-id"];
        response.end(`port ${port}${from === undefined ? "" : ` from ${from}`}`);
      });
    await new Promise<void>((resolve) => server.listen(port, "::", resolve));
  }
  process.stdout.write("ready\n");
} else if (what === "relay") {
  const [to = "", ...ports] = args;
  for (const port of ports.map(Number)) {
    const server = net.createServer((near) => {
      const far = net.connect(port, to);
      for (const [a, b] of [[near, far], [far, near]] as const) {
        a.on("error", () => b.destroy()).on("close", () => b.destroy()).pipe(b);
      }
    });
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  }
  process.stdout.write("ready\n");
} else {
  for (let i = 0; i + 1 < args.length; i += 2) {
    process.stdout.write(await ask(args[i] ?? "", args[i + 1] ?? "0") + "\n");
  }
}

function ask(ip: string, at: string): Promise<string> {
  const [port = "0", path = ""] = at.split("/");
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = net.connect(Number(port), ip);
  const done = (line: string) => {
    clearTimeout(timer);
    socket.destroy();
    resolve(line);
  };
  const timer = setTimeout(() => done("timeout"), 15_000);
  let text = "";
  socket.setEncoding("utf8");
  socket.on("data", (more: string) => {
    text += more;
    if (port === "5432" && text.endsWith("\n")) done(text.trim());
  });
  socket.on("error", (e: Error & { code?: string }) => done(e.code ?? e.message));
  socket.on("end", () => done(text.split("\r\n\r\n").at(-1)?.trim() ?? ""));
  if (port !== "5432") {
    socket.write(`GET /${path} HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n`);
  }
  return promise;
}
