function FindProxyForURL(url, host) { return "http://a.corp.example:80"; }
