"""The HTTP side: metrics, health, reload, status and on-demand probes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Final, Protocol, cast

from anyio.lowlevel import checkpoint
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from exporter.allowlist.rules import Rule
from exporter.metrics.families import probe_registry
from exporter.metrics.text import Exposition, compressed, headers_of, render
from exporter.model.vocabulary import CheckKey, Latest, Result, Role, Snapshot
from exporter.plan.requirements import canonical
from exporter.plan.selection import UNUSABLE
from exporter.report import probes_text
from exporter.report.invocation import BY_NAME, Invocation
from exporter.results.store import ResultStore
from exporter.service.reloading import Ending, NotReloaded
from exporter.system.threads import in_thread
from exporter.web.pages import (
    ASSETS,
    Page,
    firewall_request,
    nothing_page,
    runbook_page,
    status,
    status_page,
    target_page,
)
from exporter.web.runbooks import INDEX

# What Prometheus leaves between our answer and its own timeout; blackbox_exporter keeps as much.
SCRAPE_MARGIN: Final = 0.5
WIDTH: Final = 100  # characters of a line of text
SLICE: Final = 0.002  # seconds of work on an answer, until a probe that is due has its turn
FOR_GOOD: Final = "public, max-age=31536000, immutable"
# A page loads its own style, icons and script, which is a file and asks here only; it sends its form back here and is
# shown in nobody's frame.
GUARDED: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Service(Protocol):
    """What the HTTP side asks of the exporter."""

    store: ResultStore
    registry: Exposition

    @property
    def warnings(self) -> Sequence[str]:
        """What the configuration says in vain."""

    def rules(self) -> tuple[tuple[Rule, ...], Mapping[str, Role]]:
        """What must be let through, and what the roles in it are. Any thread may ask."""

    async def probe(self, keys: Iterable[CheckKey], within: float | None = None) -> Mapping[CheckKey, Result]:
        """Probe checks of the plan once, now."""

    async def reload(self) -> None:
        """Read the configuration again; raises one of UNUSABLE, or NotReloaded."""


def create_app(service: Service, command: Invocation = BY_NAME) -> Starlette:
    """The routes of one exporter, and how a person asks the same by hand."""
    app = Starlette(
        routes=[
            Route("/", _index),
            Route("/target", _target),
            Route("/firewall-request", _firewall_request),
            Route("/assets/{name}", _asset),
            Route("/metrics", _metrics),
            Route("/-/healthy", _healthy),
            Route("/-/ready", _ready),
            Route("/-/reload", _reload, methods=["POST"]),
            Route("/api/v1/status", _status),
            Route("/probe", _probe),
            Route("/runbooks", _to_runbooks),
            Route("/runbooks/", _runbooks),
            Route("/runbooks/{name}", _runbook),
        ],
        exception_handlers={HTTPStatus.NOT_FOUND: _nothing},
    )
    app.router.redirect_slashes = False  # which would lead to whatever host the request names
    app.state.service = service
    app.state.command = command
    return app


def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


def _command(request: Request) -> Invocation:
    return cast(Invocation, request.app.state.command)


async def _nothing(request: Request, _: Exception) -> Response:
    """What is answered where nothing is: a page for a browser, a line for a program."""
    if not _by_a_browser(request):
        return PlainTextResponse("no such path\n", HTTPStatus.NOT_FOUND)
    return _answer(nothing_page(request.scope["path"]))


def _by_a_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


async def _index(request: Request) -> Response:
    """The status page, for people: what is ready, what is down and why."""
    service = _service(request)
    return await _of_this_moment(request, partial(status_page, warnings=service.warnings, command=_command(request)))


async def _target(request: Request) -> Response:
    """What is known of one target: `/target?url=https://go.microsoft.com/`, and `&path=direct` for one path."""
    return await _of_this_moment(request, partial(target_page, command=_command(request)))


async def _firewall_request(request: Request) -> Response:
    """What to let through for what is down: `/firewall-request?state=down&path=proxy:corporate&format=csv`.

    `state=all` for everything that the site needs. `format` is `markdown`, `csv` or `text`, else it is a page.
    """
    service, query, command = _service(request), request.query_params, _command(request)
    made = await in_thread(lambda: firewall_request(*service.rules(), service.store.snapshot(), query, command))
    if isinstance(made, Page):
        return _answer(made)
    shown = "inline" if made.type.startswith("text/plain") else "attachment"
    disposition = {"Content-Disposition": f'{shown}; filename="{made.name}"'}
    return Response(made.text.encode(), headers={**GUARDED, **disposition}, media_type=made.type)


async def _of_this_moment(request: Request, made: Callable[[Snapshot, Mapping[str, str], float], Page]) -> Response:
    """A page of what is known now, made in a thread so that a look does not lengthen anybody's probe."""
    store, query = _service(request).store, request.query_params
    return _answer(await in_thread(lambda: made(store.snapshot(), query, time.time())))


def _answer(page: Page) -> Response:
    return HTMLResponse(page.text, page.status, GUARDED)


async def _asset(request: Request) -> Response:
    """What the pages load: style sheet, script and icons; for good where asked for by the mark of the content."""
    asset = ASSETS.get(request.path_params["name"])
    if asset is None:
        return PlainTextResponse("no such file\n", HTTPStatus.NOT_FOUND)
    fresh = {"Cache-Control": FOR_GOOD} if request.query_params.get("v") == asset.mark else {}
    return Response(asset.content, headers={**GUARDED, **fresh}, media_type=asset.type)


async def _metrics(request: Request) -> Response:
    """Metrics, as text or OpenMetrics as the scraper asks; gzip."""
    service = _service(request)
    # Rolls up, and keeps, what may have changed: with 4,000 targets that takes 10 ms, for which no probe shall wait.
    await in_thread(service.store.snapshot)
    return await _rendered(request, service.registry)


async def _healthy(_: Request) -> Response:
    """200 while it runs."""
    return PlainTextResponse("healthy\n")


async def _ready(request: Request) -> Response:
    """200 once every target has had its first result, 503 before."""
    if _service(request).store.complete:
        return PlainTextResponse("ready\n")
    return PlainTextResponse("first results are pending\n", HTTPStatus.SERVICE_UNAVAILABLE)


async def _reload(request: Request) -> Response:
    """Reads the configuration again: 200, or 500 with every mistake; 503 where the exporter ends meanwhile."""
    try:
        await _service(request).reload()
    except Ending as error:
        return PlainTextResponse(f"not reloaded: {error}\n", HTTPStatus.SERVICE_UNAVAILABLE)
    except (*UNUSABLE, NotReloaded) as error:
        return PlainTextResponse(f"not reloaded:\n{error}\n", HTTPStatus.INTERNAL_SERVER_ERROR)
    return PlainTextResponse("reloaded\n")


async def _status(request: Request) -> Response:
    """JSON: the verdict, causes, features, targets with evidence and history, what is not probed, and warnings."""
    service = _service(request)
    return await in_thread(
        lambda: JSONResponse({**status(service.store.snapshot(), time.time()), "warnings": list(service.warnings)})
    )


async def _to_runbooks(_: Request) -> Response:
    """Leads to `/runbooks/`."""
    return RedirectResponse("/runbooks/")


async def _runbooks(request: Request) -> Response:
    """The index of the runbooks: a page for each alert and each reason."""
    return await _shown(request, INDEX)


async def _runbook(request: Request) -> Response:
    """One of the runbooks; 404 for any other name. With `target=URL&path=PATH` it speaks of that target of the plan."""
    return await _shown(request, request.path_params["name"])


async def _shown(request: Request, name: str) -> Response:
    """A runbook, rendered in a thread."""
    command, about = _command(request), _about(request)
    page = await in_thread(lambda: runbook_page(name, command, about))
    if page is None:
        if _by_a_browser(request):
            return _answer(nothing_page(request.scope["path"]))
        return PlainTextResponse("no runbook of this name; /runbooks/ lists them all\n", HTTPStatus.NOT_FOUND)
    return _answer(page)


def _about(request: Request) -> CheckKey | None:
    """The target of the plan that a link to a runbook names; None where it names none."""
    url, path = (request.query_params.get(name, "") for name in ("target", "path"))
    if not url:
        return None
    try:
        checks = _service(request).store.find(canonical(url))
    except ValueError:
        return None
    return next((check.key for check in checks if path in {"", check.key.path}), None)


async def _probe(request: Request) -> Response:
    """Probes one target of the plan now, by every path: `/probe?target=https://go.microsoft.com/`; 404 for any other.

    With `debug=true` the text of `explain` comes before the metrics.
    """
    service = _service(request)
    plan = service.store.plan
    try:
        budget = _budget(request.headers)
        debug = _debug(request.query_params)
        checks = service.store.find(canonical(request.query_params.get("target", "")))
    except ValueError as error:
        return PlainTextResponse(f"{error}\n", HTTPStatus.BAD_REQUEST)
    if not checks:
        return PlainTextResponse("no such target in the plan; /api/v1/status lists them all\n", HTTPStatus.NOT_FOUND)
    found = await service.probe([check.key for check in checks], budget)  # at once: a reload must not come between
    results = {check: _latest(found[check.key]) for check in checks}
    registry = probe_registry(results, plan.requirements)
    if not debug:
        return await _rendered(request, registry)
    latest = {check.key: seen for check, seen in results.items()}
    seen = Snapshot(replace(plan, checks=checks), latest, (), {})
    return PlainTextResponse(await in_thread(lambda: _explained(seen, registry)))


def _explained(seen: Snapshot, registry: Exposition) -> str:
    """What a person wants to see of a probe, and what a scrape would have."""
    body, _ = render(registry, "", "")
    return f"{probes_text(seen, WIDTH)}Metrics\n\n{body.decode()}"


async def _rendered(request: Request, registry: Exposition) -> Response:
    """Metrics in slices, between which a probe that is due starts; a thread would delay it by tens of milliseconds.

    Not after each piece, of which there are hundreds: where many probes are under way, a turn of the loop takes so long
    that a scrape would take seconds.
    """
    pieces, content_type = registry.pieces(request.headers.get("accept", ""))
    headers = headers_of(content_type, request.headers.get("accept-encoding", ""))
    slices, begun = [], time.perf_counter()
    for piece in pieces:
        slices.append(piece)
        if time.perf_counter() - begun > SLICE:
            await checkpoint()
            begun = time.perf_counter()
    if "Content-Encoding" in headers:
        return Response(await in_thread(lambda: compressed(slices)), headers=headers)
    return Response(b"".join(slices), headers=headers)


def _debug(parameters: Mapping[str, str]) -> bool:
    """Whether the whole probe is wanted as text, and not only its metrics."""
    text = parameters.get("debug", "false")
    if text not in {"true", "false"}:
        raise ValueError(f"debug: expected true or false, found {text!r}")
    return text == "true"


def _budget(headers: Mapping[str, str]) -> float | None:
    """Seconds that the scraper waits for an on-demand probe, less a margin; None if it does not say."""
    text = headers.get("x-prometheus-scrape-timeout-seconds")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"X-Prometheus-Scrape-Timeout-Seconds: {text!r} is not a number of seconds")
    return max(seconds - SCRAPE_MARGIN, seconds / 2)


def _latest(result: Result) -> Latest:
    """A result as the only one of its check."""
    return Latest(result, result.finished, result.finished if result.up else None)
