"""The laboratory's DNS: dnsmasq, which knows the hosts it is given and no others."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from .network import NAME_SERVER, RESPONDER, Network

# Without an upstream server, what the two files do not hold does not exist (`local=/#/`).
_CONFIG: Final = """\
keep-in-foreground
log-facility=-
pid-file=
user=root
listen-address={address}
bind-interfaces
no-resolv
no-hosts
addn-hosts={hosts}
servers-file={servers}
local=/#/
cache-size=0
"""


class Names:
    """The names in force; what changes them returns when the change is in force."""

    def __init__(self, network: Network, addresses_of: Mapping[str, tuple[str, ...]]) -> None:
        self._addresses_of = addresses_of
        self._hosts = network.directory / "hosts"
        self._servers = network.directory / "servers.conf"
        self._missing: set[str] = set()
        self._elsewhere: dict[str, int] = {}  # host -> the port at RESPONDER that answers for it
        self._write()
        config = network.directory / "dnsmasq.conf"
        config.write_text(_CONFIG.format(address=NAME_SERVER, hosts=self._hosts, servers=self._servers))
        self._server = network.serve("dnsmasq", ["dnsmasq", f"--conf-file={config}"])

    def wait(self) -> None:
        """Return when names are answered."""
        self._server.wait_until("answering", lambda: self._times_read() > 0)

    @contextmanager
    def missing(self, host: str) -> Iterator[None]:
        """Take the host out of the DNS."""
        self._missing.add(host)
        self._reload()
        try:
            yield
        finally:
            self._missing.remove(host)
            self._reload()

    @contextmanager
    def elsewhere(self, host: str, port: int) -> Iterator[None]:
        """Have every question for the host answered by this port at RESPONDER."""
        self._elsewhere[host] = port
        self._reload()
        try:
            yield
        finally:
            del self._elsewhere[host]
            self._reload()

    def _write(self) -> None:
        absent = self._missing | self._elsewhere.keys()
        self._hosts.write_text(
            "".join(
                f"{address} {host}\n"
                for host, addresses in self._addresses_of.items()
                if host not in absent
                for address in addresses
            )
        )
        # `server` speaks for all names below the host as well, so the known ones among them are taken out again.
        forwarded = [f"server=/{host}/{RESPONDER[0]}#{port}\n" for host, port in self._elsewhere.items()]
        spared = [
            f"server=/{other}/\n"
            for other in self._addresses_of.keys() - self._elsewhere.keys()
            if any(other.endswith(f".{host}") for host in self._elsewhere)
        ]
        self._servers.write_text("".join(forwarded + spared))

    def _reload(self) -> None:
        read = self._times_read()
        self._write()
        self._server.process.send_signal(signal.SIGHUP)
        # dnsmasq reads both files before it looks at the next question.
        self._server.wait_until("reading its names again", lambda: self._times_read() > read)

    def _times_read(self) -> int:
        return self._server.said().count(f"read {self._hosts} ")
