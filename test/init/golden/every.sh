nsenter --net=/run/netns/pod -- sysctl -w net.netfilter.nf_conntrack_tcp_timeout_close_wait=3600
nsenter --net=/run/netns/pod -- iptables-legacy-restore --noflush --wait 5 <<'END'
*nat
:PROXY_INIT_REDIRECT - [0:0]
:PROXY_INIT_OUTPUT - [0:0]
-A PROXY_INIT_REDIRECT -p tcp --match multiport --dports 1:2,3:4,5:6,7:8,9:10,11:12,13:14,15 -j RETURN -m comment --comment proxy-init/ignore-port-1:2,3:4,5:6,7:8,9:10,11:12,13:14,15
-A PROXY_INIT_REDIRECT -p tcp --match multiport --dports 16 -j RETURN -m comment --comment proxy-init/ignore-port-16
-A PROXY_INIT_REDIRECT -p all -j RETURN -s 10.0.0.0/8 -m comment --comment proxy-init/ignore-subnet-10.0.0.0/8
-A PROXY_INIT_REDIRECT -p tcp --destination-port 80 -j REDIRECT --to-port 4143 -m comment --comment proxy-init/redirect-port-80-to-proxy-port
-A PROXY_INIT_REDIRECT -p tcp --destination-port 443 -j REDIRECT --to-port 4143 -m comment --comment proxy-init/redirect-port-443-to-proxy-port
-A PROXY_INIT_OUTPUT -m owner --uid-owner 2102 -j RETURN -m comment --comment proxy-init/ignore-proxy-user-id
-A PROXY_INIT_OUTPUT -m owner --gid-owner 2103 -j RETURN -m comment --comment proxy-init/ignore-proxy-group-id
-A PROXY_INIT_OUTPUT -o lo -j RETURN -m comment --comment proxy-init/ignore-loopback
-A PROXY_INIT_OUTPUT -p tcp --match multiport --dports 25 -j RETURN -m comment --comment proxy-init/ignore-port-25
-A PROXY_INIT_OUTPUT -p tcp -j REDIRECT --to-port 4140 -m comment --comment proxy-init/redirect-all-outgoing-to-proxy-port
-A PREROUTING -j PROXY_INIT_REDIRECT -m comment --comment proxy-init/install-proxy-init-prerouting
-A OUTPUT -j PROXY_INIT_OUTPUT -m comment --comment proxy-init/install-proxy-init-output
COMMIT
END
nsenter --net=/run/netns/pod -- ip6tables-legacy-restore --noflush --wait 5 <<'END'
*nat
:PROXY_INIT_REDIRECT - [0:0]
:PROXY_INIT_OUTPUT - [0:0]
-A PROXY_INIT_REDIRECT -p tcp --match multiport --dports 1:2,3:4,5:6,7:8,9:10,11:12,13:14,15 -j RETURN -m comment --comment proxy-init/ignore-port-1:2,3:4,5:6,7:8,9:10,11:12,13:14,15
-A PROXY_INIT_REDIRECT -p tcp --match multiport --dports 16 -j RETURN -m comment --comment proxy-init/ignore-port-16
-A PROXY_INIT_REDIRECT -p all -j RETURN -s fd00::/8 -m comment --comment proxy-init/ignore-subnet-fd00::/8
-A PROXY_INIT_REDIRECT -p tcp --destination-port 80 -j REDIRECT --to-port 4143 -m comment --comment proxy-init/redirect-port-80-to-proxy-port
-A PROXY_INIT_REDIRECT -p tcp --destination-port 443 -j REDIRECT --to-port 4143 -m comment --comment proxy-init/redirect-port-443-to-proxy-port
-A PROXY_INIT_OUTPUT -m owner --uid-owner 2102 -j RETURN -m comment --comment proxy-init/ignore-proxy-user-id
-A PROXY_INIT_OUTPUT -m owner --gid-owner 2103 -j RETURN -m comment --comment proxy-init/ignore-proxy-group-id
-A PROXY_INIT_OUTPUT -o lo -j RETURN -m comment --comment proxy-init/ignore-loopback
-A PROXY_INIT_OUTPUT -p tcp --match multiport --dports 25 -j RETURN -m comment --comment proxy-init/ignore-port-25
-A PROXY_INIT_OUTPUT -p tcp -j REDIRECT --to-port 4140 -m comment --comment proxy-init/redirect-all-outgoing-to-proxy-port
-A PREROUTING -j PROXY_INIT_REDIRECT -m comment --comment proxy-init/install-proxy-init-prerouting
-A OUTPUT -j PROXY_INIT_OUTPUT -m comment --comment proxy-init/install-proxy-init-output
COMMIT
END
