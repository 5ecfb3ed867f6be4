function FindProxyForURL(url, host) {
    for (var i = 0; i < 200; i++) {
        if (isInNet(dnsResolve(host), "127.0.0.0", "255.0.0.0")) return "DIRECT";
    }
    return isResolvable(host) ? "PROXY known.corp.example:3128" : "PROXY unknown.corp.example:3128";
}
