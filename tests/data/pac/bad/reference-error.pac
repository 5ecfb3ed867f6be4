function FindProxyForURL(url, host) { return findProxy(host); }
