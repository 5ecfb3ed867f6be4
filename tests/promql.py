"""What a PromQL expression names: series, the labels it matches them by, and those it groups and joins by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_COMMENT: Final = re.compile(rf"({_STRING})|#.*")
_SERIES: Final = re.compile(rf"([a-zA-Z_:][\w:]*)?\s*\{{((?:[^{{}}\"]|{_STRING})*)\}}")
_MATCHER: Final = re.compile(rf"(\w+)\s*(?:=~|!~|!=|=)\s*{_STRING}")
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
# The first of the texts that end a call: the label that label_replace and label_join set.
_MAKES: Final = re.compile(rf',\s*"(\w+)"(?:\s*,\s*{_STRING})+\s*\)')
_RANGE: Final = re.compile(r"\[[^\]]*\]|\boffset\s+-?\w+")
_NAME: Final = re.compile(r"(?<![\w:.$])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")
_WORDS: Final = frozenset(
    {
        *("and", "or", "unless", "bool", "offset", "inf", "nan"),
        *("by", "without", "on", "ignoring", "group_left", "group_right"),
    }
)


@dataclass(frozen=True)
class Names:
    """What an expression names. It is taken to be valid: Prometheus says whether it is."""

    matched: frozenset[tuple[str, frozenset[str]]]  # each series, and the labels of its matchers
    grouping: frozenset[str]
    made: frozenset[str]  # labels that it makes itself

    @property
    def series(self) -> set[str]:
        """The names of all series."""
        return {name for name, _ in self.matched}


def names(expression: str) -> Names:
    """Take an expression apart."""
    text = _COMMENT.sub(lambda found: found[1] or "", expression)
    matched = {(found[1] or "", frozenset(_MATCHER.findall(found[2]))) for found in _SERIES.finditer(text)}
    text = _SERIES.sub("", text)
    made = frozenset(_MAKES.findall(text))
    text = re.sub(_STRING, "", text)
    grouping = {label.strip() for labels in _GROUPING.findall(text) for label in labels.split(",")}
    text = _RANGE.sub("", _GROUPING.sub("", text))
    bare = {name for name in _NAME.findall(text) if name.lower() not in _WORDS}
    return Names(frozenset(matched | {(name, frozenset()) for name in bare}), frozenset(grouping - {""}), made)
