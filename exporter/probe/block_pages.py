"""Recognise what a proxy, a filter or a portal puts in place of an answer: (answer, fingerprints) -> who did. Pure.

Some marks can stand on an honest page too, and honest servers redirect as well: ask only about an answer that somebody
on the way could have given, over plain HTTP or over TLS that was intercepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from html import unescape
from http import HTTPStatus
from typing import Final
from urllib.parse import urljoin, urlsplit

from exporter.model.fingerprints import Fingerprint
from exporter.model.patterns import address_of, host_of, written
from exporter.model.vocabulary import Answer
from exporter.probe.bodies import BEGINNING, is_page


def recognise(answer: Answer, fingerprints: Iterable[Fingerprint]) -> Fingerprint | None:
    """The first fingerprint that the answer bears, or None. Only the beginnings of texts are looked at."""
    shown = _shown(answer)
    return next((mark for mark in fingerprints if _bears(mark, shown)), None)


def leads_astray(
    url: str,
    answer: Answer,
    domains: frozenset[str],
    named: Iterable[str] = (),
    *,
    shared: frozenset[str] = frozenset(),
    intranet: bool = False,
) -> str | None:
    """The host that a redirect, or a page that refreshes itself, leads to, if no answer for `url` should lead there.

    It may lead within the domain of `url` and into `domains`, which are such as `domains_of` gives, but to no private
    address other than the one in `url`, unless that is of an intranet; and to the hosts and *.domains that are `named`.
    `shared`: suffixes under which anybody may have a name.
    A malformed reference leads nowhere.
    """
    shown = _shown(answer)
    own, host = _host(url), _host(url, shown.base, shown.leads_to)
    if not host or host == own or any(_covers(entry, host) for entry in named):
        return None
    address = address_of(host)
    if address is None:
        home = _home(host, shared)
        at_home = home == _home(own, shared) or home in domains or home.partition(".")[2] in domains
        at_home = at_home or (intranet and _is_short_for(own, host))
    else:
        at_home = (address.is_global or intranet) and host in domains
    return None if at_home else host


def domains_of(patterns: Iterable[str], shared: frozenset[str] = frozenset()) -> frozenset[str]:
    """The domains that documented patterns name, below what is `shared`: `microsoft.com` for `*.x.microsoft.com`."""
    hosts = (_OPEN.sub("", host_of(pattern)) for pattern in patterns)
    return frozenset(_home(host, shared) if address_of(host) is None else host for host in hosts if host)


# ---------------------------------------------------------------- what the answer shows

_VALUE: Final = 2048  # characters of a header
_COMMENT: Final = re.compile(r"<!--(?:-?>|.*?(?:--!?>|$))", re.DOTALL)
_TAG: Final = re.compile(
    r"<(meta|base)(?=[\s/])((?>(?:[\s/=]+|[^\s/<>=]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'<>][^\s<>]*))?)*))>",
    re.IGNORECASE,
)
# A name begins where nothing of one stands before it: else each of its letters would begin one, and take as long.
_ATTRIBUTE: Final = re.compile(
    r"(?<![^\s/<>=\"'])([^\s/<>=\"']++)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>][^\s<>]*))"
)


@dataclass(frozen=True, slots=True)
class _Shown:
    """An answer as a browser takes it."""

    status: int
    phrase: str
    headers: Mapping[str, list[str]]  # by the name in lower case
    body: str
    page: bool  # whether the body is one
    leads_to: str = ""  # a redirect, or a page that refreshes itself, as it is written; empty: nowhere
    base: str = ""  # what that is relative to, if it is not the answer's own URL


def _shown(answer: Answer) -> _Shown:
    headers: dict[str, list[str]] = {}
    for name, value in answer.headers:
        headers.setdefault(name.lower(), []).append(value[:_VALUE])
    body = answer.body[:BEGINNING]
    page = is_page(answer)
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST and "location" in headers:
        return _Shown(answer.status, answer.phrase, headers, body, page, headers["location"][0])
    tags = list(_tags(body)) if page else []
    pragmas = (tag.get("content", "") for kind, tag in tags if kind == "meta" and _is_refresh(tag))
    leads_to = next(filter(None, map(_refreshed, (*headers.get("refresh", ()), *pragmas))), "")
    base = next((tag["href"] for kind, tag in tags if kind == "base" and "href" in tag), "")
    return _Shown(answer.status, answer.phrase, headers, body, page, leads_to, base)


def _tags(body: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The tags of a page that may lead elsewhere, and their attributes, of which the first of a name counts."""
    for tag in _TAG.finditer(_COMMENT.sub("", body)):
        attributes: dict[str, str] = {}
        for name, *values in _ATTRIBUTE.findall(tag[2]):
            attributes.setdefault(name.lower(), unescape("".join(values)))
        yield tag[1].lower(), attributes


def _is_refresh(tag: Mapping[str, str]) -> bool:
    return tag.get("http-equiv", "").strip().rstrip("/").lower() == "refresh"


# https://html.spec.whatwg.org, 4.2.5.3: "shared declarative refresh steps"
_REFRESH: Final = re.compile(
    r"\s*(?:(?:[\d.]+\s*)?[;,\s]\s*(?:url\s*=\s*)?|url\s*=\s*)(?:\"([^\"]*)|'([^']*)|(.*))", re.IGNORECASE | re.DOTALL
)


def _refreshed(value: str) -> str:
    """Where a `Refresh` leads, as it is written; empty: to the same page, or nowhere. Its time may be left out."""
    match = _REFRESH.match(value[:_VALUE])
    return "".join(filter(None, match.groups())).strip() if match else ""


def _bears(mark: Fingerprint, shown: _Shown) -> bool:
    # Text that quotes a page is none: it needs to show more than the quotation.
    says_more = shown.page or mark.statuses or mark.phrase or mark.header or mark.location
    return (
        (not mark.statuses or shown.status in mark.statuses)
        and (mark.header is None or any(map(mark.header[1].search, shown.headers.get(mark.header[0], ()))))
        and (mark.phrase is None or mark.phrase.search(shown.phrase) is not None)
        and (mark.location is None or mark.location.search(shown.leads_to) is not None)
        and (mark.body is None or (bool(says_more) and mark.body.search(shown.body) is not None))
    )


# ---------------------------------------------------------------- whose host it is

# What a country's names commonly end in.
_NATIONAL: Final = re.compile(r"(?:^|\.)(?:ac|co|com|edu|gob|gouv|gov|gv|ne|net|nom|or|org)\.[a-z][a-z]$")
_LONGEST_SHARED: Final = 4  # labels
_OPEN: Final = re.compile(r".*[*<>][^.]*\.?")  # of a pattern's host: all up to the last label that is not written out
_LONGEST_NAME: Final = 253
_UNREAD: Final = re.compile(r"^[\x00-\x20]+|[\t\n\r]+")  # what is passed over in a reference
_SCHEME: Final = re.compile(r"(https?):", re.IGNORECASE)


def _host(url: str, *references: str) -> str:
    """The host that references lead to from a URL, in one spelling; empty where there is none on the web."""
    try:
        parts = urlsplit(reduce(_joined, references, url))
        host = (parts.hostname or "").removesuffix(".")
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"}:
        return ""
    address = address_of(host)
    return _ascii(host) if address is None else written(address)


def _covers(entry: str, host: str) -> bool:
    """Whether a host is the one that is named, or lies below it; for `*.domain`, below the domain only."""
    domain = entry.removeprefix("*.")
    return host == entry or (address_of(domain) is None and host.endswith(f".{domain}"))


def _is_short_for(one: str, other: str) -> bool:
    """Whether one of two names is the other's first label: a short name, which a search list makes whole."""
    return one.partition(".")[0] == other.partition(".")[0] and ("." not in one or "." not in other)


def _joined(base: str, reference: str) -> str:
    """Where a reference leads from a URL, with the slashes that browsers read in it: https://url.spec.whatwg.org, 4.4.

    A backslash is one, and before a host there may be any number of them; behind another scheme, a host comes.
    """
    reference = _UNREAD.sub("", reference)
    path = re.split(r"[?#]", reference, maxsplit=1)[0]
    scheme = _SCHEME.match(path)
    begun = scheme[0] if scheme else ""
    rest = path[len(begun) :].replace("\\", "/")
    other = scheme is not None and scheme[1].lower() != urlsplit(base).scheme
    if other or rest.startswith("//"):
        rest = f"//{rest.lstrip('/')}"
    return urljoin(base, begun + rest + reference[len(path) :])


def _ascii(host: str) -> str:
    """A name as it goes on the wire; as it is, where it cannot go there."""
    try:
        return host.encode("idna").decode().lower() if len(host) <= _LONGEST_NAME else host
    except UnicodeError:
        return host


def _home(host: str, shared: frozenset[str]) -> str:
    """The domain that one party has for itself: the last two labels, or one more than a suffix that many share."""
    labels = host.split(".")
    tails = {n: ".".join(labels[-n:]) for n in range(_LONGEST_SHARED, 1, -1)}
    suffix = 2 if _NATIONAL.search(host) else next((n for n, tail in tails.items() if tail in shared), 1)
    return ".".join(labels[-suffix - 1 :])
