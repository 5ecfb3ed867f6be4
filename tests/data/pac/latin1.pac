// für alle
function FindProxyForURL(url, host) { return "PROXY latin.corp.example"; }
