// A TCP connection through the outbound proxy by CONNECT, kept open, opened again when it ends.

import http from "node:http";
import type { Socket } from "node:net";
import { message, POD_IP, PROXY_PORT } from "./pod.ts";

/** What is seen of the connection. */
export interface TallyState {
  readonly connected: boolean;
  /** Connections so far. */
  readonly connections: number;
  /** Lines that the server sent. */
  readonly lines: number;
  /** The newest count, or -1. */
  readonly count: number;
  /** Why the newest attempt failed, or empty. */
  readonly error: string;
}

const ASK_MS = 500;
const AGAIN_MS = 500;
const MAX_LINE = 1024;

/** Connects to `authority`, asks for the count twice a second, and goes on for ever. */
export function openTally(authority: string): { state(): TallyState } {
  let connected = false;
  let connections = 0;
  let lines = 0;
  let count = -1;
  let error = "";

  const again = (why: string) => {
    connected = false;
    error = why;
    setTimeout(connect, AGAIN_MS).unref();
  };
  const use = (socket: Socket, head: Buffer) => {
    connected = true;
    connections++;
    error = "";
    let rest = "";
    const ask = setInterval(() => socket.write("count\n"), ASK_MS);
    const take = (text: string) => {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      if (rest.length > MAX_LINE) return socket.destroy();
      lines += parts.length;
      for (const line of parts) {
        const m = /^count (\d{1,15})$/.exec(line);
        if (m !== null) count = Number(m[1]);
      }
    };
    if (head.length > 0) take(head.toString("utf8"));
    socket.setEncoding("utf8");
    socket.on("data", take);
    socket.on("error", (e) => (error = message(e)));
    socket.on("close", () => {
      clearInterval(ask);
      again(error === "" ? "the connection ended" : error);
    });
  };
  const connect = () => {
    const request = http.request({
      host: POD_IP,
      port: PROXY_PORT,
      localAddress: POD_IP,
      method: "CONNECT",
      path: authority,
      headers: { host: authority },
      agent: false,
    });
    request.on("connect", (response, socket, head) => {
      const status = response.statusCode ?? 0;
      if (status === 200) return use(socket as Socket, head);
      socket.destroy();
      again(`CONNECT ${authority} was answered ${status}`);
    });
    request.on("response", (response) => {
      response.resume();
      again(`CONNECT ${authority} was answered ${response.statusCode}`);
    });
    request.on("error", (e) => again(message(e)));
    request.end();
  };
  connect();
  return { state: () => ({ connected, connections, lines, count, error }) };
}
