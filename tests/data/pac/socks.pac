function FindProxyForURL(url, host) {
    if (host == "only.example") return "SOCKS5 socks.corp.example:1080; SOCKS socks.corp.example:1080";
    return "SOCKS5 socks.corp.example:1080; PROXY proxy.corp.example:3128";
}
