"""How products mark the pages that they put in place of an answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What somebody on the way wants to say."""

    BLOCK = "block"  # a policy refuses
    ERROR = "error"  # a proxy could not fetch the answer
    AUTHENTICATION = "authentication"  # a proxy wants a login
    PORTAL = "portal"  # a network holds back whoever has not logged in or agreed
    EXPECTS_TLS = "expects-tls"  # a server was asked in plain HTTP on a port for TLS


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """How a product marks one of its pages: all the evidence that is given here."""

    product: str
    kind: Kind
    meaning: str  # goes on from the product's name: "denies the request by its access rules"
    header: tuple[str, re.Pattern[str]] | None = None  # its name in lower case, and what it holds
    statuses: frozenset[int] = frozenset()  # empty: any
    phrase: re.Pattern[str] | None = None  # the words behind the status
    location: re.Pattern[str] | None = None  # where the answer leads to
    body: re.Pattern[str] | None = None
    source: tuple[str, ...] = ()  # citations


@dataclass(frozen=True, slots=True)
class Marks:
    """How answers are known that are not the service's own."""

    fingerprints: tuple[Fingerprint, ...] = ()  # the first that fits names the page
    shared: frozenset[str] = frozenset()  # suffixes under which anybody may have a name
