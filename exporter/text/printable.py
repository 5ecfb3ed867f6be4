"""Make a text from outside fit for a line: it breaks no table, steers no terminal, and can be encoded. Pure."""

from __future__ import annotations

from typing import Final

_SHORT: Final = 60  # characters of a value within a message


def escaped(text: str, *, keep: str = "") -> str:
    """The same with an escape for each character that does not print, but for those to keep."""
    return "".join(
        character if character.isprintable() or character in keep else character.encode("unicode_escape").decode()
        for character in text
    )


def one_line(text: str) -> str:
    """The same on one line: blanks run together, what does not print escaped. XML takes every character of it."""
    return escaped(" ".join(text.split()))


def bare(text: str, longest: int) -> str:
    """The beginning of a text, on one line, without what nobody sees, such as what turns the direction of reading."""
    seen = "".join(letter for letter in text[:longest] if letter.isprintable() or letter.isspace())
    return " ".join(seen.split())


def encodable(text: str, encoding: str = "ascii") -> str:
    """The same with an escape for each character that an encoding lacks."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def short(text: str) -> str:
    """A text as a message may quote it."""
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 3]}..."
