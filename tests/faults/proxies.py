"""Faults of proxies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from exporter.model.vocabulary import Cause, Reason
from tests.lab import PROXY_HOST, Denial, Flaw, Lab, Port
from tests.lab.scripts import HANG_UP, HOLD, READ, READ_HEAD, RESET, Step, relay, repeat, send, sleep, tls, when_said

from .fault import (
    BLOCKED,
    EXPECTS_TLS,
    HEALTHY,
    INSPECTION,
    UP,
    Etc,
    Expected,
    Fault,
    Inject,
    Via,
    behind,
    certificate,
    denies,
    everywhere,
    message,
    nothing,
    over_both,
    over_http,
    over_https,
    paths,
    proxy_port,
    resolver_silent,
    status,
)


def proxies() -> Iterator[Fault]:
    unreachable = behind(UP, Reason.PROXY_UNREACHABLE)
    yield from over_both("proxy: port closed", unreachable, nothing, via=Via.OWN)
    yield from over_both("proxy: packets dropped", unreachable, Lab.drop, via=Via.OWN)
    yield from over_both("proxy: prohibited by ICMP", unreachable, Lab.prohibit, via=Via.OWN)
    # A resolver that answers is well: the URL of the proxy is wrong, or its name is missing.
    yield from over_both("proxy: name not found", unreachable, Lab.dns_missing, via=Via.OWN)
    # The exporter's own resolver is at fault, whichever name it is asked for.
    yield from over_both("proxy: resolver silent", behind(UP, Reason.DNS_TIMEOUT), resolver_silent, via=Via.OWN)
    yield from over_both("proxy: resolver fails", behind(UP, Reason.DNS_ERROR), Lab.dns_servfail, via=Via.OWN)

    wants = paths(UP, Reason.PROXY_AUTH_REQUIRED, UP)
    yield from over_both("proxy: wants a password", wants, nothing, via=Via.ASKING)
    yield from over_both(
        "proxy: wrong password", paths(UP, UP, Reason.PROXY_AUTH_REQUIRED), nothing, via=Via.WRONG_PASSWORD
    )

    # One rule and one person to change it, whether the answer is to CONNECT or to a request, and however it looks.
    denied = behind(UP, Reason.PROXY_DENIED)
    yield from over_both("proxy: denies", denied, denies(Denial.PAGE))
    yield from over_both("proxy: denies with a page of its owner", denied, denies(Denial.CUSTOM_PAGE))
    yield from over_both("proxy: denies by redirect", denied, denies(Denial.REDIRECT))

    # Who hangs up or does not speak HTTP is the proxy: had the target done so, it would have answered 502.
    broken = behind(UP, Reason.PROXY_ERROR)
    yield from over_both("proxy: denies by reset", broken, denies(Denial.RESET))
    yield from over_both("proxy: closes after request", broken, proxy_port(READ_HEAD), via=Via.OWN)
    yield from over_both("proxy: resets after request", broken, proxy_port(READ_HEAD, RESET), via=Via.OWN)
    yield from over_both(
        "proxy: answers garbage", broken, proxy_port(READ_HEAD, send("SSH-2.0-OpenSSH_9.2\r\n")), via=Via.OWN
    )
    for code, error in ((500, "CANNOT_FORWARD"), (502, "READ_ERROR"), (503, "DNS_FAIL"), (504, "READ_TIMEOUT")):
        page = message(f"HTTP/1.1 {code} Status\nServer: squid/6.9\nX-Squid-Error: ERR_{error} 110", "<html></html>")
        yield from over_both(f"proxy: own page with {code}", broken, proxy_port(READ_HEAD, send(page)), via=Via.OWN)
    # No rule denies anything; the URL of the proxy leads to a server that is none.
    no_proxy = message("HTTP/1.1 405 Not Allowed\nServer: nginx/1.22.1", "<html></html>")
    yield over_https(
        "proxy: is a web server", broken, proxy_port(READ_HEAD, send(no_proxy)), via=Via.OWN, cause=Cause.NOT_A_PROXY
    )
    # CONNECT is the proxy's own matter. A request that it has taken may wait for the target as well as for the proxy,
    # and nothing tells from here which: the phase is all that is known.
    silent = behind(UP, Reason.HTTP_TIMEOUT)
    yield from over_both("proxy: silent after request", broken, proxy_port(READ_HEAD, HOLD), via=Via.OWN, http=silent)
    opened = send("HTTP/1.1 200 Connection established\r\n\r\n")
    yield over_https(
        "proxy: tunnel silent", behind(UP, Reason.TLS_TIMEOUT), proxy_port(READ_HEAD, opened, HOLD), via=Via.OWN
    )
    yield over_https(
        "proxy: tunnel closed", behind(UP, Reason.TLS_HANDSHAKE), proxy_port(READ_HEAD, opened, READ), via=Via.OWN
    )
    yield over_https("proxy: first address dead", everywhere(UP), _first_address_dead, via=Via.OWN)
    yield from over_both("proxy: slow", everywhere(UP), _slow_proxy, via=Via.OWN)


def _slow_proxy(lab: Lab, host: str) -> AbstractContextManager[object]:
    """The corporate proxy's open port, half a second late; it does not mind credentials that nobody asked for."""
    return lab.script(host, Port.OPEN, (sleep(0.5), relay(lab.address_of[PROXY_HOST], Port.OPEN)))


def conversations() -> Iterator[Fault]:
    # Who has an account gets through, however the proxy goes about asking for it.
    wants = paths(UP, Reason.PROXY_AUTH_REQUIRED, UP)
    asks = 'HTTP/1.1 407 Proxy Authentication Required\nProxy-Authenticate: Basic realm="corp"'
    ways = {
        "closes after 407, says so": (f"{asks}\nProxy-Connection: close", (HANG_UP,)),
        "closes after 407, says nothing": (asks, (HANG_UP,)),
        "closes after 407, says it stays": (f"{asks}\nProxy-Connection: keep-alive", (HANG_UP,)),
        "resets after 407": (asks, (RESET,)),
        "asks by HTTP/1.0": (asks.replace("1.1", "1.0"), (HANG_UP,)),
        "asks by HTTP/1.0 and stays": (f"{asks}\nProxy-Connection: keep-alive".replace("1.1", "1.0"), ()),
        "asks with a page": (f"{asks}\nContent-Type: text/html", ()),
    }
    for name, (head, after) in ways.items():
        said = send(_lasting(head, "<html></html>" if "html" in head else ""))
        yield from over_both(f"proxy: {name}", wants, _asking(said, *after), via=Via.OWN)
    yield from over_both(
        "proxy: asks for what nobody has", behind(UP, Reason.PROXY_AUTH_REQUIRED), _digest, via=Via.OWN
    )


def openings() -> Iterator[Fault]:
    # Any 2xx opens the tunnel, and what comes with it is no business of the client's (RFC 9110, 9.3.6).
    heads = {
        "HTTP/1.0": "HTTP/1.0 200 Connection established\r\n\r\n",
        "no reason phrase": "HTTP/1.1 200\r\n\r\n",
        "status 204": "HTTP/1.1 204 No Content\r\n\r\n",
        "status 299": "HTTP/1.1 299 Established\r\n\r\n",
        "a length of 0": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "a length": "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        "chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "two lengths": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "bare line feeds": "HTTP/1.1 200 OK\nVia: 1.1 px\n\n",
        "odd header names": "HTTP/1.1 200 OK\r\nProxy Agent: x\r\nX(y): z\r\n\r\n",
        "a header without colon": "HTTP/1.1 200 OK\r\nProxy-agent\r\n\r\n",
        "an interim answer": "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "a page's type": "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n",
    }
    for name, head in heads.items():
        yield over_https(f"proxy: opens with {name}", everywhere(UP), _tunnel(send(head)), via=Via.OWN)
    long = _tunnel(send("HTTP/1.1 200 OK\r\n"), send(f"X-Filler: {'x' * 990}\r\n", 60), send("\r\n"))
    yield over_https("proxy: opens with a head of 60 kB", everywhere(UP), long, via=Via.OWN)
    opened = send(heads["HTTP/1.0"])
    yield over_https("proxy: opens slowly", everywhere(UP), _tunnel(sleep(1.0), opened), via=Via.OWN)
    # A common rule: who does not say what he is does not get through.
    refused = (send(message("HTTP/1.1 403 Forbidden")), HANG_UP)
    named = when_said("\r\nUser-Agent: ", (opened,), refused)
    yield over_https("proxy: wants to know the user agent", everywhere(UP), _tunnel(named), via=Via.OWN)
    host = when_said("\r\nHost: ", (opened,), refused)
    yield over_https("proxy: wants to know the host", everywhere(UP), _tunnel(host), via=Via.OWN)


def refusals() -> Iterator[Fault]:
    denied, broken = behind(UP, Reason.PROXY_DENIED), behind(UP, Reason.PROXY_ERROR)
    asks = behind(UP, Reason.PROXY_AUTH_REQUIRED)
    squid = "Server: squid/6.9\nX-Squid-Error: "
    answers = {
        "Squid's rules": (f"HTTP/1.1 403 Forbidden\n{squid}ERR_ACCESS_DENIED 0", denied),
        "a page of Squid's owner, with 404": (f"HTTP/1.1 404 Not Found\n{squid}404:ERR_CUSTOM_ACCESS_DENIED 0", denied),
        "Squid, which gets no TLS": (f"HTTP/1.1 503 Service Unavailable\n{squid}ERR_SECURE_CONNECT_FAIL 71", broken),
        "Squid, which finds no name": (f"HTTP/1.1 503 Service Unavailable\n{squid}ERR_DNS_FAIL 0", broken),
        "ISA Server's ports": (f"HTTP/1.1 502 Proxy Error ( {_ISA} )\nVia: 1.1 ISA", denied),
        "a proxy that cannot connect": ("HTTP/1.1 504 Gateway Timeout\nVia: 1.1 px", broken),
        "a reset in its midst": ("HTTP/1.1 403 Forbidden", denied),
    }
    for name, (head, expected) in answers.items():
        after = (RESET,) if "reset" in name else ()
        yield over_https(
            f"CONNECT refused: {name}", expected, _proxy_says(message(head, "<html></html>"), *after), via=Via.OWN
        )
    # A login is wanted, in the words of a server that is no proxy.
    yield over_https("CONNECT refused: 401", asks, _proxy_says(message("HTTP/1.1 401 Unauthorized")), via=Via.OWN)
    challenge = message('HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Basic realm="corp"')
    yield over_https("CONNECT refused: 401 with a challenge", asks, _proxy_says(challenge), via=Via.OWN)
    yield over_https("CONNECT refused: 407 without a challenge", asks, _proxy_says(message(_407)), via=Via.OWN)
    # The URL of the proxy leads to a web server.
    none = Cause.NOT_A_PROXY
    for name, head in {
        "nginx": "HTTP/1.1 400 Bad Request\nServer: nginx/1.22.1",
        "Python": "HTTP/1.0 501 Unsupported method ('CONNECT')\nServer: SimpleHTTP/0.6 Python/3.11",
        "IIS": "HTTP/1.1 404 Not Found\nServer: Microsoft-HTTPAPI/2.0",
    }.items():
        says = _proxy_says(message(head, "<html></html>"))
        yield over_https(f"proxy: is a web server, {name}", broken, says, via=Via.OWN, cause=none)
    yield over_https("proxy: is a web server indeed", broken, _web_server(80), via=Via.OWN, cause=none)
    # It answers whatever it is asked with success and a page, and opens nothing.
    yield over_https("proxy: answers 200 and a page", broken, _proxy_says(_PAGE), via=Via.OWN, cause=none)
    blocked = _PAGE.partition("Content-Length")[0] + f"\r\n{BLOCKED}"
    yield over_https("proxy: answers 200 and a block page", denied, _proxy_says(blocked), via=Via.OWN)
    yield over_https("proxy: is an SSH server", broken, proxy_port(send("SSH-2.0-OpenSSH_9.2\r\n"), READ), via=Via.OWN)


def tls_to_the_proxy() -> Iterator[Fault]:
    # No connection to the proxy comes about: nobody has asked it for anything yet.
    none = behind(UP, Reason.PROXY_UNREACHABLE)
    scheme, its_own = Cause.PROXY_SCHEME, Cause.PROXY_CERTIFICATE
    yield from over_both("proxy by TLS: sound", everywhere(UP), _by_tls(tls()), via=Via.OWN_BY_TLS)
    plain = proxy_port(READ, send(message(_400)))
    yield from over_both("proxy by TLS: speaks plain HTTP", none, plain, via=Via.OWN_BY_TLS, cause=scheme)
    for flaw in (Flaw.EXPIRED, Flaw.UNKNOWN_ROOT, Flaw.SELF_SIGNED, Flaw.WRONG_NAME, Flaw.MISSING_INTERMEDIATE):
        name = f"proxy by TLS: {flaw.replace('_', ' ')}"
        yield over_https(name, none, _by_tls(tls(), flaw=flaw), via=Via.OWN_BY_TLS, cause=its_own)
    flawed = _by_tls(tls(), flaw=Flaw.SELF_SIGNED)
    yield over_http("proxy by TLS: self signed", none, flawed, via=Via.OWN_BY_TLS, cause=its_own)
    yield over_https("proxy by TLS: only 1.1", none, proxy_port(tls(newest="TLSv1_1"), HOLD), via=Via.OWN_BY_TLS)
    yield over_https("proxy by TLS: silent", none, proxy_port(READ, HOLD), via=Via.OWN_BY_TLS)
    yield over_https("proxy by TLS: resets", none, proxy_port(READ, RESET), via=Via.OWN_BY_TLS)
    # The other way round: the proxy speaks TLS, and its URL begins with http.
    alert = "\x15\x03\x01\x00\x02\x02\x28"
    yield from over_both("proxy: speaks TLS", none, _proxy_says(alert), via=Via.OWN, cause=scheme)
    yield from over_both(
        "proxy: expects TLS and says so", none, _proxy_says(message(*EXPECTS_TLS["nginx"])), via=Via.OWN, cause=scheme
    )


# ---------------------------------------------------------------- how it is made

_400 = "HTTP/1.1 400 Bad Request\nServer: squid"
_ISA = (
    "The specified Secure Sockets Layer (SSL) port is not allowed. ISA Server is not configured to allow SSL requests "
    "from this port."
)
_407 = "HTTP/1.1 407 Proxy Authentication Required"
_PAGE = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"


def _onward(lab: Lab, *opening: Step) -> Step:
    """Through to the target: a tunnel that opens so, or the answer to a request, as it is asked for."""
    tunnel = (*opening, relay(lab.address_of[HEALTHY], 443))
    return when_said("CONNECT ", tunnel, (send(message("HTTP/1.1 200 OK")),))


_OPENED = send("HTTP/1.1 200 Connection established\r\n\r\n")


def _tunnel(*opening: Step) -> Inject:
    return lambda lab, host: lab.script(host, Port.OPEN, (READ_HEAD, _onward(lab, *opening)))


def _asking(said: Step, *after: Step) -> Inject:
    """Whoever has no account is told so; it hangs up after that, or waits for more."""

    def inject(lab: Lab, host: str) -> AbstractContextManager[object]:
        known = when_said("\r\nProxy-Authorization: Basic ", (_onward(lab, _OPENED), HANG_UP), (said, *after))
        return lab.script(host, Port.OPEN, (repeat(READ_HEAD, known),))

    return inject


def _digest(lab: Lab, host: str) -> AbstractContextManager[object]:
    asks = _lasting(f'{_407}\nProxy-Authenticate: Digest realm="corp", nonce="x"')
    return lab.script(host, Port.OPEN, (repeat(READ_HEAD, send(asks)),))


def _proxy_says(text: str, *after: Step) -> Inject:
    return proxy_port(READ_HEAD, send(text), *after)


@contextmanager
def _first_address_dead(lab: Lab, host: str) -> Iterator[Etc]:
    with _tunnel(_OPENED)(lab, host):
        yield {"hosts": f"198.19.255.8 {host}\n{lab.address_of[host]} {host}\n"}


def _by_tls(handshake: Step, flaw: Flaw | None = None) -> Inject:
    @contextmanager
    def inject(lab: Lab, host: str) -> Iterator[None]:
        with ExitStack() as stack:
            if flaw is not None:
                stack.enter_context(lab.certificate(host, flaw))
            stack.enter_context(lab.script(host, Port.OPEN, (handshake, READ_HEAD, _onward(lab, _OPENED))))
            yield

    return inject


def _web_server(port: int) -> Inject:
    return lambda lab, host: lab.script(host, Port.OPEN, (relay(lab.address_of[host], port),))


def _lasting(head: str, body: str = "") -> str:
    """An answer after which the connection stays, as far as it says."""
    return "\r\n".join([*head.splitlines(), f"Content-Length: {len(body)}", "", body])


def inspection() -> Iterator[Fault]:
    def inspected(name: str, expected: Expected, inject: Inject) -> Fault:
        return over_https(f"inspected: {name}", expected, inject, via=Via.INSPECTING, trusts=INSPECTION)

    yield over_https("inspected: untrusted", behind(UP, Reason.TLS_UNTRUSTED), nothing, via=Via.INSPECTING)
    yield inspected("trusted", everywhere(UP), nothing)
    # The tunnel opens whatever comes of it. Then a page comes through it, under a certificate that verifies: one that
    # blocks, or one that says what the proxy could not do.
    yield inspected("denied", behind(UP, Reason.HTTP_BLOCKED), denies(Denial.PAGE))
    yield inspected("connection reset", behind(Reason.CONNECT_REFUSED, Reason.PROXY_ERROR), Lab.reset)
    yield inspected("name not found", behind(Reason.DNS_NOT_FOUND, Reason.PROXY_ERROR), Lab.dns_missing)
    yield inspected("expired", behind(Reason.TLS_EXPIRED, Reason.PROXY_ERROR), certificate(Flaw.EXPIRED))
    yield inspected("status 451", everywhere(Reason.HTTP_BLOCKED), status(451))
