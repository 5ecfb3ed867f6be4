"""Recognise what a proxy, a filter or a portal puts in place of an answer: (answer, fingerprints) -> who did. Pure.

Some marks can stand on an honest page too, and honest servers redirect as well: ask only about an answer that somebody
on the way could have given, over plain HTTP or over TLS that was intercepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from html import unescape
from http import HTTPStatus
from typing import Final
from urllib.parse import urljoin, urlsplit

from exporter.model import Answer
from exporter.patterns import address_of, host_of


class Kind(StrEnum):
    """What somebody on the way wants to say."""

    BLOCK = "block"  # a policy refuses
    ERROR = "error"  # a proxy could not fetch the answer
    AUTHENTICATION = "authentication"  # a proxy wants a login
    PORTAL = "portal"  # a network holds back whoever has not logged in or agreed


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """How a product marks one of its pages: all the evidence that is given here."""

    product: str
    kind: Kind
    meaning: str  # goes on from the product's name: "denies the request by its access rules"
    header: tuple[str, re.Pattern[str]] | None = None  # its name in lower case, and what it holds
    statuses: frozenset[int] = frozenset()  # empty: any
    location: re.Pattern[str] | None = None  # where the answer leads to
    body: re.Pattern[str] | None = None
    source: tuple[str, ...] = ()  # citations


def recognise(answer: Answer, fingerprints: Iterable[Fingerprint]) -> Fingerprint | None:
    """The first fingerprint that the answer bears, or None. Only the beginnings of texts are looked at."""
    headers = _headers(answer)
    location = _leads_to(answer, headers)
    body = answer.body[:_BODY]
    return next((mark for mark in fingerprints if _bears(mark, answer.status, headers, location, body)), None)


def leads_astray(url: str, answer: Answer, domains: frozenset[str]) -> str | None:
    """The host that a redirect, or a page that refreshes itself, leads to, if no answer for `url` should lead there.

    It may lead within the domain of `url` and into `domains`, which are such as `domains_of` gives, but to no private
    address other than the one in `url`. A malformed reference leads nowhere.
    """
    reference = _leads_to(answer, _headers(answer))
    own, host = _host(url), _host(url, reference)
    if not host or host == own:
        return None
    address = address_of(host)
    if address is None:
        home = _home(host)
        at_home = home == _home(own) or home in domains or home.partition(".")[2] in domains
    else:
        at_home = address.is_global and host in domains
    return None if at_home else host


def domains_of(patterns: Iterable[str]) -> frozenset[str]:
    """The domains that documented patterns name: `microsoft.com` for `*.manage.microsoft.com`."""
    hosts = (_OPEN.sub("", host_of(pattern)) for pattern in patterns)
    return frozenset(_home(host) if address_of(host) is None else host for host in hosts if host)


# ---------------------------------------------------------------- what the answer shows

_BODY: Final = 4096  # characters
_VALUE: Final = 2048

_META: Final = re.compile(r"<meta\s([^<>]{1,1000})>", re.IGNORECASE)
_REFRESH: Final = re.compile(r"http-equiv\s{0,5}=\s{0,5}[\"']?refresh\b", re.IGNORECASE)
_URL: Final = re.compile(r"[;,]\s{0,5}(?:url\s{0,5}=)?\s{0,5}[\"']?\s{0,5}([^\s\"'<>]{1,1000})", re.IGNORECASE)


def _headers(answer: Answer) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for name, value in answer.headers:
        headers.setdefault(name.lower(), []).append(value[:_VALUE])
    return headers


def _leads_to(answer: Answer, headers: Mapping[str, list[str]]) -> str:
    """Where a redirect leads, or a page that refreshes itself, as it is written; empty: nowhere."""
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST and "location" in headers:
        return headers["location"][0]
    refreshes = (tag[1] for tag in _META.finditer(answer.body[:_BODY]) if _REFRESH.search(tag[1]))
    urls = (_URL.search(unescape(tag)) for tag in refreshes)
    return next((url[1] for url in urls if url), "")


def _bears(mark: Fingerprint, status: int, headers: Mapping[str, list[str]], location: str, body: str) -> bool:
    return (
        (not mark.statuses or status in mark.statuses)
        and (mark.header is None or any(map(mark.header[1].search, headers.get(mark.header[0], ()))))
        and (mark.location is None or mark.location.search(location) is not None)
        and (mark.body is None or mark.body.search(body) is not None)
    )


# ---------------------------------------------------------------- whose host it is

# Suffixes under which anybody may have a name. The public suffix list holds them all, but is long and ages; these are
# what a country's names commonly end in, and those that documented endpoints lie under, or that pages are put up under.
_NATIONAL: Final = re.compile(r"(?:^|\.)(?:ac|co|com|edu|gob|gouv|gov|gv|ne|net|nom|or|org)\.[a-z][a-z]$")
_SHARED: Final = frozenset(
    {
        "azureedge.net",
        "azurefd.net",
        "azurestaticapps.net",
        "azurewebsites.net",
        "blob.core.usgovcloudapi.net",
        "blob.core.windows.net",
        "cloudapp.azure.com",
        "cloudapp.net",
        "cloudfront.net",
        "github.io",
        "trafficmanager.net",
        "usgovcloudapp.net",
        "web.core.windows.net",
    }
)
_LONGEST_SHARED: Final = 4  # labels
_OPEN: Final = re.compile(r".*[*<>][^.]*\.?")  # of a pattern's host: all up to the last label that is not written out
_LONGEST_NAME: Final = 253


def _host(url: str, reference: str = "") -> str:
    """The host that a reference leads to from a URL, in one spelling; empty where there is none on the web."""
    try:
        parts = urlsplit(urljoin(url, reference))
        host = (parts.hostname or "").removesuffix(".")
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"}:
        return ""
    address = address_of(host)
    return _ascii(host) if address is None else str(address)


def _ascii(host: str) -> str:
    """A name as it goes on the wire; as it is, where it cannot go there."""
    try:
        return host.encode("idna").decode().lower() if len(host) <= _LONGEST_NAME else host
    except UnicodeError:
        return host


def _home(host: str) -> str:
    """The domain that one party has for itself: the last two labels, or one more than a suffix that many share."""
    labels = host.split(".")
    tails = {n: ".".join(labels[-n:]) for n in range(_LONGEST_SHARED, 1, -1)}
    shared = 2 if _NATIONAL.search(host) else next((n for n, tail in tails.items() if tail in _SHARED), 1)
    return ".".join(labels[-shared - 1 :])
