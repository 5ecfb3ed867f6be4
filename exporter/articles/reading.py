"""Read a saved article, Markdown with its includes or a published page: file -> its title, date and endpoints by line.

Both become HTML, and one walk over that finds the endpoints: Markdown by markdown-it-py, with the number of the line on
each block. HTML is read by lxml, which is written in C and has wheels for all of our systems: the parser of the
standard library, and with it those built on top of it, takes minutes for some pages of 100 kB made to that end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from lxml import etree
from markdown_it import MarkdownIt
from markdown_it.token import Token

from exporter.articles.article import Article, Line, Spot, Unread
from exporter.articles.printed import Printed, printed
from exporter.config.documents import TooLarge, decoded, read_bytes, reason
from exporter.config.yaml_tree import NotYaml, Tree

MAX_MARKDOWN: Final = 256 << 10  # with what it includes; the longest article has 42 kB
MAX_HTML: Final = 512 << 10  # the time for attributes grows with their square: half a minute for a page of nothing else
MAX_INCLUDES: Final = 64
MAX_ENDPOINTS: Final = 10_000


class Unreadable(Exception):
    """A source that is no article, or cannot be read: why, and what to do."""


def read(path: Path) -> Article:
    """The article in a file. Raises Unreadable."""
    text = _text(path, max(MAX_MARKDOWN, MAX_HTML))
    if _HTML.search(text, 0, _HEAD):
        return _from_html(text, str(path))
    expanded = _expanded_faq(text, str(path)) if text.startswith(_FAQ) else _expanded(text, path)
    return _from_markdown(expanded)


def _text(path: Path, limit: int) -> str:
    try:
        text = decoded(read_bytes(path, limit))
    except UnicodeDecodeError as error:
        raise Unreadable(
            f"the byte 0x{error.object[error.start]:02x} is not UTF-8; save the article in UTF-8"
        ) from None
    except TooLarge:
        raise Unreadable(
            f"holds more than {limit >> 10} KiB, several times the longest article; save it anew"
        ) from None
    except (OSError, ValueError) as error:
        raise Unreadable(f"cannot be read: {reason(error)}") from None
    if not text.strip():
        raise Unreadable("is empty; download it anew")
    return _UNPRINTABLE.sub(" ", text)


_HTML: Final = re.compile(r"<(?:!doctype html|html)\b", re.IGNORECASE)
_HEAD: Final = 4096  # characters, before which a page says that it is one
_FAQ: Final = "### YamlMime:FAQ"
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")  # what XML cannot hold

# ---------------------------------------------------------------- Markdown and its includes


@dataclass(slots=True)
class _Expanded:
    """The text of an article with its includes in place, and where each line of it stands."""

    title: str = ""
    date: str = ""
    lines: list[str] = field(default_factory=list)
    spots: list[Spot] = field(default_factory=list)
    unread: list[tuple[Spot, str]] = field(default_factory=list)
    includes: int = 0
    size: int = 0


_INCLUDE: Final = re.compile(r"\[!INCLUDE\s*\[[^\]\n]{0,500}\]\(\s*<?([^()\s<>]{1,500})>?\s*\)\]", re.IGNORECASE)
_FRONT: Final = re.compile(r"---[ \t]*\r?\n(.*?\n)---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


def _expanded(text: str, path: Path) -> _Expanded:
    into = _Expanded()
    metadata, body, first = _apart(text)
    into.title, into.date = metadata.get("title", ""), _date(metadata.get("ms.date", ""))
    _expand(body, first, path, into, (path.resolve(),))
    return into


def _apart(text: str) -> tuple[Mapping[str, str], str, int]:
    """What stands in front of a Markdown text, the text, and the number of its first line. Raises Unreadable."""
    match = _FRONT.match(text)
    if match is None:
        return {}, text, 1
    try:
        value = Tree(match[1]).value
    except NotYaml as error:
        raise Unreadable(f"line {error.flaw.line + 1}: what stands in front of it is {error.flaw.message}") from None
    metadata = value if isinstance(value, dict) else {}
    words = {key: item for key, item in metadata.items() if isinstance(item, str)}
    return words, text[match.end() :], text.count("\n", 0, match.end()) + 1


def _expand(body: str, first: int, path: Path, into: _Expanded, above: tuple[Path, ...]) -> None:
    into.size += len(body)
    if into.size > MAX_MARKDOWN:
        raise Unreadable(
            f"holds with its includes more than {MAX_MARKDOWN >> 10} KiB, several times the longest article"
        )
    for number, line in enumerate(body.splitlines(), first):
        spot = Spot(str(path), number)
        included = _INCLUDE.search(line)
        if included is None:
            into.lines.append(line)
            into.spots.append(spot)
            continue
        into.lines.append(_INCLUDE.sub("", line))
        into.spots.append(spot)
        for name in _INCLUDE.findall(line):
            _include(name, spot, path, into, above)


def _include(name: str, spot: Spot, path: Path, into: _Expanded, above: tuple[Path, ...]) -> None:
    """Put what a path names in place; what is no Markdown below or beside the article is none of its parts."""
    into.includes += 1
    if into.includes > MAX_INCLUDES:
        raise Unreadable(f"{spot}: more than {MAX_INCLUDES} includes; an article has a few")
    target = path.parent / name
    if Path(name).is_absolute() or target.suffix.lower() != ".md":
        raise Unreadable(f"{spot}: includes what is no .md file beside it; remove the line, or save the article anew")
    if target.resolve() in above:
        raise Unreadable(f"{spot}: includes what includes it; remove the line")
    if not target.is_file():
        for line in ("", f'<div {_UNREAD}="{len(into.unread)}"></div>', ""):
            into.lines.append(line)
            into.spots.append(spot)
        into.unread.append((spot, name))
        return
    try:
        _, body, first = _apart(_text(target, MAX_MARKDOWN))
    except Unreadable as error:
        raise Unreadable(f"{spot}: what it includes {error}") from None
    into.lines.append("")
    into.spots.append(spot)
    _expand(body, first, target, into, (*above, target.resolve()))


def _expanded_faq(text: str, file: str) -> _Expanded:
    """A list of questions, which is YAML with Markdown in its answers, as Markdown."""
    try:
        tree = Tree(text)
    except NotYaml as error:
        raise Unreadable(f"line {error.flaw.line}: {error.flaw.message}") from None
    into = _Expanded()
    value: Any = tree.value
    try:
        into.title, into.date = str(value["title"]), _date(str(value["metadata"].get("ms.date", "")))
        _add(into, Spot(file, tree.locate(("title",)).line), f"# {_one(into.title)}")
        for i, section in enumerate(value["sections"]):
            _add(into, Spot(file, tree.locate(("sections", i)).line), f"## {_one(str(section['name']))}")
            for j, question in enumerate(section["questions"]):
                line = tree.locate(("sections", i, "questions", j, "answer")).line
                _add(into, Spot(file, line), f"### {_one(str(question['question']))}")
                for k, answered in enumerate(str(question["answer"]).splitlines(), 1):
                    _add(into, Spot(file, line + k), answered, blank=False)
    except (KeyError, TypeError, AttributeError):
        raise Unreadable("is no list of questions as the documentation has them; save it anew") from None
    if sum(map(len, into.lines)) > MAX_MARKDOWN:
        raise Unreadable(f"holds more than {MAX_MARKDOWN >> 10} KiB, several times the longest article")
    return into


def _add(into: _Expanded, spot: Spot, line: str, *, blank: bool = True) -> None:
    lines = ["", line, ""] if blank else [line]
    into.lines += lines
    into.spots += [spot] * len(lines)


def _from_markdown(text: _Expanded) -> Article:
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse("\n".join(text.lines))
    for token in tokens:
        _number(token)
    html = parser.renderer.render(tokens, parser.options, {})
    first = text.spots[0] if text.spots else Spot("")
    walked = _Walk(text.spots, first, text.unread)
    walked.over(_parsed(html))
    return walked.article(text.title, text.date, first.file)


def _number(token: Token) -> None:
    if token.map is not None and token.nesting >= 0:
        token.attrSet(_LINE, str(token.map[0]))


_LINE: Final = "data-line"
_UNREAD: Final = "data-unread"

# ---------------------------------------------------------------- HTML


def _parsed(html: str) -> etree._Element:
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
    root = etree.fromstring(f"<html><body>{html}</body></html>".encode(), parser)
    if root is None:
        raise Unreadable("holds nothing that can be read; save it anew")
    return root


def _from_html(html: str, file: str) -> Article:
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
    try:
        root = etree.fromstring(html.encode(), parser)
    except etree.LxmlError:
        root = None
    if root is None:
        raise Unreadable("is no page that can be read; save it anew")
    said = {
        (found.get("name") or found.get("property") or "").lower(): found.get("content") or ""
        for found in root.iter("meta")
    }
    title = " ".join("".join(next(root.iter("title"), root.makeelement("title", {})).itertext()).split())
    walked = _Walk((), Spot(file), ())
    walked.over(next(root.iter("main"), root))
    return walked.article(title, _date(said.get("ms.date") or said.get("updated_at") or ""), file)


def _date(text: str) -> str:
    """A date as 2026-06-08, of the forms that articles give it in; empty for any other."""
    if match := re.match(r"(\d{1,2})/(\d{1,2})/(\d{4})\b", text):
        month, day, year = match.groups()
        return f"{year}-{int(month):02}-{int(day):02}"
    match = re.match(r"\d{4}-\d{2}-\d{2}", text)
    return match[0] if match else ""


# ---------------------------------------------------------------- the walk

_HEADING: Final[Mapping[str, int]] = MappingProxyType({f"h{level}": level for level in range(1, 7)})
_BLOCK: Final = re.compile(
    r"address|article|blockquote|body|dd|details|div|dl|dt|figure|li|main|ol|p|pre|section|summary|table|"
    r"tbody|td|tfoot|th|thead|tr|ul|hr|h[1-6]"
)
_SKIPPED: Final = re.compile(r"aside|button|footer|form|head|header|nav|noscript|script|style|svg|template")
_LISTED: Final = frozenset(("li", "td", "th", "pre", "dd", "dt"))
_CODE: Final = frozenset(("code", "kbd", "samp", "pre"))
_NOTES: Final = frozenset(("note", "tip", "important", "warning", "caution", "alert"))  # classes of a published page
_TAB: Final = 7  # the level of a tab's heading, which belongs to the section that it stands in
_KIND: Final = r"(?:tcp|udp|https?|ports?)\b[\s:/*()-]{0,4}"
_SAID: Final = re.compile(rf"\b{_KIND}(?:{_KIND})*+", re.IGNORECASE)
_NUMBERS: Final = re.compile(r"\d{2,5}(?:\s*(?:,|/|&|and|or)\s*\d{2,5})*")
_COLUMN: Final = re.compile(r"\b(?:ports?|protocol)\b", re.IGNORECASE)
_ORDINARY: Final = frozenset((80, 443))


@dataclass(slots=True)
class _Cell:
    """A cell of the row that is walked over."""

    text: str
    lines: list[Line]


class _Walk:
    """Goes over a document in its order, and keeps what it passes."""

    def __init__(self, spots: Sequence[Spot], file: Spot, missing: Sequence[tuple[Spot, str]]) -> None:
        self._spots, self._file, self._missing = spots, file, missing
        self._unread: list[Unread] = []
        self._links: list[tuple[tuple[str, ...], str]] = []
        self._link = ""
        self._line: int | None = None
        self._headings: list[tuple[int, str, frozenset[int]]] = []  # level, text, ports said below it
        self._lines: list[Line] = []
        self._open: list[str] = []
        self._text: list[tuple[str, bool]] = []
        self._items: list[str] = []  # how each open item of a list begins
        self._lead = ""
        self._columns: list[str] = []
        self._cells: list[_Cell] = []
        self._code = 0
        self._notes = 0
        self._tab = False
        self._title = ""

    def over(self, root: etree._Element) -> None:
        """Pass a tree. Raises Unreadable where it holds more than any article."""
        skipped = 0
        for event, element in etree.iterwalk(root, events=("start", "end")):
            tag = element.tag if isinstance(element.tag, str) else ""
            if event == "start":
                skipped += _skipped(tag)
                if not skipped:
                    self._enter(tag, element)
                    self._add(element.text)
            else:
                if not skipped:
                    self._leave(tag, element)
                skipped -= _skipped(tag)
                if not skipped:
                    self._add(element.tail)
        self._flush()

    def article(self, title: str, date: str, file: str) -> Article:
        """What was passed."""
        titles = tuple(dict.fromkeys(filter(None, (title, self._title))))
        return Article(titles, date, Spot(file), tuple(self._lines), tuple(self._unread), tuple(self._links))

    # ---- elements

    def _enter(self, tag: str, element: etree._Element) -> None:
        if _BLOCK.fullmatch(tag):
            self._flush()
            self._open.append(tag)
            self._notes += _is_note(tag, element)
            if (index := _index(element, _UNREAD, len(self._missing))) is not None:
                self._unread.append(Unread(*self._missing[index], self._path()))
        if (index := _index(element, _LINE, len(self._spots))) is not None:
            self._line = index
        self._code += tag in _CODE
        match tag:
            case "li":
                self._items.append("")
            case "table":
                self._columns = []
            case "tr":
                self._cells = []
            case "td" | "th":
                self._cells.append(_Cell("", []))
            case "br":
                self._text.append((" ", False))
            case "a":
                href = (element.get("href") or "").lower()
                self._tab |= href.startswith("#tab/")
                self._link = "".join(element.itertext()) if href.startswith("#") else ""

    def _leave(self, tag: str, element: etree._Element) -> None:
        if tag in _HEADING:
            self._head(_HEADING[tag])
        elif _BLOCK.fullmatch(tag):
            self._flush()
        self._code -= tag in _CODE
        if not _BLOCK.fullmatch(tag):
            return
        self._notes -= _is_note(tag, element)
        self._open.pop()
        match tag:
            case "li":
                self._items.pop()
            case "tr":
                self._end_row()
            case "hr":
                self._close(_TAB)
            case "ul" | "ol" | "table" if not self._items:
                self._lead = ""

    def _add(self, text: str | None) -> None:
        if text:
            self._text.append((text, self._code > 0))

    def _taken(self) -> str:
        whole = _one("".join(text for text, _ in self._text))
        self._text = []
        return whole

    def _close(self, level: int) -> None:
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        self._lead = ""

    def _head(self, level: int) -> None:
        level, self._tab = (_TAB if self._tab else level), False
        text = self._taken()
        self._close(level)
        if not self._title and level == 1:
            self._title = text
        ports = self._headings[-1][2] if self._headings else frozenset()
        self._headings.append((level, text, ports))

    def _path(self) -> tuple[str, ...]:
        return tuple(text for _, text, _ in self._headings)

    # ---- texts

    def _flush(self) -> None:
        """Take what was gathered since the last block began or ended."""
        if not self._text:
            return
        pieces = self._text
        whole = self._taken()
        if not whole:
            return
        if self._items and self._link and whole == _one(self._link):
            self._links.append((self._path(), whole))
        listed = not self._notes and not _LISTED.isdisjoint(self._open)
        if not listed and not self._notes:
            self._sentence(whole)
        around = self._around(whole)
        if self._items and not self._items[-1]:
            self._items[-1] = whole
        lines = [self._found(item, listed, around) for item in _endpoints(pieces, listed=listed)]
        if len(self._lines) + len(lines) > MAX_ENDPOINTS:
            raise Unreadable(f"lists more than {MAX_ENDPOINTS} endpoints; no article does")
        if self._cells and self._in_row():
            self._cells[-1].text = f"{self._cells[-1].text} {whole}".strip()
            self._cells[-1].lines += lines
        else:
            self._lines += lines

    def _found(self, item: tuple[Printed, int], listed: bool, around: tuple[str, ...]) -> Line:
        endpoint, below = item
        said = self._headings[-1][2] if self._headings else frozenset()
        return Line(endpoint, self._spot(below), self._path(), listed, around, endpoint.ports or said)

    def _spot(self, below: int) -> Spot:
        if self._line is None or not self._spots:
            return self._file
        fenced = "pre" in self._open  # whose first line is the fence
        return self._spots[min(self._line + (below + 1 if fenced else 0), len(self._spots) - 1)]

    def _sentence(self, whole: str) -> None:
        """Keep what a paragraph says of what follows."""
        self._lead = whole
        said = _ports(whole)
        if said and self._headings:
            level, text, _ = self._headings[-1]
            self._headings[-1] = (level, text, said)

    def _around(self, whole: str) -> tuple[str, ...]:
        column = ""
        if self._cells and self._in_row() and len(self._cells) <= len(self._columns):
            column = self._columns[len(self._cells) - 1]
        first = self._cells[0].text if self._cells and self._in_row() else ""
        return tuple(filter(None, (whole, *reversed(self._items), column, first, self._lead, *self._path()[::-1])))

    def _in_row(self) -> bool:
        return "tr" in self._open

    def _end_row(self) -> None:
        cells, self._cells = self._cells, []
        if not self._columns:
            self._columns = [cell.text for cell in cells]
        said = frozenset(
            int(number)
            for cell, column in zip(cells, self._columns, strict=False)
            if _COLUMN.search(column)
            for number in re.findall(r"\b\d{2,5}\b", cell.text)
        )
        for line in (line for cell in cells for line in cell.lines):
            self._lines.append(replace(line, ports=line.printed.ports or said or line.ports))


def _index(element: etree._Element, name: str, length: int) -> int | None:
    """A number that an attribute holds, if something has it."""
    text = element.get(name) or ""
    return int(text) if text.isdecimal() and len(text) < 10 and int(text) < length else None  # noqa: PLR2004 - digits


def _skipped(tag: str) -> bool:
    return _SKIPPED.fullmatch(tag) is not None


def _is_note(tag: str, element: etree._Element) -> bool:
    """Whether it is set apart from what the article lists, as a note or a tip is."""
    classes = (element.get("class") or "").lower().split() if tag == "div" else ()
    return tag == "blockquote" or not _NOTES.isdisjoint(classes)


def _endpoints(pieces: list[tuple[str, bool]], *, listed: bool) -> Iterator[tuple[Printed, int]]:
    """The endpoints in the pieces of a block, each once, and how many lines below its beginning."""
    seen: set[str] = set()
    below = 0
    for text, code in pieces:
        for number, line in enumerate(text.split("\n")):
            for found in printed(line, marked=code or listed):
                if found.text not in seen:
                    seen.add(found.text)
                    yield found, below + number
        below += text.count("\n")


def _ports(text: str) -> frozenset[int]:
    """The ports that a sentence asks for; empty where it says none, or speaks of others than the web's."""
    found = {
        int(number)
        for said in _SAID.finditer(text)
        if (numbers := _NUMBERS.match(text, said.end()))
        for number in re.findall(r"\d+", numbers[0])
    }
    return frozenset(found) if found <= _ORDINARY else frozenset()


def _one(text: str) -> str:
    return " ".join(text.split())
