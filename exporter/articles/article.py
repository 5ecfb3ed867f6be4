"""An article, and the endpoints that it prints, line by line. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.articles.printed import Printed


@dataclass(frozen=True, slots=True)
class Spot:
    """Where something stands in a source; a published page has no lines that a person would look for."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Line:
    """An endpoint where an article prints it."""

    printed: Printed
    spot: Spot
    headings: tuple[str, ...]  # from the article's title down
    listed: bool  # in a list, a table or a block of code; else in a sentence
    around: tuple[str, ...]  # the texts that may say for which cloud it is, the nearest first
    ports: frozenset[int] = frozenset()  # that a table or the text before it says; empty: none


@dataclass(frozen=True, slots=True)
class Unread:
    """A part that an article includes, and that is not there."""

    spot: Spot
    name: str  # the path
    headings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Article:
    """What is read of a source."""

    titles: tuple[str, ...]  # what stands in front of it says, and its first heading; may be none
    date: str  # of the revision, as in 2026-06-08; empty where it says none
    spot: Spot
    lines: tuple[Line, ...]
    unread: tuple[Unread, ...] = ()
    links: tuple[tuple[tuple[str, ...], str], ...] = ()  # items that are a link to another section: where, and to which
