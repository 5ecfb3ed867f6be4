"""Fetch a source: a file, or a URL along a route -> its bytes."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urldefrag, urljoin, urlsplit
from uuid import uuid4

import anyio
import httpx

from exporter import __version__
from exporter.config.documents import TooLarge, read_bytes, reason
from exporter.config.fields import url_fault
from exporter.model.vocabulary import Target
from exporter.probe.classify import classify
from exporter.probe.errors import PeerClosed
from exporter.probe.http import way_of
from exporter.probe.net import Route, Trace, Transport
from exporter.published.content import MAX_BYTES, Unusable

RouteTo: TypeAlias = Callable[[str], Route]  # a URL in, the way to its host out

MOST_REDIRECTS: Final = 5
# identity: a body that is not compressed is no larger than what it is read as
_HEADERS: Final = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "User-Agent": f"configmgr-endpoint-exporter/{__version__}",
}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_WEB_SERVICE: Final = "endpoints.office.com"


def from_file(path: Path, limit: int = MAX_BYTES) -> bytes:
    """What a file holds. Raises Unusable."""
    try:
        return read_bytes(path, limit)
    except (OSError, ValueError, TooLarge) as error:
        raise Unusable(f"cannot be read: {reason(error)}") from None


async def from_web(url: str, route_to: RouteTo, seconds: float, limit: int = MAX_BYTES) -> bytes:
    """What a URL gives within some seconds, after a few redirects if it must be; never from https down to http.

    Raises Unusable.
    """
    deadline = anyio.current_time() + seconds
    for _ in range(MOST_REDIRECTS + 1):
        if fault := url_fault(url):
            raise Unusable(fault)
        body, location = await _asked(url, route_to(url), deadline, limit)
        if location is None:
            return body
        url = _next(url, location)
    raise Unusable(f"leads on and on: {MOST_REDIRECTS} redirects were followed")


def identified(url: str) -> str:
    """A URL as it is asked for: Microsoft 365's web service answers only who gives a GUID of his own."""
    parts = urlsplit(url)
    if parts.hostname != _WEB_SERVICE or "clientrequestid=" in parts.query.lower():
        return url
    given = f"{parts.query}&" if parts.query else ""
    return parts._replace(query=f"{given}ClientRequestId={uuid4()}").geturl()


def _next(url: str, location: str) -> str:
    """Where an answer leads. Raises Unusable where nobody should follow."""
    try:
        leads_to = urldefrag(urljoin(url, location)).url
    except ValueError:
        raise Unusable("leads to what is no URL") from None
    if urlsplit(url).scheme == "https" and urlsplit(leads_to).scheme != "https":
        raise Unusable("leads from https to a connection that nobody protects; give the URL of the file itself")
    return leads_to


async def _asked(url: str, route: Route, deadline: float, limit: int) -> tuple[bytes, str | None]:
    """The body of an answer, or where it leads to instead."""
    trace = Trace()
    try:
        with anyio.fail_after(deadline - anyio.current_time()):
            async with Transport(route, trace) as transport:
                request = httpx.Request("GET", identified(url), headers=_HEADERS)
                response = await transport.handle_async_request(request)
                location = response.headers.get("location")
                if response.status_code in _REDIRECTS and location:
                    return b"", location
                return await _body(response, limit), None
    except Unusable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever goes wrong on the way is named as for a probe
        failure = classify(trace.phase, error, way_of(Target(url), route))
        raise Unusable(f"cannot be fetched: {failure.reason}: {failure.message}") from None


async def _body(response: httpx.Response, limit: int) -> bytes:
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        raise Unusable("cannot be fetched: status 429, too many requests; the service asks to wait for an hour")
    if response.status_code != HTTPStatus.OK:
        raise Unusable(f"cannot be fetched: status {response.status_code}; open the URL in a browser to see why")
    body = bytearray()
    try:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > limit:
                raise Unusable(f"cannot be fetched: it holds more than {limit} bytes")
    except PeerClosed:
        if {"content-length", "transfer-encoding"} & response.headers.keys():
            raise
        # without either, the end of the connection is the end of the body (RFC 9112, 6.3)
    return bytes(body)
