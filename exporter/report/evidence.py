"""What the log of a firewall or a proxy shows: a Result -> each connection, from where to where, and when. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from exporter.model.patterns import address_of
from exporter.model.vocabulary import (
    CheckKey,
    Contact,
    Phase,
    Reason,
    Requirement,
    Result,
    SocketAddress,
    TlsFacts,
    Tried,
)
from exporter.text.printable import one_line

OF_CERTIFICATES: Final = frozenset({Reason.TLS_UNTRUSTED, Reason.TLS_EXPIRED, Reason.TLS_HOSTNAME_MISMATCH})
_DNS_PORT: Final = 53
_COMMON_NAME: Final = re.compile(r"(?:^|[,+])CN=((?:\\.|[^\\,+])*)", re.DOTALL)  # RFC 4514; the most specific is first
_LONGEST_NAME: Final = 100  # characters; a stranger may have chosen it
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection, or a question to a DNS server, as a firewall sees it."""

    source: SocketAddress | None  # None: not known
    destination: SocketAddress
    protocol: str
    at: float  # Unix time
    seconds: float | None  # until something came of it, or for how long it was waited for; None: not known
    outcome: str
    server_name: str | None = None  # that TLS names in plain text (SNI)
    proxy: str | None = None  # the name of the one that is at the destination
    request: str | None = None  # what that is asked for

    @property
    def to(self) -> str:
        """The other end: `198.18.0.45:443/tcp`."""
        return f"{self.destination}/{self.protocol}"

    @property
    def line(self) -> str:
        """On one line: `from 10.1.2.3:50122 to 198.18.0.45:443/tcp (SNI a.example), 18:28:53 UTC, no answer ...`."""
        source = f"from {self.source} " if self.source else ""
        through = (f"the proxy {self.proxy}" if self.proxy else None, self.request)
        known = ", ".join(filter(None, (*through, f"SNI {self.server_name}" if self.server_name else None)))
        to = f"to {self.to}{f' ({known})' if known else ''}"
        return f"{source}{to}, {moment(self.at):%H:%M:%S} UTC, {self.outcome}"


def connections(result: Result) -> tuple[Connection, ...]:
    """Every address that was tried, in that order; where a name came to nothing, every DNS server that knows of it."""
    key, seen = result.key, result.evidence
    if seen.tried:
        proxied = result.through_proxy
        return tuple(
            Connection(
                one.local,
                SocketAddress(one.address, one.port),
                "tcp",
                one.at,
                one.seconds,
                _end(one, result),
                server_name(key) if one.contact is Contact.OPENED or not proxied else None,
                key.proxy if proxied else None,
                request(key) if one.contact is Contact.OPENED and proxied else None,
            )
            for one in seen.tried
        )
    if result.failure is None or result.failure.phase is not Phase.RESOLVE:
        return ()
    name = "the name of the proxy" if result.through_proxy else key.target.host
    waited = result.phases.get(Phase.RESOLVE)
    return tuple(
        Connection(
            SocketAddress(server.local, 0) if server.local else None,
            SocketAddress(server.address, _DNS_PORT),
            "udp",
            result.started,
            waited,
            f"asked for {name}",
        )
        for server in seen.servers
    )


def decisive(result: Result) -> Connection | None:
    """The connection on which it failed: the one that opened, else the one whose address leads to a remedy."""
    found = connections(result)
    if not result.evidence.tried:
        return found[0] if found else None
    order = list(Contact)
    return min(zip(result.evidence.tried, found, strict=True), key=lambda pair: order.index(pair[0].contact))[1]


def _end(one: Tried, result: Result) -> str:
    """What came of it, with what came after it had opened."""
    later = result.failure if one.contact is Contact.OPENED else None
    return f"{outcome(one)}, then {later.reason}" if later else outcome(one)


def outcome(one: Tried) -> str:
    """What came of asking an address, and after how long."""
    if one.contact is Contact.SILENT and one.error is None:
        return f"no answer within {_lasting(one.seconds)}"
    return f"{one.error or 'opened'} after {_lasting(one.seconds)}"


def server_name(key: CheckKey) -> str | None:
    """The name that TLS names to the server; addresses are not named (RFC 6066, 3)."""
    target = key.target
    named = target.scheme == "https" and address_of(target.host) is None
    return target.host.removesuffix(".") if named else None


def request(key: CheckKey) -> str:
    """What a proxy is asked for, as it stands in its log: `CONNECT a.example:443`, `GET http://a.example/`."""
    target = key.target
    if target.scheme == "http":
        return f"{target.method} {target.url}"
    return f"CONNECT {SocketAddress(target.host, target.port)}"


def issuer(result: Result, needs: Iterable[Requirement]) -> str:
    """Who issued a refused certificate in the service's place; empty where nobody is seen to have."""
    tls, failure = result.evidence.tls, result.failure
    if failure is None or failure.reason not in OF_CERTIFICATES or tls is None or not inspected(tls, needs):
        return ""
    return next((common_name(own.issuer) for own in (*tls.chain, *tls.path)), "")


def presented_by(result: Result) -> str | None:
    """Who issued the certificate that was presented, of the target itself."""
    chain = result.evidence.tls.chain if result.evidence.tls else ()
    return (common_name(chain[0].issuer) or None) if chain else None


def inspected(tls: TlsFacts | None, needs: Iterable[Requirement]) -> bool | None:
    """Whether somebody on the way issued the certificate; None where that is unknown."""
    verdicts = {tls.intercepted(need.endpoint.trust) for need in needs} if tls else set()
    return next((verdict for verdict in (True, False) if verdict in verdicts), None)


def common_name(name: str | None) -> str:
    """The common name in a name as RFC 4514 writes it; the whole name where it has none."""
    match = _COMMON_NAME.search(name or "")
    found = one_line(re.sub(r"\\(.)", r"\1", match[1]) if match else name or "")
    return found if len(found) <= _LONGEST_NAME else f"{found[:_LONGEST_NAME]}..."


def moment(seconds: float) -> datetime:
    """Unix time as a date; any that a certificate can hold, on Windows too."""
    return _EPOCH + timedelta(seconds=seconds)


def _lasting(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
