"""Every fault that the exporter must name, and what resembles one: how the laboratory makes it, and its true reason.

The true reason leads to whoever has to change something. Where the same fault looks different behind a proxy, or where
it cannot be known from where the exporter stands, a comment says why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from exporter.model import Reason
from tests.lab import PROXY_HOST, Denial, Flaw, Lab, Port
from tests.lab.scripts import HOLD, READ, READ_HEAD, RESET, Step, drip, relay, send, sleep, tls

PAGES: Final = Path(__file__).with_name("data") / "truth"
HEALTHY: Final = "healthy.fault.example"  # the target of probes through a proxy that is at fault itself
DUAL_STACK: Final = "dual.corp.example"


class Way(StrEnum):
    """The paths by which a target is asked for."""

    DIRECT = "direct"
    PROXY = "proxy"
    SIGNED_IN = "authenticated proxy"


Outcome: TypeAlias = Reason | None  # None: usable
UP: Final[Outcome] = None
Expected: TypeAlias = Mapping[Way, Outcome]
Inject: TypeAlias = Callable[[Lab, str], AbstractContextManager[object]]


class Via(StrEnum):
    """Which proxy the exporter is told to use where it is to use one."""

    CORPORATE = "corporate"  # open, or with the right password where it asks for one
    ASKING = "asking"  # asks for a password where the exporter has none
    WRONG_PASSWORD = "wrong password"  # noqa: S105 - says what is wrong, and is none
    INSPECTING = "inspecting"
    OWN = "own"  # the fault's host is the proxy, and HEALTHY the target


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, or only looks so, on a host of its own: many can be in force at once."""

    name: str
    scheme: str
    expected: Expected
    inject: Inject
    via: Via = Via.CORPORATE
    trusts_inspection: bool = False
    on: str | None = None  # a host of the laboratory that has what the fault needs

    @property
    def title(self) -> str:
        """Its name in the table, unique."""
        return f"{self.name} ({self.scheme})"

    @property
    def slug(self) -> str:
        """The same as a part of file names and host names."""
        return re.sub("[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def host(self) -> str:
        """Where it is injected."""
        return self.on or f"{self.slug}.fault.example"

    @property
    def url(self) -> str:
        """What is asked for."""
        return f"{self.scheme}://{HEALTHY if self.via is Via.OWN else self.host}/"


# ---------------------------------------------------------------- what is expected


def _paths(direct: Outcome, proxy: Outcome, signed_in: Outcome) -> Expected:
    return MappingProxyType({Way.DIRECT: direct, Way.PROXY: proxy, Way.SIGNED_IN: signed_in})


def _everywhere(outcome: Outcome) -> Expected:
    return _paths(outcome, outcome, outcome)


def _behind(direct: Outcome, proxied: Outcome) -> Expected:
    return _paths(direct, proxied, proxied)


def _https(
    name: str, expected: Expected, inject: Inject, via: Via = Via.CORPORATE, *, trusts_inspection: bool = False
) -> Fault:
    return Fault(name, "https", expected, inject, via, trusts_inspection)


def _http(name: str, expected: Expected, inject: Inject, via: Via = Via.CORPORATE) -> Fault:
    return Fault(name, "http", expected, inject, via)


def _both(
    name: str, https: Expected, inject: Inject, via: Via = Via.CORPORATE, *, http: Expected | None = None
) -> Iterator[Fault]:
    yield _https(name, https, inject, via)
    yield _http(name, https if http is None else http, inject, via)


# ---------------------------------------------------------------- how it is made


def nothing(_lab: Lab, _host: str) -> AbstractContextManager[None]:
    return nullcontext()


def _certificate(flaw: Flaw) -> Inject:
    return lambda lab, host: lab.certificate(host, flaw)


def _denies(denial: Denial) -> Inject:
    return lambda lab, host: lab.proxy_denies(host, denial)


def _tls_port(*script: Step) -> Inject:
    """The port for https does this."""
    return lambda lab, host: lab.script(host, 443, script)


def _proxy_port(*script: Step) -> Inject:
    """The host is a proxy and does this."""
    return lambda lab, host: lab.script(host, Port.OPEN, script)


def _after_request(*script: Step) -> Inject:
    """The host takes a request on both ports, and then does this."""

    @contextmanager
    def inject(lab: Lab, host: str) -> Iterator[None]:
        with (
            lab.script(host, 80, (READ_HEAD, *script)),
            lab.script(host, 443, (tls(), READ_HEAD, *script)),
        ):
            yield

    return inject


def _answers(head: str, body: str = "") -> Inject:
    return _after_request(send(_message(head, body)))


def _message(head: str, body: str = "") -> str:
    lines = head.splitlines()
    if " 204 " not in lines[0] and "Content-Length:" not in head:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "Connection: close", "", body])


def _status(code: int, header: str = "") -> Inject:
    return _answers(f"HTTP/1.1 {code} Status\n{header}".strip())


def _page(path: Path) -> Inject:
    head, _, body = path.read_text(encoding="ascii").partition("\n\n")
    return _answers(head, body)


def _resolver_silent(lab: Lab, host: str) -> AbstractContextManager[object]:
    return lab.dns_silent(host)


def _delayed_data(seconds: float) -> Inject:
    @contextmanager
    def inject(lab: Lab, host: str) -> Iterator[None]:
        with lab.delay_data(host, 80, seconds), lab.delay_data(host, 443, seconds):
            yield

    return inject


# ---------------------------------------------------------------- names


def _names() -> Iterator[Fault]:
    # Behind a proxy it is the proxy that resolves, and says so with a page or a status of its own.
    yield from _both("name not found", _behind(Reason.DNS_NOT_FOUND, Reason.PROXY_ERROR), Lab.dns_missing)
    yield from _both("name without address", _behind(Reason.DNS_NOT_FOUND, Reason.PROXY_ERROR), Lab.dns_without_address)
    yield from _both("resolver fails", _behind(Reason.DNS_ERROR, Reason.PROXY_ERROR), Lab.dns_servfail)
    yield from _both("resolver refuses", _behind(Reason.DNS_ERROR, Reason.PROXY_ERROR), Lab.dns_refused)
    # The proxy's resolver is the silent one; the proxy gives up before the exporter does.
    yield from _both("resolver silent", _behind(Reason.DNS_TIMEOUT, Reason.PROXY_ERROR), _resolver_silent)
    yield from _both("resolver slow", _everywhere(UP), lambda lab, host: lab.delay_names(host, 0.5))


# ---------------------------------------------------------------- connections


def _connections() -> Iterator[Fault]:
    # Behind a proxy it is the proxy that cannot connect: whoever looks must begin at its log.
    yield from _both("packets dropped", _behind(Reason.CONNECT_TIMEOUT, Reason.PROXY_ERROR), Lab.drop)
    yield from _both("connection reset", _behind(Reason.CONNECT_REFUSED, Reason.PROXY_ERROR), Lab.reset)
    yield from _both("prohibited by ICMP", _behind(Reason.CONNECT_UNREACHABLE, Reason.PROXY_ERROR), Lab.prohibit)
    yield from _both("no route", _behind(Reason.CONNECT_UNREACHABLE, Reason.PROXY_ERROR), Lab.no_route)
    yield from _both("first packet lost", _everywhere(UP), Lab.delay_connect)
    for scheme in ("https", "http"):
        yield Fault("IPv6 dead, IPv4 well", scheme, _everywhere(UP), Lab.drop_ipv6, on=DUAL_STACK)


# ---------------------------------------------------------------- proxies


def _proxies() -> Iterator[Fault]:
    unreachable = _behind(UP, Reason.PROXY_UNREACHABLE)
    yield from _both("proxy: port closed", unreachable, nothing, Via.OWN)
    yield from _both("proxy: packets dropped", unreachable, Lab.drop, Via.OWN)
    yield from _both("proxy: prohibited by ICMP", unreachable, Lab.prohibit, Via.OWN)
    # A resolver that answers is well: the URL of the proxy is wrong, or its name is missing.
    yield from _both("proxy: name not found", unreachable, Lab.dns_missing, Via.OWN)
    # The exporter's own resolver is at fault, whichever name it is asked for.
    yield from _both("proxy: resolver silent", _behind(UP, Reason.DNS_TIMEOUT), _resolver_silent, Via.OWN)
    yield from _both("proxy: resolver fails", _behind(UP, Reason.DNS_ERROR), Lab.dns_servfail, Via.OWN)

    wants = _paths(UP, Reason.PROXY_AUTH_REQUIRED, UP)
    yield from _both("proxy: wants a password", wants, nothing, Via.ASKING)
    yield from _both("proxy: wrong password", _paths(UP, UP, Reason.PROXY_AUTH_REQUIRED), nothing, Via.WRONG_PASSWORD)

    # One rule and one person to change it, whether the answer is to CONNECT or to a request, and however it looks.
    denied = _behind(UP, Reason.PROXY_DENIED)
    yield from _both("proxy: denies", denied, _denies(Denial.PAGE))
    yield from _both("proxy: denies with a page of its owner", denied, _denies(Denial.CUSTOM_PAGE))
    yield from _both("proxy: denies by redirect", denied, _denies(Denial.REDIRECT))

    # Who hangs up or does not speak HTTP is the proxy: had the target done so, it would have answered 502.
    broken = _behind(UP, Reason.PROXY_ERROR)
    yield from _both("proxy: denies by reset", broken, _denies(Denial.RESET))
    yield from _both("proxy: closes after request", broken, _proxy_port(READ_HEAD), Via.OWN)
    yield from _both("proxy: resets after request", broken, _proxy_port(READ_HEAD, RESET), Via.OWN)
    yield from _both("proxy: answers garbage", broken, _proxy_port(READ_HEAD, send("SSH-2.0-OpenSSH_9.2\r\n")), Via.OWN)
    for status, error in ((500, "CANNOT_FORWARD"), (502, "READ_ERROR"), (503, "DNS_FAIL"), (504, "READ_TIMEOUT")):
        page = _message(f"HTTP/1.1 {status} Status\nServer: squid/6.9\nX-Squid-Error: ERR_{error} 110", "<html></html>")
        yield from _both(f"proxy: own page with {status}", broken, _proxy_port(READ_HEAD, send(page)), Via.OWN)
    # No rule denies anything; the URL of the proxy leads to a server that is none.
    no_proxy = _message("HTTP/1.1 405 Not Allowed\nServer: nginx/1.22.1", "<html></html>")
    yield _https("proxy: is a web server", broken, _proxy_port(READ_HEAD, send(no_proxy)), Via.OWN)
    # CONNECT is the proxy's own matter. A request that it has taken may wait for the target as well as for the proxy,
    # and nothing tells from here which: the phase is all that is known.
    silent = _behind(UP, Reason.HTTP_TIMEOUT)
    yield from _both("proxy: silent after request", broken, _proxy_port(READ_HEAD, HOLD), Via.OWN, http=silent)
    opened = send("HTTP/1.1 200 Connection established\r\n\r\n")
    yield _https("proxy: tunnel silent", _behind(UP, Reason.TLS_TIMEOUT), _proxy_port(READ_HEAD, opened, HOLD), Via.OWN)
    yield _https(
        "proxy: tunnel closed", _behind(UP, Reason.TLS_HANDSHAKE), _proxy_port(READ_HEAD, opened, READ), Via.OWN
    )
    yield from _both("proxy: slow", _everywhere(UP), _slow_proxy, Via.OWN)


def _slow_proxy(lab: Lab, host: str) -> AbstractContextManager[object]:
    """The corporate proxy's open port, half a second late; it does not mind credentials that nobody asked for."""
    return lab.script(host, Port.OPEN, (sleep(0.5), relay(lab.address_of[PROXY_HOST], Port.OPEN)))


def _inspection() -> Iterator[Fault]:
    def inspected(name: str, expected: Expected, inject: Inject) -> Fault:
        return _https(f"inspected: {name}", expected, inject, Via.INSPECTING, trusts_inspection=True)

    yield _https("inspected: untrusted", _behind(UP, Reason.TLS_UNTRUSTED), nothing, Via.INSPECTING)
    yield inspected("trusted", _everywhere(UP), nothing)
    # The tunnel opens whatever comes of it. Then a page comes through it, under a certificate that verifies: one that
    # blocks, or one that says what the proxy could not do.
    yield inspected("denied", _behind(UP, Reason.HTTP_BLOCKED), _denies(Denial.PAGE))
    yield inspected("connection reset", _behind(Reason.CONNECT_REFUSED, Reason.PROXY_ERROR), Lab.reset)
    yield inspected("name not found", _behind(Reason.DNS_NOT_FOUND, Reason.PROXY_ERROR), Lab.dns_missing)
    yield inspected("expired", _behind(Reason.TLS_EXPIRED, Reason.PROXY_ERROR), _certificate(Flaw.EXPIRED))
    yield inspected("status 451", _everywhere(Reason.HTTP_BLOCKED), _status(451))


# ---------------------------------------------------------------- TLS


def _tls_faults() -> Iterator[Fault]:
    # Nothing of this depends on the path: a tunnel carries it as it is.
    timeout, handshake = _everywhere(Reason.TLS_TIMEOUT), _everywhere(Reason.TLS_HANDSHAKE)
    expired, untrusted = _everywhere(Reason.TLS_EXPIRED), _everywhere(Reason.TLS_UNTRUSTED)
    yield _https("TLS: silent after ClientHello", timeout, _tls_port(READ, HOLD))
    yield _https("TLS: reset in the handshake", handshake, _tls_port(READ, RESET))
    yield _https("TLS: closed in the handshake", handshake, _tls_port(READ))
    yield _https("TLS: alert", handshake, lambda lab, host: lab.serve(host, "ssl_reject_handshake on;"))
    yield _https("TLS: only 1.1", handshake, _tls_port(tls(newest="TLSv1_1"), HOLD))
    # Cipher suites for RSA keys, which the host's certificate has not.
    yield _https("TLS: no common cipher", handshake, _tls_port(tls(newest="TLSv1_2", ciphers="kRSA"), HOLD))
    # In TLS 1.3 the client has finished before the server says no: that comes in the next phase, but is of this one.
    yield _https("TLS: wants a client certificate", handshake, _tls_port(tls(client_certificate=True), HOLD))
    yield _https("TLS: plain text", handshake, _tls_port(READ, send(_message("HTTP/1.1 400 Bad Request"))))
    yield _https("TLS: expired", expired, _certificate(Flaw.EXPIRED))
    yield _https("TLS: intermediate expired", expired, _certificate(Flaw.EXPIRED_INTERMEDIATE))
    yield _https("TLS: not yet valid", expired, _certificate(Flaw.NOT_YET_VALID))  # the same clocks are to be looked at
    yield _https("TLS: wrong name", _everywhere(Reason.TLS_HOSTNAME_MISMATCH), _certificate(Flaw.WRONG_NAME))
    yield _https("TLS: unknown root", untrusted, _certificate(Flaw.UNKNOWN_ROOT))
    yield _https("TLS: self-signed", untrusted, _certificate(Flaw.SELF_SIGNED))
    yield _https("TLS: intermediate missing", untrusted, _certificate(Flaw.MISSING_INTERMEDIATE))


# ---------------------------------------------------------------- HTTP


def _http_faults() -> Iterator[Fault]:
    timeout, reset, protocol = Reason.HTTP_TIMEOUT, Reason.HTTP_RESET, Reason.HTTP_PROTOCOL
    # The proxy of a plain request answers for the target with a page of its own: 502, and what the target did.
    page = Reason.PROXY_ERROR
    yield from _both("silent after request", _everywhere(timeout), _after_request(HOLD))
    yield from _both("closed after request", _everywhere(reset), _after_request(), http=_behind(reset, page))
    yield from _both("reset after request", _everywhere(reset), _after_request(RESET), http=_behind(reset, page))
    yield from _both(
        # Squid makes an answer of it, "200 Gatewaying", and notes from what: X-Transformed-From. It is still no HTTP.
        "garbage",
        _everywhere(protocol),
        _after_request(send("SSH-2.0-OpenSSH_9.2\r\n"), READ),
    )
    filler = f"X-Filler: {'x' * 1000}\r\n"
    endless = _after_request(send("HTTP/1.1 200 OK\r\n"), send(filler, 1000), HOLD)
    yield from _both("head without end", _everywhere(protocol), endless, http=_behind(protocol, page))
    many = _after_request(send("HTTP/1.1 200 OK\r\n"), send("X: y\r\n", 50_000), send("\r\n"))
    yield from _both("too many header lines", _everywhere(protocol), many, http=_behind(protocol, page))

    yield from _both("answer slow", _everywhere(UP), lambda lab, host: lab.delay_answer(host, 0.5))
    yield from _both("first bytes slow", _everywhere(UP), _delayed_data(0.5))
    long = send("HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n")
    yield from _both("body drips", _everywhere(UP), _after_request(long, drip("x", 0.2)))
    yield from _both("body huge", _everywhere(UP), _after_request(long, send("x" * 1024, 1024), HOLD))
    chunked = send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    yield from _both("body garbage", _everywhere(UP), _after_request(chunked, send("no chunk\r\n"), READ))
    early = send("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n")
    yield from _both("early hints first", _everywhere(UP), _after_request(early, send(_message("HTTP/1.1 200 OK"))))


def _statuses() -> Iterator[Fault]:
    for code in (408, 426, 502, 598, 599):
        yield from _both(f"status {code}", _everywhere(Reason.HTTP_STATUS), _status(code))
    # 407 is a matter between a client and the next proxy (RFC 9110): where that one passes it on, it is its own.
    asks = _behind(Reason.HTTP_STATUS, Reason.PROXY_AUTH_REQUIRED)
    challenge = 'Proxy-Authenticate: Basic realm="proxy"'
    yield from _both("status 407", _everywhere(Reason.HTTP_STATUS), _status(407, challenge), http=asks)
    for code in (451, 511):
        yield from _both(f"status {code}", _everywhere(Reason.HTTP_BLOCKED), _status(code))
    for code in (200, 204, 400, 403, 404, 500, 503):
        yield from _both(f"status {code}", _everywhere(UP), _status(code))
    yield from _both("status 401", _everywhere(UP), _status(401, "WWW-Authenticate: Negotiate"))


def _pages() -> Iterator[Fault]:
    blocked = _everywhere(Reason.HTTP_BLOCKED)
    for path in _files("block"):
        # Where a proxy is asked for a plain URL, an error page with the mark of such a product is the proxy's own, as
        # far as anybody can tell from here, and the same status in answer to CONNECT would be. A redirect or a 200 is
        # rather that of a device on the way.
        plain = _behind(Reason.HTTP_BLOCKED, Reason.PROXY_DENIED) if _is_error(path) else blocked
        yield from _both(f"block page: {path.stem}", blocked, _page(path), http=plain)
    for path in _files("captive"):
        yield from _both(f"captive portal: {path.stem}", blocked, _page(path))
    for path in _files("login"):
        # A cloud proxy or a filter on the way wants a login: that is not a policy's denial.
        yield from _both(f"login page: {path.stem}", _everywhere(Reason.PROXY_AUTH_REQUIRED), _page(path))
    for path in _files("error"):
        # Nobody blocks anything: a proxy, configured or on the way, could not do its work.
        yield from _both(f"error page: {path.stem}", _everywhere(Reason.PROXY_ERROR), _page(path))
    for path in _files("innocent"):
        yield from _both(path.stem.replace("-", " "), _everywhere(UP), _page(path))


def _files(kind: str) -> list[Path]:
    return sorted((PAGES / kind).glob("*.http"))


def _is_error(page: Path) -> bool:
    status = int(page.read_text(encoding="ascii").split()[1])
    return status >= HTTPStatus.BAD_REQUEST


FAULTS: Final = (
    *_names(),
    *_connections(),
    *_proxies(),
    *_inspection(),
    *_tls_faults(),
    *_http_faults(),
    *_statuses(),
    *_pages(),
)
HOSTS: Final = frozenset({HEALTHY, *(fault.host for fault in FAULTS)})
