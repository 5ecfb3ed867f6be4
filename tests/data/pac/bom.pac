function FindProxyForURL(url, host) {
  // für alle
  return "proxy bom.corp.example:8080;direct;";
}
