"""What a scraper asks for: its Accept headers -> the one form of those that we write. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_OPENMETRICS: Final = "application/openmetrics-text"
_PLAIN: Final = "text/plain"
_ANY: Final[Mapping[str, str]] = {"application/*": _OPENMETRICS, "text/*": _PLAIN, "*/*": _PLAIN}
_VERSIONS: Final[Mapping[str, tuple[str, ...]]] = {_OPENMETRICS: ("1.0.0",), _PLAIN: ("0.0.4", "1.0.0")}
_QUALITY: Final = re.compile(r"(?:0(?:\.[0-9]*)?|1(?:\.0*)?)")
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_ITEM: Final = re.compile(rf'(?:[^,"]|{_QUOTED})+')
_PIECE: Final = re.compile(rf'(?:[^;"]|{_QUOTED})+')


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One item of a header."""

    name: str
    parameters: Mapping[str, str]

    @property
    def quality(self) -> float:
        """How much it is wanted, from 0, which means not at all, to 1; what is no number counts as 1."""
        text = self.parameters.get("q", "1")
        return float(text) if _QUALITY.fullmatch(text) else 1.0


def form_for(accept: str) -> str:
    """The form that is wanted most of those that are known, as an item of the header; empty: the oldest text.

    A version that is not known is as if it were not asked for: whoever scrapes gets what everybody reads.
    """
    for wanted in _most_wanted_first(accept):
        name = _ANY.get(wanted.name, wanted.name)
        version = wanted.parameters.get("version", "")
        if name in _VERSIONS and version in {"", *_VERSIONS[name]}:
            asked = {"version": version, "escaping": wanted.parameters.get("escaping", "")}
            return ";".join([name, *(f"{key}={value}" for key, value in asked.items() if value)])
    return ""


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an answer may be packed."""
    return any(wanted.name == "gzip" for wanted in _most_wanted_first(accept_encoding))


def _most_wanted_first(header: str) -> list[_Wanted]:
    items = [wanted for wanted in _items(header) if wanted.quality > 0]
    return sorted(items, key=lambda wanted: -wanted.quality)


def _items(header: str) -> Iterator[_Wanted]:
    for item in _ITEM.findall(header):
        name, *rest = _PIECE.findall(item) or [""]
        parameters = (piece.partition("=") for piece in rest)
        yield _Wanted(name.strip().lower(), {key.strip().lower(): _bare(value) for key, _, value in parameters})


def _bare(value: str) -> str:
    """A value without quotes."""
    value = value.strip()
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if re.fullmatch(_QUOTED, value) else value
