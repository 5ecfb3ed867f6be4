"""Take apart what somebody publishes: bytes -> JSON or a table, and its format, or why it has none."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from exporter.config.documents import decoded, spelled
from exporter.config.fields import expected, expected_by
from exporter.text.numbers import plural

T = TypeVar("T")

MAX_BYTES: Final = 32 << 20  # several times the longest list; as Python values it takes some forty times that


class Unusable(Exception):
    """A source that cannot be imported, for these reasons: each names the place, the value and the remedy."""

    def __init__(self, *reasons: str) -> None:
        self.reasons = reasons
        super().__init__("\n".join(reasons))


class Format(StrEnum):
    """What can be imported."""

    AUTO = "auto"  # whichever it looks like
    MICROSOFT_365 = "microsoft-365"
    AZURE_ENVIRONMENTS = "azure-environments"
    PUBLIC_IP_SPACE = "public-ip-space"
    SERVICE_TAGS = "service-tags"


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON text's value."""

    value: object


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV text: the names in its first line, and each further line that is not blank, by its number."""

    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


Content: TypeAlias = Json | Table


def content(data: bytes) -> Content:
    """What a source holds. Raises Unusable."""
    try:
        text = decoded(data)
    except UnicodeDecodeError as error:
        raise Unusable(f"the byte 0x{data[error.start]:02x} is not UTF-8; save the list in UTF-8") from None
    first = text.lstrip()[:1]
    if not first:
        raise Unusable("it is empty; download the list anew")
    if first == "<":
        raise Unusable(
            "it is an HTML or XML page, no list; download the file itself, and sign in where a portal asks to"
        )
    return Json(_json(text)) if first in "[{" else _table(text)


def recognised(found: Content) -> Format:
    """The format by what its documents show of it. Raises Unusable."""
    match found:
        case Json(list() as records) if any(isinstance(record, dict) and "serviceArea" in record for record in records):
            return Format.MICROSOFT_365
        case Json({"values": _}):
            return Format.SERVICE_TAGS
        case Json([dict(), *_]):
            return Format.AZURE_ENVIRONMENTS
        case Table(columns) if tuple(map(str.lower, columns)) == PUBLIC_IP_COLUMNS:
            return Format.PUBLIC_IP_SPACE
        case Table(columns) if {"serviceArea", "urls"} <= {*columns}:
            raise Unusable("it is Microsoft 365's list as CSV, which joins its values; ask for it with format=JSON")
        case Table(rows=[_, *_]):
            return Format.AZURE_ENVIRONMENTS
    raise Unusable(
        "it is none of what can be imported: Microsoft 365 endpoints (JSON), Service Tags (JSON), "
        "Public IP Space (CSV), a site database's AzureEnvironments (CSV or JSON)"
    )


PUBLIC_IP_COLUMNS: Final = ("prefix", "type")  # in lower case


# ---------------------------------------------------------------- JSON


def shaped(kind: type[T], value: object) -> T:
    """A JSON value, checked as a `kind`. Raises Unusable."""
    try:
        checked: T = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise Unusable(*map(_in_our_words, error.errors(include_url=False))) from None
    return checked


def _in_our_words(detail: ErrorDetails) -> str:
    """Where pydantic found something, and what."""
    match detail["type"]:
        case "value_error":
            message = str(detail["ctx"]["error"])
        case "missing":
            message = "is missing; it must be there"
        case other:
            message = expected(expected_by(other), detail["input"])
    return f"{spelled(detail['loc']) or 'the top'}: {message}"


def _json(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Unusable(f"{where}: not valid JSON ({error.msg}); if it was cut off here, download it anew") from None
    except RecursionError:
        raise Unusable("it is nested too deep for a list of endpoints or addresses") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise Unusable(f"not valid JSON: {error}") from None


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is no JSON")


# ---------------------------------------------------------------- CSV

_TYPE_LINE: Final = "#TYPE "  # what PowerShell's Export-Csv begins with, up to version 5.1


def _table(text: str) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), skipinitialspace=True, strict=True)
    lines: list[tuple[int, tuple[str, ...]]] = []
    try:
        for values in reader:
            cells = tuple(value.strip() for value in values)
            if any(cells) and (lines or not cells[0].startswith(_TYPE_LINE)):
                lines.append((reader.line_num, cells))
    except csv.Error as error:
        raise Unusable(f"line {reader.line_num}: not valid CSV ({error})") from None
    if not lines:
        raise Unusable("it is empty; export the table anew")
    (_, columns), *rows = lines
    for number, cells in rows:
        if len(cells) > len(columns):
            what = f"{plural(len(cells), 'value')} for {plural(len(columns), 'column')}"
            raise Unusable(f"line {number}: {what}; quote what holds a delimiter")
    return Table(columns, tuple(rows))


def _delimiter(text: str) -> str:
    """What separates values: the semicolon or the tab in some countries' exports, else the comma."""
    header = next((line for line in text.splitlines() if line.strip() and not line.startswith(_TYPE_LINE)), "")
    return max(",;\t", key=header.count)
