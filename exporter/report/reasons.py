"""What each reason means in words, what to change, and who can: reasons.yaml, the one place for these words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import ClassVar

from exporter.model.vocabulary import Cause, Failure, Reason, WhyUnprobed
from exporter.report.shipped import KEYS_ARE_KNOWN, read_shipped


class Who(StrEnum):
    """Who can change it."""

    DNS = "DNS"
    FIREWALL = "firewall"
    PROXY = "proxy"
    PKI = "PKI"
    OPERATOR = "exporter's operator"
    NOBODY = "owner not known yet"  # first find out who answers, or who keeps silent


@dataclass(frozen=True, slots=True)
class Words:
    """A reason for people: one sentence of what it means, what to change, and whose change that is."""

    summary: str
    remedy: str
    who: Who
    short: str = ""  # of a reason or a cause: what follows the hosts that fail by it; {proxy} is the proxy by name
    for_one: str = ""  # the remedy where one target is looked at: with its {port}, {patterns}, {roles} ...

    __pydantic_config__: ClassVar = KEYS_ARE_KNOWN

    @property
    def to_do(self) -> str:
        """What to change, and who can, on one line."""
        return f"To do ({self.who}): {self.remedy}"


@dataclass(frozen=True, slots=True)
class AllWords:
    """What reasons.yaml holds: words for every member of three closed sets, and for TLS that is inspected."""

    reasons: Mapping[Reason, Words]
    causes: Mapping[Cause, Words]
    inspection: Words  # of a certificate that is refused, and that somebody on the way issued
    unprobed: Mapping[WhyUnprobed, Words]

    __pydantic_config__: ClassVar = KEYS_ARE_KNOWN


@cache
def all_words() -> AllWords:
    """The words for everything that can be said of a target or an endpoint; read when they are first asked for."""
    return read_shipped("reasons.yaml", AllWords)


def inspection_words() -> Words:
    """The words for a certificate that is refused, and that somebody on the way issued in the service's place."""
    return all_words().inspection


def words_of(failure: Failure) -> Words:
    """The words for a failure: those of its cause where it is known, else those of its reason."""
    words = all_words()
    return words.reasons[failure.reason] if failure.cause is None else words.causes[failure.cause]
