function FindProxyForURL(url, host) { return "PROXY svc:hunter2@a.corp.example:80"; }
