if iptables-nft-save 2>/dev/null | grep -q '^:PROXY_INIT_'; then
iptables-nft-restore --noflush <<'END'
*nat
-D PREROUTING -j PROXY_INIT_REDIRECT -m comment --comment proxy-init/install-proxy-init-prerouting
-D OUTPUT -j PROXY_INIT_OUTPUT -m comment --comment proxy-init/install-proxy-init-output
-F PROXY_INIT_REDIRECT
-F PROXY_INIT_OUTPUT
-X PROXY_INIT_REDIRECT
-X PROXY_INIT_OUTPUT
COMMIT
END
fi
if ip6tables-nft-save 2>/dev/null | grep -q '^:PROXY_INIT_'; then
ip6tables-nft-restore --noflush <<'END'
*nat
-D PREROUTING -j PROXY_INIT_REDIRECT -m comment --comment proxy-init/install-proxy-init-prerouting
-D OUTPUT -j PROXY_INIT_OUTPUT -m comment --comment proxy-init/install-proxy-init-output
-F PROXY_INIT_REDIRECT
-F PROXY_INIT_OUTPUT
-X PROXY_INIT_REDIRECT
-X PROXY_INIT_OUTPUT
COMMIT
END
fi
if iptables-legacy-save 2>/dev/null | grep -q '^:PROXY_INIT_'; then
iptables-legacy-restore --noflush <<'END'
*nat
-D PREROUTING -j PROXY_INIT_REDIRECT -m comment --comment proxy-init/install-proxy-init-prerouting
-D OUTPUT -j PROXY_INIT_OUTPUT -m comment --comment proxy-init/install-proxy-init-output
-F PROXY_INIT_REDIRECT
-F PROXY_INIT_OUTPUT
-X PROXY_INIT_REDIRECT
-X PROXY_INIT_OUTPUT
COMMIT
END
fi
if ip6tables-legacy-save 2>/dev/null | grep -q '^:PROXY_INIT_'; then
ip6tables-legacy-restore --noflush <<'END'
*nat
-D PREROUTING -j PROXY_INIT_REDIRECT -m comment --comment proxy-init/install-proxy-init-prerouting
-D OUTPUT -j PROXY_INIT_OUTPUT -m comment --comment proxy-init/install-proxy-init-output
-F PROXY_INIT_REDIRECT
-F PROXY_INIT_OUTPUT
-X PROXY_INIT_REDIRECT
-X PROXY_INIT_OUTPUT
COMMIT
END
fi
