"""Read YAML that people write: file -> checked values, or every mistake in it at once, each with its line."""

from __future__ import annotations

import os
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType, NoneType, UnionType
from typing import Annotated, Final, TypeVar, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from exporter.config.fields import Faults, Section, Shape, expected, expected_by, found, shown, unknown
from exporter.config.yaml_tree import NotYaml, Tree
from exporter.model.vocabulary import Place
from exporter.text.secrets import HIDDEN, may_stand_at

T = TypeVar("T")

A_FOLDER: Final = "it is a folder; name a file in it"
MAX_BYTES: Final = 1 << 20


# ${NAME}, $NAME, %NAME% or ~, which nobody puts in for the file; a bcrypt hash begins with $ and a digit.
_LEFT_TO_THE_ENVIRONMENT: Final = re.compile(r"\$\{\w+\}|^\$[A-Za-z_]\w*$|%[A-Za-z_]\w{3,}%|^~[/\\]")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong in a file, in words for the person who wrote it."""

    file: str
    line: int
    place: Place  # the keys that lead to it; none: the file as a whole
    message: str
    local: bool = False  # whether it is one on this machine only, which lacks what another may have

    def __str__(self) -> str:
        return ": ".join(filter(None, (f"{self.file}:{self.line}", spelled(self.place), self.message)))

    @property
    def as_warning(self) -> str:
        """The same of what is right, but says nothing."""
        return ": ".join(filter(None, (f"{self.file}:{self.line}", "warning", spelled(self.place), self.message)))


class DocumentError(Exception):
    """Files with mistakes: all of them, file by file, in the order of the lines."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


class Unreadable(DocumentError):
    """A file that cannot even be opened and read."""


class Document:
    """One YAML file as plain values, and the mistakes found in it so far."""

    def __init__(self, text: str, file: str) -> None:
        """Read a text; raises DocumentError where it is no YAML, or more than anybody writes."""
        self.file = file
        self.mistakes: list[Mistake] = []
        self._lines = max(1, len(text.splitlines()))
        try:
            self._tree = Tree(text)
        except NotYaml as error:
            self._add(error.flaw.line, error.flaw.place, error.flaw.message)
            raise DocumentError(self.mistakes) from None
        self._damaged = {flaw.place for flaw in self._tree.flaws if flaw.damages}
        for flaw in self._tree.flaws:
            self._add(flaw.line, flaw.place, flaw.message)

    @property
    def value(self) -> object:
        """What the file says, in plain values; None where it says nothing."""
        return self._tree.value

    def validate(self, kind: type[T], place: Place = (), *, context: object = None) -> T | None:
        """The value at a place as a `kind`, or None; what is wrong with it joins the mistakes."""
        try:
            checked: T = TypeAdapter(kind).validate_python(self.at(place), context=context)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self._explain(kind, place, detail)
            return None
        return checked

    def at(self, place: Place) -> object:
        """The plain value at a place; None where there is none."""
        return next(peek(self.value, *place), None)

    def line(self, place: Place) -> int:
        """The line of what stands at a place, or of the nearest thing around it."""
        return self._tree.locate(place).line

    def add_error(self, place: Place, message: str, *, local: bool = False) -> None:
        """Add a mistake about what stands at a place, or about the nearest thing around it.

        `local`: the text is right, but this machine lacks what it needs.
        """
        if may_stand_at(spelled(place)) and not isinstance(self.at(place), dict | list):
            message = message.replace(found(self.at(place)), f"a value {HIDDEN}")
        spot = self._tree.locate(place)
        if spot.place in self._damaged:
            return  # it is not what was written
        value = self.at(place)
        if isinstance(value, str) and _LEFT_TO_THE_ENVIRONMENT.search(value):
            message = "neither environment variables nor ~ are filled in; write the whole value"
        self._add(spot.line, spot.place, message, local=local)

    def _add(self, line: int, place: Place, message: str, *, local: bool = False) -> None:
        self.mistakes.append(Mistake(self.file, min(max(line, 1), self._lines), place, message, local))

    def _explain(self, kind: object, place: Place, detail: ErrorDetails) -> None:
        """Say in our words what pydantic found."""
        below: Place = detail["loc"]
        where = (*place, *below)
        error = detail.get("ctx", {}).get("error")
        match detail["type"]:
            case "extra_forbidden":
                section = _section_at(kind, below[:-1])
                spot = self._tree.locate(where)
                self._add(spot.key_line, spot.place, _unknown_key(section, str(below[-1])))
            case "missing":
                self._add(self.line(where), where, "is missing; add it")
            case "value_error" if isinstance(error, Faults):
                for deeper, message in error.faults:
                    self.add_error((*where, *deeper), message)
            case "value_error":
                self.add_error(where, str(error))
            case other:
                self.add_error(where, _another_shape(kind, below, expected_by(other), detail["input"]))


# ---------------------------------------------------------------- reading files


def read(path: Path) -> Document:
    """The YAML file at a path. Raises Unreadable, or DocumentError where it holds something else."""
    return Document(read_text(path, MAX_BYTES), str(path))


def read_text(path: Path, limit: int) -> str:
    """The text of a file of `limit` bytes at most. Raises Unreadable, or DocumentError where it is no text we know."""
    file = str(path)
    try:
        return decoded(read_bytes(path, limit))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"the byte 0x{error.object[error.start]:02x} is not UTF-8; save the file in UTF-8"
        raise DocumentError([Mistake(file, line, (), message)]) from None
    except (OSError, ValueError, TooLarge) as error:
        raise unreadable(file, error) from None


def decoded(data: bytes) -> str:
    """UTF-8, with a byte order mark or without; or UTF-16 with one, as PowerShell 5.1 writes what a command says.

    Raises UnicodeDecodeError.
    """
    return data.decode("utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")


def read_all(paths: Iterable[Path]) -> tuple[list[Document], list[Mistake]]:
    """The files that can be read, and the mistakes of those that cannot."""
    documents: list[Document] = []
    mistakes: list[Mistake] = []
    for path in paths:
        try:
            documents.append(read(path))
        except DocumentError as error:
            mistakes.extend(error.mistakes)
    return documents, mistakes


class TooLarge(Exception):
    """A file is larger than anything that belongs there."""


def read_bytes(path: Path, limit: int) -> bytes:
    """What a file holds. Raises OSError, or TooLarge beyond `limit` bytes."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise TooLarge(f"it holds more than {limit} bytes")
    return data


def unreadable(file: str, error: Exception) -> Unreadable:
    """What to raise for a file that this error keeps from being read."""
    return Unreadable([Mistake(file, 1, (), f"cannot be read: {reason(error)}")])


def reason(error: Exception) -> str:
    """Why a file cannot be read or written, without naming the file again. Windows only denies access to a folder."""
    denied = isinstance(error, PermissionError) and error.filename
    if isinstance(error, IsADirectoryError) or (denied and os.path.isdir(denied)):  # noqa: PTH112 - Path's raises
        return A_FOLDER
    return (isinstance(error, OSError) and error.strerror) or str(error)


def raise_errors(documents: Iterable[Document], mistakes: Iterable[Mistake] = ()) -> None:
    """Raise DocumentError if there is any mistake in what was read."""
    found_there = (mistake for document in documents for mistake in document.mistakes)
    files: dict[str, list[Mistake]] = {}
    for mistake in dict.fromkeys((*found_there, *mistakes)):
        files.setdefault(mistake.file, []).append(mistake)
    if files:
        raise DocumentError(m for of_file in files.values() for m in sorted(of_file, key=lambda m: m.line))


def lacking_here(documents: Iterable[Document], mistakes: Iterable[Mistake] = ()) -> tuple[Mistake, ...]:
    """What only this machine lacks. Raises DocumentError with all mistakes if there is any other."""
    try:
        raise_errors(documents, mistakes)
    except DocumentError as error:
        if not all(mistake.local for mistake in error.mistakes):
            raise
        return error.mistakes
    return ()


def peek(value: object, *steps: str | int | EllipsisType) -> Iterator[object]:
    """What lies at a place of plain values, `...` standing for every item; nothing where the shape is another."""
    if not steps:
        yield value
        return
    match steps[0], value:
        case EllipsisType(), list():
            below = value
        case str() as key, dict() if key in value:
            below = [value[key]]
        case int() as i, list() if i < len(value):
            below = [value[i]]
        case _:
            return
    for item in below:
        yield from peek(item, *steps[1:])


# ---------------------------------------------------------------- schema


def _another_shape(kind: object, place: Place, wanted: str | Shape, value: object) -> str:
    """What was expected at a place of a schema of a value of another shape, and what to write."""
    section = _section_at(kind, place)
    if section is None:
        item = _section_at(kind, (*place, 0))
        if item and item.name_key and isinstance(value, dict) and value:
            name = shown(str(next(iter(value))))
            return (
                f"expected {Shape.LIST}, found {found(value)}; write `- {item.name_key}: {name}` in place of `{name}:`"
            )
        return expected(wanted, value)
    if place and str(place[-1]) in set(section.keys()):
        return f"a name is missing: write one of your own, and `{place[-1]}:` and the others below it"
    if section.alone and isinstance(value, str):
        return f"expected {Shape.MAPPING}, found {found(value)}; write `{section.alone}:` before it"
    message = expected(Shape.MAPPING, value)
    return message.replace(Shape.MAPPING, f"{Shape.MAPPING} with the keys {', '.join(section.keys())}", 1)


def _unknown_key(section: type[Section] | None, key: str) -> str:
    """That a section has no such key, and what to write instead, or whether one below it has the key."""
    known = section.keys() if section else {}
    if section and (advice := section.instead.get(key.lower())):
        return f"unknown key; {advice}"
    for name, kind in known.items():
        if (below := _section(kind)) and key in below.model_fields:
            return f"unknown key here; move it below `{name}:`"
    for name, kind in known.items():
        if (item := _section_at(kind, (0,))) and key in item.model_fields:
            return f"unknown key here; move it into an entry of `{name}`"
    return unknown("key", known, key)


def _section_at(kind: object, place: Place) -> type[Section] | None:
    """Which section stands at a place of a schema."""
    for step in place:
        section = _section(kind)
        kind = section.keys().get(str(step)) if section else next(reversed(get_args(_bare(kind))), None)
    return _section(kind)


def _section(kind: object) -> type[Section] | None:
    kind = _bare(kind)
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _bare(kind: object) -> object:
    """Less what it is annotated with, and less that it may be left out."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if isinstance(kind, UnionType) and len(given := [one for one in get_args(kind) if one is not NoneType]) == 1:
        return _bare(given[0])
    return kind


def spelled(place: Place) -> str:
    """`groups[0].endpoints[2].pattern`."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[\w.*<>/-]{1,80}", step):
            text += f".{step}" if text else step
        else:
            text += f"[{shown(step)!r}]"
    return text
