// Two sites, each with a proxy of its own first and the other's behind it; the networks inside are reached direct.
var WEST = "PROXY west.corp.example:3128; PROXY east.corp.example:3128";
var EAST = "PROXY east.corp.example:3128; PROXY west.corp.example:3128";
var NOWHERE = "PROXY 127.0.0.1:9";

function FindProxyForURL(url, host) {
    host = host.toLowerCase();
    if (isPlainHostName(host) || dnsDomainIs(host, ".corp.example") || localHostOrDomainIs(host, "www.partner.example"))
        return "DIRECT";
    if (isInNet(host, "10.0.0.0", "255.0.0.0") || isInNet(host, "192.168.0.0", "255.255.0.0"))
        return "DIRECT";
    if (shExpMatch(host, "*.ads.example") || shExpMatch(url, "http://*/banner/*"))
        return NOWHERE;
    if (shExpMatch(host, "*.manage.microsoft.com") || host == "go.microsoft.com")
        return WEST + "; DIRECT";
    if (dnsDomainLevels(host) > 3)
        return EAST;
    if (url.substring(0, 6) == "https:")
        return "HTTPS secure.corp.example:8443; " + WEST;
    return WEST;
}
