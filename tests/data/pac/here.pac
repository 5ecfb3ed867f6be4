function FindProxyForURL(url, host) { return "PROXY " + myIpAddress() + ":3128"; }
