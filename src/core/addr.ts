// Socket addresses: parsed once where text enters (flags, environment, YAML, the wire), plain values
// from there on.

/** An IP address and a port. `ip` has no brackets; an IPv4-mapped IPv6 address is written as IPv4. */
export interface SocketAddr {
  readonly ip: string;
  readonly port: number;
}

const IPV4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

/** True for a dotted IPv4 address with every part in 0–255. */
export function isIpv4(text: string): boolean {
  const m = IPV4.exec(text);
  return m !== null && m.slice(1).every((part) => Number(part) <= 255);
}

/** True for what the URL parser accepts as an IPv6 address (RFC 4291 §2.2), without brackets or zone. */
export function isIpv6(text: string): boolean {
  return text.includes(":") && !text.includes("%") && URL.canParse(`http://[${text}]/`);
}

/** Writes an IPv4-mapped address (`::ffff:10.0.0.1`) as IPv4 and lower-cases the rest. */
export function normalizeIp(ip: string): string {
  const lower = ip.toLowerCase();
  return lower.startsWith("::ffff:") && isIpv4(lower.slice(7)) ? lower.slice(7) : lower;
}

/** Splits `host:port` or `[v6]:port`. `port` is null where none is written; throws on anything else. */
export function splitHostPort(text: string): { host: string; port: number | null } {
  const m = /^(?:\[([^\]]+)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(text);
  const host = m?.[1] ?? m?.[2] ?? "";
  const port = m?.[3] === undefined ? null : Number(m[3]);
  if (m === null || host === "" || (port !== null && port > 65535)) {
    throw new Error(`"${text}" is not an address: write HOST:PORT, or [IPV6]:PORT`);
  }
  return { host, port };
}

/** Parses `1.2.3.4:80` or `[::1]:80`. Throws an error that names the text when it is not an address. */
export function parseSocketAddr(text: string): SocketAddr {
  const { host, port } = splitHostPort(text);
  if (port === null || !(isIpv4(host) || isIpv6(host))) {
    throw new Error(`"${text}" is not an address: write IP:PORT, or [IPV6]:PORT`);
  }
  return { ip: normalizeIp(host), port };
}

/** The inverse of `parseSocketAddr`. */
export function formatSocketAddr(addr: SocketAddr): string {
  return addr.ip.includes(":") ? `[${addr.ip}]:${addr.port}` : `${addr.ip}:${addr.port}`;
}
