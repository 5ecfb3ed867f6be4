"""Faults of HTTP."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.model.vocabulary import Cause, Reason
from tests.lab.scripts import HOLD, READ, READ_HEAD, RESET, Step, drip, send

from .fault import (
    EXPECTS_TLS,
    UP,
    Fault,
    Inject,
    after_request,
    behind,
    delayed_data,
    everywhere,
    message,
    over_both,
    over_http,
    over_https,
    status,
)


def http_faults() -> Iterator[Fault]:
    timeout, reset, protocol = Reason.HTTP_TIMEOUT, Reason.HTTP_RESET, Reason.HTTP_PROTOCOL
    # The proxy of a plain request answers for the target with a page of its own: 502, and what the target did.
    page = Reason.PROXY_ERROR
    yield from over_both("silent after request", everywhere(timeout), after_request(HOLD))
    yield from over_both("closed after request", everywhere(reset), after_request(), http=behind(reset, page))
    yield from over_both("reset after request", everywhere(reset), after_request(RESET), http=behind(reset, page))
    yield from over_both(
        # Squid makes an answer of it, "200 Gatewaying", and notes from what: X-Transformed-From. It is still no HTTP.
        "garbage",
        everywhere(protocol),
        after_request(send("SSH-2.0-OpenSSH_9.2\r\n"), READ),
    )
    filler = f"X-Filler: {'x' * 1000}\r\n"
    endless = after_request(send("HTTP/1.1 200 OK\r\n"), send(filler, 1000), HOLD)
    yield from over_both("head without end", everywhere(protocol), endless, http=behind(protocol, page))
    many = after_request(send("HTTP/1.1 200 OK\r\n"), send("X: y\r\n", 50_000), send("\r\n"))
    yield from over_both("too many header lines", everywhere(protocol), many, http=behind(protocol, page))

    yield from over_both("answer slow", everywhere(UP), lambda lab, host: lab.delay_answer(host, 0.5))
    yield from over_both("first bytes slow", everywhere(UP), delayed_data(0.5))
    long = send("HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n")
    yield from over_both("body drips", everywhere(UP), after_request(long, drip("x", 0.2)))
    yield from over_both("body huge", everywhere(UP), after_request(long, send("x" * 1024, 1024), HOLD))
    chunked = send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    yield from over_both("body garbage", everywhere(UP), after_request(chunked, send("no chunk\r\n"), READ))
    early = send("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n")
    yield from over_both("early hints first", everywhere(UP), after_request(early, send(message("HTTP/1.1 200 OK"))))


def statuses() -> Iterator[Fault]:
    for code in (408, 426, 502, 598, 599):
        yield from over_both(f"status {code}", everywhere(Reason.HTTP_STATUS), status(code))
    # 407 is a matter between a client and the next proxy (RFC 9110): where that one passes it on, it is its own.
    asks = behind(Reason.HTTP_STATUS, Reason.PROXY_AUTH_REQUIRED)
    challenge = 'Proxy-Authenticate: Basic realm="proxy"'
    yield from over_both("status 407", everywhere(Reason.HTTP_STATUS), status(407, challenge), http=asks)
    for code in (451, 511):
        yield from over_both(f"status {code}", everywhere(Reason.HTTP_BLOCKED), status(code))
    for code in (200, 204, 400, 403, 404, 500, 503):
        yield from over_both(f"status {code}", everywhere(UP), status(code))
    yield from over_both("status 401", everywhere(UP), status(401, "WWW-Authenticate: Negotiate"))


def heads() -> Iterator[Fault]:
    # What has a readable status line is an answer; of the rest nobody needs anything. Squid is stricter: where it is
    # asked for the URL it answers itself, or takes what was said for the body of an answer.
    proxied = {
        **dict.fromkeys(("status 999", "header names with blanks", "header without colon"), Reason.PROXY_ERROR),
        **dict.fromkeys(("odd header names", "zero bytes in a header"), Reason.PROXY_ERROR),
        "blank lines first": Reason.HTTP_PROTOCOL,
    }
    for name, head in {
        "HTTP/1.2": "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 without headers": "HTTP/1.0 200 OK\r\n\r\n",
        "no reason phrase": "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        "status 999": "HTTP/1.1 999 Request denied\r\nContent-Length: 0\r\n\r\n",
        "bare line feeds": "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "header names with blanks": "HTTP/1.1 200 OK\r\nMy Header: x\r\nContent-Length: 0\r\n\r\n",
        "blank before the colon": "HTTP/1.1 200 OK\r\nServer : x\r\nContent-Length: 0\r\n\r\n",
        "header without colon": "HTTP/1.1 200 OK\r\nServer\r\nContent-Length: 0\r\n\r\n",
        "odd header names": "HTTP/1.1 200 OK\r\nX(y)[z]@: 1\r\n: 2\r\nContent-Length: 0\r\n\r\n",
        "folded header": "HTTP/1.1 200 OK\r\nX-Long: a\r\n  b\r\nContent-Length: 0\r\n\r\n",
        "zero bytes in a header": "HTTP/1.1 200 OK\r\nX-Zero: a\0b\r\nContent-Length: 0\r\n\r\n",
        "control characters in a header": "HTTP/1.1 200 OK\r\nX-Bell: a\x07b\x1b\r\nContent-Length: 0\r\n\r\n",
        "Latin-1 in a header": "HTTP/1.1 200 OK\r\nX-City: K\xf6ln\r\nContent-Length: 0\r\n\r\n",
        "blank lines first": "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "many interim answers": "HTTP/1.1 100 Continue\r\n\r\n" * 20 + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "Latin-1 in the reason phrase": "HTTP/1.1 200 d\xe9j\xe0 vu\r\nContent-Length: 0\r\n\r\n",
    }.items():
        http = behind(UP, proxied.get(name))
        yield from over_both(f"head: {name}", everywhere(UP), after_request(send(head)), http=http)


def framing() -> Iterator[Fault]:
    # How long a body is matters to nobody who does not read it. Squid does, where it is asked for the URL.
    well = {"length and chunks", "the same length twice"}
    for name, lines in {
        "length and chunks": "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "two lengths": "Content-Length: 5\r\nContent-Length: 7",
        "the same length twice": "Content-Length: 5\r\nContent-Length: 5",
        "negative length": "Content-Length: -1",
        "length in hexadecimal": "Content-Length: 0x5",
        "length that is no number": "Content-Length: five",
        "length of 30 digits": f"Content-Length: {'9' * 30}",
        "unknown transfer coding": "Transfer-Encoding: xchunked",
        "chunks under gzip": "Transfer-Encoding: gzip, chunked",
    }.items():
        answer = f"HTTP/1.1 200 OK\r\n{lines}\r\n\r\nhello"
        http = behind(UP, UP if name in well else Reason.PROXY_ERROR)
        yield from over_both(f"framing: {name}", everywhere(UP), after_request(send(answer)), http=http)


def cuts() -> Iterator[Fault]:
    # What was said counts, whether before the request or before a reset.
    answer = send(message("HTTP/1.1 200 OK"))
    yield over_http("answer before the request", everywhere(UP), _http_port(answer, READ_HEAD))
    yield over_http("answer, then a reset", behind(UP, UP), _http_port(READ_HEAD, answer, RESET))
    # Nobody who speaks HTTP says these.
    protocol = everywhere(Reason.HTTP_PROTOCOL)
    yield from over_both("page without a head", protocol, after_request(send("<html>hello</html>"), READ))
    yield over_https("banner of a mail server", protocol, after_request(send("220 mail.corp.example ESMTP\r\n"), READ))
    for server, (head, page) in EXPECTS_TLS.items():
        says = _http_port(READ_HEAD, send(message(head, page)))
        yield over_http(f"{server} where TLS is due", protocol, says, cause=Cause.EXPECTS_TLS)
    alert = send("\x15\x03\x01\x00\x02\x02\x28")  # of a server that expects TLS
    yield over_http("TLS where HTTP is due", protocol, _http_port(READ_HEAD, alert), cause=Cause.EXPECTS_TLS)


def _http_port(*script: Step) -> Inject:
    return lambda lab, host: lab.script(host, 80, script)
