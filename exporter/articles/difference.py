"""Compare an article with the catalogue, line by line: (article, what is followed, rows) -> Difference. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from exporter.articles.article import Article, Line, Spot
from exporter.articles.printed import Printed, printed
from exporter.model.articles import Exempt, Followed, FollowedSection, Row
from exporter.model.patterns import host_of, is_wildcard, matches_wildcard, span
from exporter.model.vocabulary import Status

Place = tuple[str, str]  # a host and a path


class Kind(StrEnum):
    """What became of a line of an article, or of a row of the catalogue."""

    NEW = "new"  # the article lists it, the catalogue does not
    GONE = "gone"  # the other way round
    MOVED = "moved"  # to another section, which is for another feature, role or cloud
    CHANGED = "changed"  # in scheme or port
    UNREAD = "unread"  # a part of the article that is not there
    KNOWN = "known"  # differs, as an earlier revision did, or on purpose
    LEFT_OUT = "left out"  # on purpose
    SAME = "same"


DIFFERENT: Final = (Kind.NEW, Kind.GONE, Kind.MOVED, Kind.CHANGED, Kind.UNREAD)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of an article, or one row that it has no line for."""

    kind: Kind
    pattern: str  # as it is printed
    spot: Spot | None  # in the article
    section: str
    rows: tuple[Row, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of every line of an article."""

    article: Article
    followed: Followed
    findings: tuple[Finding, ...]

    def count(self, kind: Kind) -> int:
        """How many findings are of a kind."""
        return sum(finding.kind is kind for finding in self.findings)

    @property
    def different(self) -> tuple[Finding, ...]:
        """What a maintainer has to look at."""
        return tuple(finding for kind in DIFFERENT for finding in self.findings if finding.kind is kind)


def recognised(article: Article, articles: Iterable[Followed]) -> Followed | None:
    """Which of the articles it is, by its titles; None: none of them."""
    titles = set(map(_title, article.titles))
    return next((followed for followed in articles if not titles.isdisjoint(map(_title, followed.titles))), None)


def _title(text: str) -> str:
    """A title without what a published page adds to it."""
    return re.split(r"\s+[|]\s+", re.sub(r"\s+-\s+(?:configuration manager|microsoft intune)\b.*", "", text.lower()))[0]


def compared(article: Article, followed: Followed, rows: Iterable[Row]) -> Difference:
    """What of an article the catalogue has, leaves out, or does not know, and what it has that the article lacks."""
    return Difference(article, followed, tuple(_Comparison(article, followed, tuple(rows)).findings()))


# ---------------------------------------------------------------- one comparison

_CLOUDS: Final[Mapping[str, str]] = MappingProxyType(
    {"us government": "azure-us-government", "public cloud": "azure-public", "21vianet": "azure-china"}
)


@dataclass(slots=True)
class _Together:
    """The lines of a section that print one host and path for one cloud."""

    section: FollowedSection | None
    cloud: str | None
    lines: list[Line] = field(default_factory=list)


class _Comparison:
    def __init__(self, article: Article, followed: Followed, rows: tuple[Row, ...]) -> None:
        self._article, self._followed = article, followed
        self._date = article.date or max(followed.revisions.values())
        self._rows: dict[Place, list[Row]] = {}
        for row in rows:
            for found in _printed(row):
                self._rows.setdefault(_renamed(found.place, followed), []).append(row)
        self._own = [row for row in rows if row.endpoint.source[:1] and row.endpoint.source[0] in followed.revisions]
        self._present: set[str] = set()  # rows, by where they are written
        self._unread = {
            feature
            for part in article.unread
            if (section := self._section(part.headings))
            for feature in section.features
        }
        self._elsewhere: list[tuple[Place, _Together]] = []
        self._listed: set[str] = set()
        self._asked_of: dict[str, frozenset[int]] = {}

    def findings(self) -> Iterator[Finding]:
        """One for each line, then one for each row that has none."""
        strict: dict[tuple[Place, int, str | None], _Together] = {}
        loose: list[Line] = []
        for line in self._article.lines:
            section = self._section(line.headings)
            if not line.listed or (section and (section.left_out or section.repeats)):
                loose.append(line)
                continue
            cloud = self._cloud(line)
            together = strict.setdefault((self._place(line), id(section), cloud), _Together(section, cloud))
            together.lines.append(line)
        self._sum_up(strict)
        kept = [finding for (place, _, _), lines in strict.items() for finding in self._strict(place, lines)]
        kept += map(self._loose, loose)
        self._follow_links()
        yield from kept
        yield from self._not_in_their_section()
        for row in self._own:
            if str(row) not in self._present and self._expected(row):
                known = _why(_host(row), self._followed.on_purpose)
                kind, why = (Kind.KNOWN, known) if known else (Kind.GONE, "no line of the article has it")
                yield Finding(kind, row.endpoint.pattern, None, row.feature, (row,), why)
        for part in self._article.unread:
            why = "is included, and is not there; save it beside the article"
            yield Finding(Kind.UNREAD, part.name, part.spot, _way(part.headings), (), why)

    # ---- lines that a section lists

    def _strict(self, place: Place, together: _Together) -> Iterator[Finding]:
        candidates = self._candidates(place, together.section, together.cloud)
        self._present.update(map(str, candidates))
        self._listed.add(place[0])
        if not candidates:
            why = _why(place[0], self._followed.left_out)
            if why is None:
                self._elsewhere.append((place, together))
                return
            yield from (self._finding(Kind.LEFT_OUT, line, (), why) for line in together.lines)
            return
        fault, known = self._ports(together, candidates)
        kind = Kind.KNOWN if known else Kind.CHANGED if fault else Kind.SAME
        for line in together.lines:
            yield self._finding(kind, line, candidates, known or fault or _status(candidates))

    def _ports(self, together: _Together, candidates: tuple[Row, ...]) -> tuple[str, str]:
        """What is wrong with the ports of the rows, if anything; and why that is known, if it is."""
        wanted = self._asked(together)
        if not wanted:
            return "", ""
        cited = tuple(row for row in candidates if self._cites(row))
        known = frozenset[int]().union(*map(_known, cited or candidates))
        probed = [(_probed(row), self._asked_of.get(str(row))) for row in cited if row.endpoint.status is Status.ACTIVE]
        if wanted <= known and not any(asked and ports - asked for ports, asked in probed):
            return "", ""
        asks = frozenset[int]().union(*(ports for ports, _ in probed)) or known
        fault = f"the article asks for {_spelled(wanted)}, the catalogue for {_spelled(asks)}"
        earlier = together.section.earlier if together.section else None
        if earlier and self._date < earlier.until and wanted <= earlier.ports:
            return fault, f"{earlier.why} ({_spelled(earlier.ports)} until {earlier.until})"
        return fault, _why(_host(candidates[0]), self._followed.on_purpose) or ""

    def _asked(self, together: _Together) -> frozenset[int]:
        """The ports that the article asks for on these lines; empty where it does not say."""
        usual = together.section.ports if together.section else frozenset()
        asked = [line.ports or usual for line in together.lines]
        return frozenset[int]().union(*asked) if all(asked) else frozenset()

    def _sum_up(self, groups: Mapping[tuple[Place, int, str | None], _Together]) -> None:
        """What the article asks of each row anywhere: one section may say less than another."""
        for (place, _, _), together in groups.items():
            for row in map(str, self._candidates(place, together.section, together.cloud)):
                asked = self._asked(together)
                before = self._asked_of.get(row, asked)
                self._asked_of[row] = asked | before if asked and before else frozenset()

    def _not_in_their_section(self) -> Iterator[Finding]:
        """Lines that no row of their section stands for: moved where a row is missed elsewhere, else new."""
        for place, together in self._elsewhere:
            missed = [
                row
                for row in self._rows.get(place, ())
                if row in self._own and str(row) not in self._present and self._expected(row)
            ]
            self._present.update(map(str, missed))
            for line in together.lines:
                others = tuple(missed or self._rows.get(place, ()))
                if missed:
                    why = f"the catalogue has it for {_whose(others)}"
                    yield self._finding(Kind.MOVED, line, others, why)
                else:
                    yield self._finding(Kind.NEW, line, others, self._where(together.section, others))

    def _where(self, section: FollowedSection | None, others: tuple[Row, ...]) -> str:
        also = f"; the catalogue has it for {_whose(others)}" if others else ""
        if section is None:
            return f"in a section that the catalogue does not follow yet{also}"
        return f"add it to {' or '.join(section.features)}, or say why it is left out{also}"

    # ---- lines that are only mentioned

    def _loose(self, line: Line) -> Finding:
        section = self._section(line.headings)
        place = self._place(line)
        candidates = self._candidates(place, section, self._cloud(line)) if section else ()
        self._present.update(map(str, candidates))
        if section and section.left_out:
            return self._finding(Kind.LEFT_OUT, line, candidates, section.left_out)
        rows = candidates or tuple(self._rows.get(place, ())) or self._covering(place[0], section)
        if rows:
            return self._finding(Kind.SAME, line, rows, _status(rows))
        why = _why(place[0], self._followed.left_out)
        if why is not None:
            return self._finding(Kind.LEFT_OUT, line, (), why)
        if place[0] in self._listed:
            return self._finding(Kind.SAME, line, (), "as another section lists it")
        return self._finding(Kind.NEW, line, (), "add it, or say why it is left out")

    def _follow_links(self) -> None:
        """An item that is a link to another section stands for what that lists."""
        for headings, text in self._article.links:
            section = self._section(headings)
            for line in self._article.lines:
                if line.headings[-1:] == (text,):
                    candidates = self._candidates(self._place(line), section, self._cloud(line))
                    self._present.update(map(str, candidates))

    # ---- sections, clouds, rows

    def _place(self, line: Line) -> Place:
        return _renamed(line.printed.place, self._followed)

    def _section(self, headings: tuple[str, ...]) -> FollowedSection | None:
        """The section that the nearest of its headings means; the article's title means only what stands above all."""
        way = tuple(heading.lower().rstrip(":") for heading in headings)
        for end in range(len(way), 0, -1):
            if end == 1 and len(way) > 1:
                return None
            fitting = [
                (len(tail), section)
                for section in self._followed.sections
                for tail in section.headings
                if way[:end][-len(tail) :] == tail
            ]
            if fitting:
                return max(fitting, key=lambda found: found[0])[1]
        return None

    def _cloud(self, line: Line) -> str | None:
        if self._followed.cloud:
            return self._followed.cloud
        for text in line.around:
            said = {cloud for words, cloud in _CLOUDS.items() if words in text.lower()}
            if len(said) == 1:
                return said.pop()
        return None

    def _candidates(self, place: Place, section: FollowedSection | None, cloud: str | None) -> tuple[Row, ...]:
        if section is None:
            return ()
        return tuple(
            row
            for row in self._rows.get(place, ())
            if row.feature in section.features
            and (not section.roles or not row.roles or not set(section.roles).isdisjoint(row.roles))
            and (cloud is None or not row.clouds or cloud in row.clouds)
        )

    def _covering(self, host: str, section: FollowedSection | None) -> tuple[Row, ...]:
        """The wildcards of a section's features that a host lies under."""
        wildcards = ((place, rows) for place, rows in self._rows.items() if is_wildcard(place[0]) and not place[1])
        found = (row for place, rows in wildcards if matches_wildcard(place[0], host) for row in rows)
        return tuple(row for row in found if section and row.feature in section.features)

    def _cites(self, row: Row) -> bool:
        """Whether a row was read in this article, in this revision or an earlier one."""
        days = [day for key in row.endpoint.source if (day := self._followed.revisions.get(key))]
        return bool(days) and min(days) <= self._date

    def _expected(self, row: Row) -> bool:
        """Whether the revision at hand must have a line for a row of this article: what has a status is known."""
        if not self._cites(row) or row.feature in self._unread:
            return False
        return row.endpoint.status is Status.ACTIVE

    def _finding(self, kind: Kind, line: Line, rows: tuple[Row, ...], why: str) -> Finding:
        return Finding(kind, line.printed.text, line.spot, _way(line.headings), rows, why)


def _why(host: str, exempt: Iterable[Exempt]) -> str | None:
    """Why a host is exempt; None: it is not."""
    for known in exempt:
        if any(host == name or (is_wildcard(name) and matches_wildcard(name, host)) for name in known.hosts):
            return known.why
    return None


def _way(headings: tuple[str, ...]) -> str:
    """The way to a section from the article's title, which is left out where there is more."""
    return " > ".join(headings[1:] or headings)


def _renamed(place: Place, followed: Followed) -> Place:
    """A place with the placeholders that today's article has."""
    host, path = place
    for earlier, today in followed.renamed.items():
        host = host.replace(earlier, today)
    return host, path


def _host(row: Row) -> str:
    return host_of(row.endpoint.pattern)


def _printed(row: Row) -> list[Printed]:
    return list(printed(row.endpoint.pattern, marked=True))[:1]


def _probed(row: Row) -> frozenset[int]:
    """The ports that a row asks for: those of its pattern, if that says a scheme, else those of its schemes."""
    own = [found.ports for found in _printed(row) if found.ports]
    endpoint = row.endpoint
    return own[0] if own else frozenset(port for scheme in endpoint.schemes for port in endpoint.ports_of(scheme))


def _known(row: Row) -> frozenset[int]:
    """These, and those that are open but not probed."""
    return _probed(row).union(*(span(extra.ports) for extra in row.endpoint.extra_ports))


def _status(rows: tuple[Row, ...]) -> str:
    """What is known of rows none of which is active."""
    if any(row.endpoint.status is Status.ACTIVE for row in rows):
        return ""
    endpoint = rows[0].endpoint
    return f"{endpoint.status}{f' since {endpoint.since}' if endpoint.since else ''}"


def _spelled(ports: Iterable[int]) -> str:
    return " and ".join(map(str, sorted(ports))) or "none"


def _whose(rows: tuple[Row, ...]) -> str:
    named = (f"{row.feature} ({', '.join((*row.roles, *row.clouds)) or 'all'})" for row in rows)
    return ", ".join(dict.fromkeys(named))
