function FindProxyForURL(url, host) { throw "no proxy for " + host; }
