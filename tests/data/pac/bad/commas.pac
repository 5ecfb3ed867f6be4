function FindProxyForURL(url, host) { return "PROXY a.corp.example:80, PROXY b.corp.example:80"; }
