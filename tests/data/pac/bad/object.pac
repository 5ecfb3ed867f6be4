function FindProxyForURL(url, host) { return { proxy: "a.corp.example:80" }; }
