"""Regular expressions of bounded time: what a file may hold of them."""

from __future__ import annotations

import re
from math import prod
from typing import Annotated, Final

from pydantic import AfterValidator

from exporter.config.fields import Text

_WAYS: Final = 128  # to go on from one place of the text, so that the time is a small multiple of its length
_ONE: Final = re.compile(r"\\.|\[\^?\]?[^]]*\]", re.DOTALL)  # an escape or a class: stands for one character
_REPEATED: Final = re.compile(r"\{([0-9]+)(?:,([0-9]+))?\}|(?<!\()\?")


def _bounded(text: str) -> str:
    try:
        matches_nothing = re.search(text, "") is not None
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    bare = _ONE.sub("x", text)
    groups = bare.count("(")
    repeats = (int(most or exactly or 2) for exactly, most in _REPEATED.findall(bare))
    faults = (
        (matches_nothing, "matches an empty text, and so every text; write more of it"),
        (re.search(r"[*+]|\{[0-9]*,\}", bare), "repeats without end; give the end, as in {1,40}"),
        (groups > 1 or groups != bare.count("(?:"), "has a group of another kind than one (?:of|alternatives)"),
        (re.search(r"\)[?{]", bare), "repeats a group; give another entry for what it leaves out"),
        ((1 + bare.count("|")) * prod(repeats) > _WAYS, f"can go more than {_WAYS} ways; shorten its repetitions"),
    )
    if fault := next((fault for wrong, fault in faults if wrong), None):
        raise ValueError(fault)
    return text


Expression = Annotated[Text, AfterValidator(_bounded)]
