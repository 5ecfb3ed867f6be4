"""What the catalogue follows: the articles, their sections, and what of them it leaves out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.model.vocabulary import Endpoint


@dataclass(frozen=True, slots=True)
class Row:
    """An endpoint of the catalogue, whose it is, and where it is written."""

    endpoint: Endpoint
    feature: str
    roles: tuple[str, ...]  # empty: every role of the site
    clouds: tuple[str, ...]  # empty: every cloud of the site
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Earlier:
    """The ports that a section asked for in revisions before a day."""

    ports: frozenset[int]
    until: str  # the first day without them, as in 2021-02-05
    why: str


@dataclass(frozen=True, slots=True)
class FollowedSection:
    """Sections of an article, and which rows stand for what they list."""

    headings: tuple[tuple[str, ...], ...]  # in lower case: the last headings of the way to it
    features: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()  # empty: any
    ports: frozenset[int] = frozenset()  # of an endpoint for which the article says none; empty: not known
    earlier: Earlier | None = None
    repeats: bool = False  # whether it repeats what other sections list
    left_out: str | None = None  # why nothing of it is in the catalogue


@dataclass(frozen=True, slots=True)
class Exempt:
    """Endpoints, or wildcards for them, that an article and the catalogue do not have alike, and why."""

    hosts: tuple[str, ...]  # in lower case
    why: str


@dataclass(frozen=True, slots=True)
class Followed:
    """An article that the catalogue follows."""

    name: str
    titles: tuple[str, ...]  # that it has or had; the first is today's
    page: str
    markdown: str  # its repository and its path there
    revisions: Mapping[str, str]  # source of the catalogue -> the day of the revision that it is
    sections: tuple[FollowedSection, ...]
    left_out: tuple[Exempt, ...] = ()
    on_purpose: tuple[Exempt, ...] = ()  # what the catalogue has in another way, or beyond the article
    renamed: Mapping[str, str] = field(default_factory=dict)  # placeholders of earlier revisions -> of today's
    cloud: str | None = None  # for which all of it is; None: it says so itself, or it is for all
