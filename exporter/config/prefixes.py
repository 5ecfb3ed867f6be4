"""Read a list of address prefixes: file -> prefixes, or the mistakes in it, each with its line."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from itertools import islice
from pathlib import Path
from typing import Final

from exporter.config.documents import DocumentError, Mistake, read_text
from exporter.config.fields import expected
from exporter.model.vocabulary import Prefix

MAX_BYTES: Final = 16 << 20
_MOST_MISTAKES: Final = 20  # a file of another kind is wrong in every line


def read_prefixes(path: Path) -> tuple[Prefix, ...]:
    """What a file lists, one prefix or address a line; `#` begins a comment. Raises DocumentError."""
    lines = read_text(path, MAX_BYTES).split("\n")
    found: list[Prefix] = []
    mistakes = list(islice(_read(lines, str(path), found), _MOST_MISTAKES))
    if not (found or mistakes):
        mistakes = [Mistake(str(path), 1, (), "the file lists no prefix; write one a line, such as 198.51.100.0/24")]
    if mistakes:
        raise DocumentError(mistakes)
    return tuple(found)


def prefix_of(text: str) -> Prefix:
    """A prefix or an address as it is written; one with host bits stands for its network. Raises ValueError."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ValueError(expected("a prefix such as 198.51.100.0/24 or 2001:db8::/32, or an address", text)) from None


def _read(lines: list[str], file: str, found: list[Prefix]) -> Iterator[Mistake]:
    """The mistakes, one after the other, while what is right is added to `found`."""
    for number, line in enumerate(lines, start=1):
        if text := line.partition("#")[0].strip():
            try:
                found.append(prefix_of(text))
            except ValueError as error:
                yield Mistake(file, number, (), str(error))
