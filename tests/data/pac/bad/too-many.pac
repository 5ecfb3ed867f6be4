function FindProxyForURL(url, host) { var s = "DIRECT"; for (var i = 0; i < 99; i++) s += "; PROXY p" + i + ".example:80"; return s; }
