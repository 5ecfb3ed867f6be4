"""Ask for a URL as Configuration Manager would: any answer but a refusing or a foreign one will do."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, cast

import httpx

from exporter.model.vocabulary import Answer, Failure, Phase, Root, Target
from exporter.probe.bodies import ENOUGH, ENOUGH_OF_A_PAGE, readable, worth_reading
from exporter.probe.classify import Signs, Way, foreign, judge
from exporter.probe.errors import NotTls
from exporter.probe.net import USER_AGENT, Route, Trace, Transport, beginning

# No `Connection: close`: a proxy would close between the steps of NTLM, which signs in the connection. We close it.
_HEADERS: Final = {"Accept": "*/*", "User-Agent": USER_AGENT}
_PAGE_TIME: Final = 0.5  # seconds that the beginning of a page may take; the head has decided most already


async def probe(target: Target, route: Route, signs: Signs, trace: Trace) -> Failure | None:
    """One request on a connection of its own. The head of the answer decides; of the body only a page's beginning.

    httpx's client stays out of it: it takes every answer for its own business, and raises for a Location that it cannot
    read, though nobody wants to go there.
    """
    async with Transport(route, trace) as transport:
        try:
            response = await transport.handle_async_request(httpx.Request(target.method, target.url, headers=_HEADERS))
        except NotTls:
            if failure := _page_in_place_of_tls(target, trace, signs, way_of(target, route)):
                return failure
            raise
        forgeable = target.scheme == "http" or _inspected(trace)
        enough = ENOUGH_OF_A_PAGE if forgeable else ENOUGH
        answer = await _with_page(cast(Answer, trace.seen.answer), response, enough)
        trace.seen = replace(trace.seen, answer=answer)
        return judge(target, answer, signs, way_of(target, route), forgeable=forgeable)


def _page_in_place_of_tls(target: Target, trace: Trace, signs: Signs, way: Way) -> Failure | None:
    """What a filter or a portal says in plain text on a port for TLS; None where nothing shows that it is one."""
    answer = trace.seen.answer
    failure = foreign(target, answer, signs, way) if answer else None
    return replace(failure, phase=Phase.TLS) if failure else None


def way_of(target: Target, route: Route) -> Way:
    """Who is at the other end when a target is asked along a route."""
    if route.proxy is None:
        return Way.DIRECT
    return Way.RELAY if target.scheme == "http" else Way.TUNNEL


async def _with_page(answer: Answer, response: httpx.Response, enough: int) -> Answer:
    """The answer with the beginning of its body, if that may be a page that a person could read."""
    if answer.body or not worth_reading(answer):  # a proxy's 407 has been read already
        return answer
    stream = cast(httpx.AsyncByteStream, response.stream)
    body = await beginning(stream, enough, _PAGE_TIME)
    return replace(answer, body=readable(answer, body[:enough]))


def _inspected(trace: Trace) -> bool:
    """Whether somebody on the way may have spoken, by TLS: also where nobody can say whose root it is."""
    tls = trace.seen.tls
    return tls is not None and tls.leads_to in {Root.PRIVATE, None}
