function FindProxyForURL(url, host) { return "PROXY a.corp.example:99999"; }
