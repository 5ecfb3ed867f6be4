"""An export of the site database's table AzureEnvironments: content -> a group of the site's own.

Its columns are not published. So every URL is imported, and a note names its column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from exporter.config.fields import expected, found
from exporter.config.groups import checked_pattern
from exporter.model.vocabulary import Endpoint, Group
from exporter.published.content import Content, Json, Table, Unusable
from exporter.published.imported import Choice, Endpoints, printable

FEATURE: Final = "azure-environments"

_URL: Final = re.compile(r"https?://", re.IGNORECASE)
_MOST_REASONS: Final = 20

Cell = tuple[str, str, str]  # the row and the column, in words, and the value


def read(content: Content, choice: Choice) -> Endpoints:
    """One group with each URL in the table. Raises Unusable."""
    columns_of: dict[str, dict[str, None]] = {}
    reasons = list(islice(_collected(content, columns_of), _MOST_REASONS))
    if reasons:
        raise Unusable(*reasons)
    if not columns_of:
        raise Unusable("no value is a URL that begins with http:// or https://; export all columns of the table")
    group = Group(
        feature=FEATURE,
        title="Azure environments of the site",
        roles=choice.roles,
        clouds=choice.clouds,
        endpoints=tuple(_endpoint(url, sorted(columns_of[url])) for url in sorted(columns_of)),
    )
    return Endpoints((group,), FEATURE, "every URL in it")


def _endpoint(url: str, columns: list[str]) -> Endpoint:
    scheme = url.partition(":")[0].lower()
    noun = "column" if len(columns) == 1 else "columns"
    return Endpoint(url, (scheme,), source=("AzureEnvironments",), note=f"{noun} {', '.join(columns)}")


def _collected(content: Content, columns_of: dict[str, dict[str, None]]) -> Iterator[str]:
    """What is wrong, one after the other, while the columns of each good URL are noted."""
    for row, column, value in _cells(content):
        if _URL.match(value):
            try:
                columns_of.setdefault(checked_pattern(value), {})[column] = None
            except ValueError as error:
                yield f"{row}, column {column}: {found(value)}: {error}"


def _cells(content: Content) -> Iterator[Cell]:
    """Every text in the table."""
    match content:
        case Table(columns, rows):
            names = [printable(column) or f"number {i}" for i, column in enumerate(columns, start=1)]
            if any(map(_URL.match, columns)):
                raise Unusable("the first line holds a URL in place of the columns' names; export them, too")
            for number, cells in rows:
                yield from ((f"line {number}", *cell) for cell in zip(names, cells, strict=False))
        case Json(list() as rows):
            for i, row in enumerate(rows):
                yield from _values(i, row)
        case _:
            raise Unusable("expected a list of rows; write one row in [brackets]")


def _values(i: int, row: object) -> Iterator[Cell]:
    if not isinstance(row, dict):
        raise Unusable(f"[{i}]: {expected('a row, as a mapping of columns to values', row)}")
    for column, value in row.items():
        if isinstance(value, dict | list):
            raise Unusable(f"[{i}]: {found(column)} is {found(value)}; export the columns of the table alone")
        if isinstance(value, str):
            yield f"[{i}]", printable(column) or "without a name", value.strip()
