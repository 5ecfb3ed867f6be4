"""Ask for a URL as Configuration Manager would: any answer but a refusing or a foreign one will do."""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import replace
from typing import Final

import httpx

from exporter.failure import Signs, Way, judge
from exporter.model import Answer, Failure, Root, Target
from exporter.net import PAGE, USER_AGENT, Route, Trail, Transport, beginning

# No `Connection: close`: a proxy would close between the steps of NTLM, which signs in the connection. We close it.
_HEADERS: Final = {"Accept": "*/*", "User-Agent": USER_AGENT}
_EITHER: Final = 32  # of zlib: a header of gzip's or of zlib's own
_PAGE_TIME: Final = 0.5  # seconds that the beginning of a page may take; the head has decided most already


async def probe(target: Target, route: Route, signs: Signs, trail: Trail) -> Failure | None:
    """One request on a connection of its own. The head of the answer decides; of the body only a page's beginning.

    httpx's client stays out of it: it takes every answer for its own business, and raises for a Location that it cannot
    read, though nobody wants to go there.
    """
    async with Transport(route, trail) as transport:
        response = await transport.handle_async_request(httpx.Request(target.method, target.url, headers=_HEADERS))
        answer = trail.evidence["answer"] = await _with_page(trail.evidence["answer"], response)
        forgeable = target.scheme == "http" or _inspected(trail)
        return judge(target, answer, signs, way_of(target, route), forgeable=forgeable)


def way_of(target: Target, route: Route) -> Way:
    """Who is at the other end when a target is asked along a route."""
    if route.proxy is None:
        return Way.DIRECT
    return Way.RELAY if target.scheme == "http" else Way.TUNNEL


async def _with_page(answer: Answer, response: httpx.Response) -> Answer:
    """The answer with the beginning of its body, if that is a page that a person could read."""
    if "text/html" not in response.headers.get("content-type", ""):
        return answer
    packed = await beginning(response.aiter_raw(), PAGE, _PAGE_TIME)
    body = unpacked(packed, response.headers.get("content-encoding", ""), PAGE)
    return replace(answer, body=body.decode("utf-8", "replace"))


def unpacked(body: bytes, coding: str, most: int) -> bytes:
    """How a body begins, unpacked no further than that: a small one may hold gigabytes."""
    match coding.strip().lower():
        case "" | "identity":
            return body[:most]
        case "gzip" | "x-gzip" | "deflate":
            with suppress(zlib.error):
                return zlib.decompressobj(zlib.MAX_WBITS | _EITHER).decompress(body, most)
    return b""  # nothing of the kind was asked for


def _inspected(trail: Trail) -> bool:
    tls = trail.evidence.get("tls")
    return tls is not None and tls.leads_to is Root.PRIVATE
