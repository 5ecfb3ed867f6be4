"""Pages that somebody puts in place of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from gzip import compress
from http import HTTPStatus
from pathlib import Path
from typing import Final

from exporter.model.vocabulary import Cause, Reason
from tests.lab import Lab
from tests.lab.pki import leaf

from .fault import (
    BLOCKED,
    INSPECTION,
    UP,
    Chain,
    Expected,
    Fault,
    Inject,
    answers,
    behind,
    everywhere,
    over_both,
    over_http,
    over_https,
)

PAGES: Final = Path(__file__).parents[1] / "data" / "truth"


def pages() -> Iterator[Fault]:
    blocked = everywhere(Reason.HTTP_BLOCKED)
    for path in _files("block"):
        # Where a proxy is asked for a plain URL, an error page with the mark of such a product is the proxy's own, as
        # far as anybody can tell from here, and the same status in answer to CONNECT would be. A redirect or a 200 is
        # rather that of a device on the way.
        plain = behind(Reason.HTTP_BLOCKED, Reason.PROXY_DENIED) if _is_error(path) else blocked
        yield from _shown(f"block page: {path.stem}", blocked, _page(path), http=plain)
    for path in _files("captive"):
        yield from _shown(f"captive portal: {path.stem}", blocked, _page(path))
    for path in _files("login"):
        # A cloud proxy or a filter on the way wants a login: that is not a policy's denial.
        yield from _shown(
            f"login page: {path.stem}", everywhere(Reason.PROXY_AUTH_REQUIRED), _page(path), cause=Cause.LOGIN_PAGE
        )
    for path in _files("error"):
        # Nobody blocks anything: a proxy, configured or on the way, could not do its work.
        yield from _shown(f"error page: {path.stem}", everywhere(Reason.PROXY_ERROR), _page(path))
    for path in _files("innocent"):
        yield from _shown(path.stem.replace("-", " "), everywhere(UP), _page(path))


def _shown(
    name: str,
    https: Expected,
    page: Inject,
    *,
    http: Expected | None = None,
    on: str | None = None,
    cause: Cause | None = None,
) -> Iterator[Fault]:
    """What a device on the way may show: over TLS, only one that inspects, and that the exporter is told to trust."""
    yield _inspected(name, https, page, on, cause)
    yield over_http(name, https if http is None else http, page, on=on, cause=cause)


def _inspected(name: str, expected: Expected, page: Inject, on: str | None = None, cause: Cause | None = None) -> Fault:
    @contextmanager
    def inject(lab: Lab, host: str) -> Iterator[None]:
        with lab.present(host, leaf(host, lab.inspector)), page(lab, host):
            yield

    return over_https(name, expected, inject, trusts=INSPECTION, chain=Chain.PRIVATE, on=on, cause=cause)


def _page(path: Path) -> Inject:
    head, _, body = path.read_text(encoding="ascii").partition("\n\n")
    return answers(head, body)


def _files(kind: str) -> list[Path]:
    return sorted((PAGES / kind).glob("*.http"))


def _is_error(page: Path) -> bool:
    status = int(page.read_text(encoding="ascii").split()[1])
    return status >= HTTPStatus.BAD_REQUEST


def labels() -> Iterator[Fault]:
    # A page of a filter, and of a portal that leads elsewhere, whatever it says that it is.
    blocked = everywhere(Reason.HTTP_BLOCKED)
    for name, (lines, body) in {
        "in capitals": ("Content-Type: TEXT/HTML; charset=utf-8", BLOCKED),
        "in mixed case": ("Content-Type: Text/Html", BLOCKED),
        "XHTML": ("Content-Type: application/xhtml+xml", BLOCKED),
        "nothing": ("", BLOCKED),
        "plain text": ("Content-Type: text/plain", BLOCKED),
        "UTF-16": (
            "Content-Type: text/html; charset=utf-16",
            "\xff\xfe" + BLOCKED.encode("utf-16-le").decode("latin-1"),
        ),
        "UTF-16 without saying so": (
            "Content-Type: text/html",
            "\xff\xfe" + BLOCKED.encode("utf-16-le").decode("latin-1"),
        ),
        "gzip": ("Content-Type: text/html\nContent-Encoding: gzip", compress(BLOCKED.encode()).decode("latin-1")),
        "nothing, behind its style and its logo": ("", _behind_style_and_logo(BLOCKED)),
        "gzip, but it is not": ("Content-Type: text/html\nContent-Encoding: gzip", BLOCKED),
    }.items():
        page = answers(f"HTTP/1.1 200 OK\n{lines}".strip(), body)
        yield from _shown(f"block page labelled {name}", blocked, page)
    for name, lines in {
        "a Refresh header": f"Refresh: 0; url={_PORTAL}",
        "a Refresh header without url": f"Refresh: 0;{_PORTAL}",
        "capitals and a page": "Content-Type: TEXT/HTML",
    }.items():
        page = answers(f"HTTP/1.1 200 OK\n{lines}", _LEADING if "page" in name else "")
        yield from _shown(f"captive portal by {name}", blocked, page)
    # What is stored or played is no page.
    for kind in ("application/octet-stream", "image/png"):
        page = answers(f"HTTP/1.1 200 OK\nContent-Type: {kind}", BLOCKED)
        yield from _shown(f"mark of a filter in {kind}", everywhere(UP), page)
    # A page under the service's own certificate is the service's own.
    page = answers("HTTP/1.1 200 OK\nContent-Type: text/html", BLOCKED)
    yield over_https("mark of a filter, no inspection", everywhere(UP), page)


def logins() -> Iterator[Fault]:
    # Any cloud of a product is that product.
    asks = everywhere(Reason.PROXY_AUTH_REQUIRED)
    for cloud in ("zscalerone", "zscalerthree", "zscalerbeta"):
        location = f"https://gateway.{cloud}.net/auT?origurl=http%3A%2F%2Fx&_ordtok=abc"
        yield from _shown(f"login of a cloud proxy: {cloud}", asks, _redirect(location), cause=Cause.LOGIN_PAGE)


def forwarders() -> Iterator[Fault]:
    blocked = everywhere(Reason.HTTP_BLOCKED)
    tool = _redirect("https://redirectiontool.trafficmanager.net/am/redirectiontool?x=1")
    yield _inspected("forwarder: aka.ms to its second layer", everywhere(UP), tool, "aka.ms")
    yield from _shown("forwarder: go.microsoft.com to its tool", everywhere(UP), tool, on="go.microsoft.com")
    yield from _shown(
        "forwarder: to a stranger in the same cloud", blocked, _redirect("https://portal.trafficmanager.net/")
    )
    own = _redirect("https://login.another.example/")
    yield from _shown("redirect to another domain", blocked, own)
    named = ("login.another.example",)
    yield from over_both("own redirect to where it may lead", everywhere(UP), own, own=True, leads_to=named)
    # Somebody on the way may have put it there.
    yield over_http(
        "own redirect to elsewhere",
        blocked,
        _redirect("https://portal.guest.example/"),
        own=True,
        leads_to=named,
        cause=Cause.OWN_REDIRECT,
    )


# ---------------------------------------------------------------- how it is made

_PORTAL: Final = "http://portal.guest.example/login"
_LEADING: Final = f'<html><head><meta http-equiv="refresh" content="0; url={_PORTAL}"></head></html>'


def _behind_style_and_logo(page: str) -> str:
    """As many products write theirs: ten thousand characters before the first word."""
    style = f"<style>{'body { color: #333; font-family: Arial, Helvetica, sans-serif }' * 100}</style>"
    logo = f"<img src='data:image/png;base64,{'iVBORw0KGgo' * 400}'>"
    return page.replace("<title>", f"{style}<title>").replace("<body>", f"<body>{logo}")


def _redirect(location: str) -> Inject:
    return answers(f"HTTP/1.1 302 Found\nLocation: {location}")
