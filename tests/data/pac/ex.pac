function FindProxyForURLEx(url, host) {
    if (isInNetEx(host, "10.0.0.0/8") || isInNetEx(host, "2001:db8::/32")) return "DIRECT";
    return "PROXY six.corp.example:3128";
}
function FindProxyForURL(url, host) {
    return "PROXY four.corp.example:3128";
}
