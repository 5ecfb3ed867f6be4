"""Pages as HTML: what stands on them -> Jinja templates that travel with the package."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from importlib import resources
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from exporter import __version__
from exporter.allowlist.markdown import change_request
from exporter.allowlist.rules import Rule
from exporter.config.version import as_of
from exporter.model.vocabulary import CheckKey, Phase, Role, Snapshot, Verdict
from exporter.plan.requirements import canonical
from exporter.report.evidence import moment
from exporter.report.invocation import BY_NAME, Invocation
from exporter.text.secrets import harmless
from exporter.web.pages.filters import PAUSED, choices, read
from exporter.web.pages.firewall_request import FORMS, asked_for, requested
from exporter.web.pages.overview import overview
from exporter.web.pages.target import alike, route
from exporter.web.runbooks import INDEX, query_of, rendered
from exporter.web.runbooks import page as runbook

REFRESH: Final = 30  # seconds between two looks of a page at itself
SOON: Final = 5  # while first results come in
_HALF_A_YEAR: Final = 182 * 86400.0
_DEEPEST: Final = 9  # folders above an address that a link leads out of
TYPES: Final = MappingProxyType(
    {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
)


@dataclass(frozen=True, slots=True)
class Page:
    """A page and how it is answered."""

    text: str
    status: HTTPStatus = HTTPStatus.OK


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages load, and the mark of its content, by which it may be kept for good."""

    content: bytes
    type: str
    mark: str


def _assets() -> dict[str, Asset]:
    return {
        file.name: Asset(content := file.read_bytes(), kind, sha256(content).hexdigest()[:12])
        for file in resources.files("exporter.web.pages").joinpath("assets").iterdir()
        if (kind := TYPES.get(file.name.rpartition(".")[2]))
    }


ASSETS: Final[Mapping[str, Asset]] = MappingProxyType(_assets())


# ---------------------------------------------------------------- the pages


def status_page(
    snapshot: Snapshot,
    query: Mapping[str, str],
    now: float,
    warnings: Sequence[str] = (),
    command: Invocation = BY_NAME,
) -> Page:
    """What a person on call sees first, filtered by the query. Filters that are not understood are named.

    `warnings` is what the configuration says in vain.
    """
    filters, mistakes = read(query, choices(snapshot))
    view = overview(snapshot, filters, now)
    refresh = 0 if filters.refresh == PAUSED else SOON if view.answer.verdict is Verdict.PENDING else REFRESH
    text = _rendered(
        "overview.html",
        site=snapshot.plan.site,
        view=view,
        filters=filters,
        mistakes=mistakes,
        warnings=warnings,
        validate=command.line("validate"),
        refresh=refresh,
        now=now,
    )
    return Page(text, HTTPStatus.BAD_REQUEST if mistakes else HTTPStatus.OK)


def target_page(snapshot: Snapshot, query: Mapping[str, str], now: float, command: Invocation = BY_NAME) -> Page:
    """Everything that is known of one target, by the path that is asked for or by each; 404 where there is none."""
    url, path = query.get("url", ""), query.get("path", "")
    try:
        wanted = canonical(url)
    except ValueError:
        wanted = url
    by_url = [check for check in snapshot.plan.checks if check.key.target.url == wanted]
    routes = [route(check, snapshot, now, command) for check in by_url if path in {"", check.key.path}]
    if not routes:
        known = tuple(dict.fromkeys(check.key for check in by_url))
        close = () if known else alike(wanted, snapshot.plan)
        text = _rendered(
            "no_target.html", site=snapshot.plan.site, url=url, path=path, known=known, close=close, now=now
        )
        return Page(text, HTTPStatus.NOT_FOUND)
    text = _rendered(
        "target.html",
        site=snapshot.plan.site,
        url=wanted,
        path=path,
        routes=routes,
        began=snapshot.began,
        refresh=0 if query.get("refresh") == PAUSED else REFRESH,
        now=now,
    )
    return Page(text)


@dataclass(frozen=True, slots=True)
class Download:
    """A file of a firewall request."""

    name: str
    type: str
    text: str


def firewall_request(
    rules: Iterable[Rule],
    roles: Mapping[str, Role],
    snapshot: Snapshot,
    query: Mapping[str, str],
    command: Invocation = BY_NAME,
) -> Page | Download:
    """The firewall request for what is down, or for everything, as a page or as the file that is asked for."""
    everything = tuple(rules)
    asked, mistakes = asked_for(query, everything)
    if mistakes:
        text = _rendered("firewall_request.html", site=snapshot.plan.site, asked=asked, mistakes=mistakes, found=None)
        return Page(text, HTTPStatus.BAD_REQUEST)
    found = requested(everything, snapshot, asked)
    if asked.form:
        form = FORMS[asked.form]
        return Download(f"firewall-request.{form.ending}", form.type, form.write(found, roles, command))
    request = rendered(change_request(found.rules, roles, command, found.seen))
    body = Markup(request.body)  # noqa: S704 - Markdown, rendered without HTML of its own
    return Page(
        _rendered("firewall_request.html", site=snapshot.plan.site, asked=asked, mistakes=(), found=found, body=body)
    )


def runbook_page(name: str, command: Invocation = BY_NAME, about: CheckKey | None = None) -> Page | None:
    """A runbook, about a target if one is given, or None where there is none of that name."""
    found = runbook(name, command, about)
    if found is None:
        return None
    body = Markup(found.body)  # noqa: S704 - our own Markdown, rendered without HTML of its own
    return Page(_rendered("runbook.html", title=found.title, body=body, index=name == INDEX, about=about, root="../"))


def nothing_page(path: str) -> Page:
    """What a person sees where there is no page; `path` is what was asked for, from which its links lead home."""
    above = min(path.count("/") - 1, _DEEPEST)
    return Page(_rendered("nothing.html", root="../" * above or "./"), HTTPStatus.NOT_FOUND)


# ---------------------------------------------------------------- how values look


def _address(key: CheckKey) -> str:
    return f"target?{urlencode({'url': key.target.url, 'path': key.path})}"


def _stamp(seconds: float) -> str:
    return f"{moment(seconds):%Y-%m-%d %H:%M:%S}"


def _iso(seconds: float) -> str:
    return f"{moment(seconds):%Y-%m-%dT%H:%M:%SZ}"


def _clock(seconds: float, now: float) -> str:
    """The time of day, and the day where it is another one: `18:26`, `Nov 29 18:26`."""
    then, today = moment(seconds), moment(now)
    if then.date() == today.date():
        return f"{then:%H:%M}"
    return f"{then:%b %d %H:%M}" if abs(now - seconds) < _HALF_A_YEAR else f"{then:%Y-%m-%d %H:%M}"


def _lasting(seconds: float) -> str:
    """A span of time as people say it: `12 min`, `3 h 5 min`, `4 days`."""
    minutes = int(max(seconds, 0) // 60)
    hours, days = minutes // 60, minutes // (24 * 60)
    if not minutes:
        return f"{int(max(seconds, 0))} s"
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days < 2 else f"{days} days"  # noqa: PLR2004 - nobody says 30 h and more


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _prose(text: str) -> Markup:
    """A text in which backticks mark code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just there


def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("exporter.web.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "stamp": _stamp,
        "iso": _iso,
        "clock": _clock,
        "lasting": _lasting,
        "took": _took,
        "prose": _prose,
        "address": _address,
        "about": query_of,
        "harmless": harmless,
    }
    found.globals |= {
        "version": __version__,
        "catalogue": as_of(),
        "phases": tuple(Phase),
        "forms": FORMS,
        "marks": {name: asset.mark for name, asset in ASSETS.items()},
    }
    return found


_TEMPLATES: Final = _environment()


def _rendered(template: str, **values: object) -> str:
    return _TEMPLATES.get_template(template).render({"root": "./", "now": None, "site": "", "refresh": 0, **values})
