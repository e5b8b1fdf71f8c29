// Where a connection that iptables redirected wanted to go: SO_ORIGINAL_DST of the accepted socket.
// Read once per connection, before anything takes the socket's handle. The only user of the handle's
// number.

import type net from "node:net";
import type { SocketAddr } from "../core/addr.ts";
import { openLibc } from "./ffi.ts";

const SOL_IP = 0;
const SOL_IPV6 = 41;
/** SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h). */
const ORIGINAL_DST = 80;

/** sockaddr_in6 is the larger one: 28 bytes. */
const value = new Uint8Array(28);
const length = new Uint8Array(4);
const lengthView = new DataView(length.buffer);
const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Null: original destinations can be read. Else why not, in one line that says what to do. */
export function originalDstMissing(): string | null {
  const libc = openLibc();
  return typeof libc === "string" ? libc : null;
}

/**
 * The address that the client of an accepted socket connected to. For one that was not redirected, it
 * is the socket's own; null where the kernel does not track connections, where FFI is not to be had,
 * and for a socket that is gone.
 */
export function originalDst(socket: net.Socket): SocketAddr | null {
  const libc = openLibc();
  if (typeof libc === "string") return null;
  const { localAddress } = socket;
  if (localAddress === undefined) return null;
  const handle = (socket as unknown as { _handle: SocketHandle | null })._handle;
  if (handle === null || handle === undefined) return null;
  // Deno gives a duplicate, which is ours to close.
  const isCopy = handle.fd === undefined;
  const fd = handle.fd ?? handle.fdForIpc?.() ?? -1;
  if (fd < 0) return null;
  // An IPv4 client of a listener on :: is asked for as IPv4.
  const isIpv4 = !localAddress.includes(":") || localAddress.startsWith("::ffff:");
  lengthView.setInt32(0, isIpv4 ? 16 : 28, LITTLE_ENDIAN);
  const result = libc.getsockopt(fd, isIpv4 ? SOL_IP : SOL_IPV6, ORIGINAL_DST, value, length);
  if (isCopy) libc.close(fd);
  return result === 0 ? sockaddr(value, isIpv4) : null;
}

/** What is used of a socket's handle: internals of the runtimes, checked by a test on both. */
interface SocketHandle {
  /** Node. */
  readonly fd?: number;
  /** Deno. */
  fdForIpc?(): number;
}

/** Reads `sockaddr_in` or `sockaddr_in6`: the port is big-endian at 2, the address at 4 or 8. */
export function sockaddr(bytes: Uint8Array, isIpv4: boolean): SocketAddr {
  const port = ((bytes[2] ?? 0) << 8) | (bytes[3] ?? 0);
  return { ip: isIpv4 ? bytes.subarray(4, 8).join(".") : ipv6(bytes, 8), port };
}

/** RFC 5952: no leading zeros, the first of the longest runs of zero groups as `::`. */
function ipv6(bytes: Uint8Array, at: number): string {
  const groups: number[] = [];
  for (let i = 0; i < 8; i++) {
    groups.push(((bytes[at + 2 * i] ?? 0) << 8) | (bytes[at + 2 * i + 1] ?? 0));
  }
  let from = -1;
  let run = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > run) {
      from = i;
      run = n;
    }
    i += Math.max(0, n - 1);
  }
  const text = (part: readonly number[]) => part.map((g) => g.toString(16)).join(":");
  if (from < 0) return text(groups);
  return `${text(groups.slice(0, from))}::${text(groups.slice(from + run))}`;
}
