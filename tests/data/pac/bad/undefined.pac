function FindProxyForURL(url, host) { }
